"""Files that are cut, joined, hidden in part, damaged, or something else than their name says."""

import random
import socket
import time
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from bench_common.numbered import number_of
from made_videos import Clip, add_stream, make, pictures, plain_decode, remux
from video_table import TABLE, h264, hevc

from vgen.errors import InputError
from vgen.media.video import VideoFile, index_of

FRAMES = 60
SOURCES = {
    "h264": Clip("mp4", "libx264", h264(12, 3), FRAMES),
    "open": Clip("mp4", "libx264", h264(12, 3, **{"x264-params": "open-gop=1"}), FRAMES),
    "hevc": Clip("mp4", "libx265", hevc(12, 3, True), FRAMES),
}
GOP = 12


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Files of the same 60 pictures, with closed and open groups of pictures."""
    folder = tmp_path_factory.mktemp("sources")
    return {name: make(folder, name, clip) for name, clip in SOURCES.items()}


def check(path, numbers, plain=True):
    """Frames carry these numbers, read in order, shuffled and backwards."""
    file, numbers = VideoFile(path), list(numbers)
    truth = file.read(range(file.info.frames))
    assert [number_of(pixels) for pixels in truth] == numbers
    if plain:
        assert np.array_equal(truth, plain_decode(path))
    order = random.Random(0).sample(range(len(numbers)), len(numbers))
    for number in order + list(range(len(numbers)))[::-1]:
        assert np.array_equal(file.read([number])[0], truth[number]), f"frame {number}"
    return file


def later(frames):
    """Packets that are shown so many frames later; those before 0 are hidden by an edit list."""

    def change(packets):
        for packet in packets:
            ticks = round(frames / 25 / packet.time_base)
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
        return packets

    return change


def second_key(packets):
    return [number for number, packet in enumerate(packets) if packet.is_keyframe][1]


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
@pytest.mark.parametrize("hidden", [5, 12, 17, 30])
@pytest.mark.parametrize("source", SOURCES)
def test_what_an_edit_list_hides_is_no_frame(tmp_path, sources, source, hidden, suffix):
    path = remux(sources[source], tmp_path / f"a.{suffix}", later(-hidden))
    file = check(path, range(hidden, FRAMES))
    index = index_of(path)
    assert not index.fast or hidden % GOP == 0  # whole groups are left out of the list of packets
    assert file.times[0] == 0 and file.end == pytest.approx((FRAMES - hidden) / 25)
    assert len(index.keys) >= (FRAMES - hidden) // GOP, "no frame has to be decoded from the beginning of the file"


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("source", SOURCES)
def test_a_stream_may_begin_late(tmp_path, sources, source, suffix):
    file = check(remux(sources[source], tmp_path / f"a.{suffix}", later(100)), range(FRAMES))
    assert file.times[0] == pytest.approx(4, abs=0.1) and file.end - file.times[0] == pytest.approx(FRAMES / 25)
    assert file.shown([0, 4.5, 99]).tolist() == [0, np.searchsorted(file.times, 4.5 + 1e-3) - 1, FRAMES - 1]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("where", ["within a group", "at its second"])
def test_a_stream_that_was_cut_begins_with_its_first_whole_frame(tmp_path, sources, source, suffix, where):
    if source == "open" and suffix == "ts":
        pytest.skip("its parameters are stored with its first key frame alone")
    path = remux(
        sources[source],
        tmp_path / f"a.{suffix}",
        lambda packets: packets[5 if where == "within a group" else second_key(packets) :],
    )
    check(path, range(GOP, FRAMES))
    assert len(index_of(path).keys) == (FRAMES - GOP) // GOP


@pytest.mark.parametrize("source", ["h264", "hevc"])
def test_transport_streams_may_be_joined_end_to_end(tmp_path, sources, source):
    part = remux(sources[source], tmp_path / "a.ts").read_bytes()
    (tmp_path / "joined.ts").write_bytes(part + part)
    file = check(tmp_path / "joined.ts", [*range(FRAMES)] * 2)
    assert (np.diff(file.times) > 0).all() and file.info.steady and file.info.fps == 25


def test_the_size_may_change_on_the_way(tmp_path):
    parts = [
        make(tmp_path, f"{first}", Clip("ts", "libx264", h264(8, 2), first=first, size=size)).read_bytes()
        for first, size in ((0, (96, 160)), (40, (48, 80)))
    ]
    (tmp_path / "a.ts").write_bytes(b"".join(parts))
    file = check(tmp_path / "a.ts", range(80), plain=False)
    assert (file.info.height, file.info.width) == (96, 160)


def test_packets_without_times_are_shown_in_order(tmp_path):
    path = make(tmp_path, "a", Clip("mpg", "libx264", h264(8, 3), container="vob"))  # several frames in one timed part
    file = check(path, range(40))
    assert np.allclose(file.times - file.times[0], np.arange(40) / 25)


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_a_cover_picture_is_not_the_video(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    clip = Clip("mp4", "libx264", h264(8, 2))
    with av.open(str(path), "w") as out:
        cover = out.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 64, 64, "yuvj420p", Disposition.attached_pic
        stream = add_stream(out, clip)
        black = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24").reformat(format="yuvj420p")
        black.pts = 0
        out.mux(cover.encode(black) + cover.encode())
        for frame in pictures(clip):
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    check(path, range(40), plain=False)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi"])
def test_the_first_video_stream_is_read_beside_sound_and_others(tmp_path, suffix):
    path, clip = tmp_path / f"a.{suffix}", Clip("mp4", "libx264", h264(8, 0))
    with av.open(str(path), "w") as out:
        sound = out.add_stream("mp2" if suffix in ("avi", "ts") else "aac", rate=48000, layout="mono")
        first = add_stream(out, clip)
        second = add_stream(out, clip)
        for number, (own, other) in enumerate(zip(pictures(clip), pictures(clip), strict=True)):
            other.pts += 100  # seen in the times, if it were read
            noise = np.zeros(
                (1, 1152 if suffix in ("avi", "ts") else 1024), np.int16 if suffix in ("avi", "ts") else "f4"
            )
            heard = av.AudioFrame.from_ndarray(
                noise, format="s16" if noise.dtype == np.int16 else "fltp", layout="mono"
            )
            heard.sample_rate, heard.pts = 48000, number * noise.shape[1]
            out.mux(sound.encode(heard))
            out.mux(first.encode(own))
            out.mux(second.encode(other))
        for stream in (sound, first, second):
            out.mux(stream.encode())
    file = check(path, range(40))
    assert file.times[0] < 1


DAMAGED = [
    "h264_mp4_g8_b3", "h264_mp4_fragments", "h264_mkv", "vp8_webm_hidden", "mpeg4_avi_b", "h264_ts", "hevc_ts_open_g10",
    "mpeg2_ps", "gif", "apng", "h264_raw",
]  # fmt: skip


def try_to_read(path):
    """Frames twice over, or one line."""
    began = time.monotonic()
    try:
        file = VideoFile(path)
        numbers = list(range(file.info.frames))
        truth = file.read(numbers)
        assert truth.shape == (len(numbers), file.info.height, file.info.width, 3)
        random.Random(0).shuffle(numbers)
        for number in numbers[:10]:
            file.read([number])
    except InputError as refusal:
        assert "\n" not in str(refusal) and str(path) in str(refusal)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("name", DAMAGED)
def test_a_file_that_breaks_off_is_read_or_refused(tmp_path, name):
    whole = make(tmp_path, name, TABLE[name])
    data, path = whole.read_bytes(), tmp_path / f"cut.{TABLE[name].suffix}"
    for share in range(13):
        path.write_bytes(data[: len(data) * share // 13 + share % 3])
        try_to_read(path)


@pytest.mark.parametrize("name", DAMAGED)
def test_a_file_with_wrong_bytes_is_read_or_refused(tmp_path, name):
    whole, chance = make(tmp_path, name, TABLE[name]), random.Random(name)
    data, path = whole.read_bytes(), tmp_path / f"wrong.{TABLE[name].suffix}"
    for turn in range(10):
        wrong = bytearray(data)
        for _ in range(1 if turn % 2 else 30):
            wrong[chance.randrange(len(wrong))] = chance.randrange(256)
        path.write_bytes(wrong)
        try_to_read(path)


TEXTS = {
    "empty": "",
    "text": "not a video at all\n" * 100,
    "playlist": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n",
    "list": "ffconcat version 1.0\nfile '{target}'\n",
    "list_of_urls": "ffconcat version 1.0\nfile 'http://127.0.0.1:{port}/a.mp4'\n",
    "session": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n",
    "manifest": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet>'
    '<Representation id="1"><BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "picture": "P3\n2 2\n255\n" + "0 " * 12,
    "subtitles": "1\n00:00:00,000 --> 00:00:01,000\nwords\n",
}


@pytest.mark.parametrize("suffix", ["mp4", "m3u8", "ts", "txt"])
@pytest.mark.parametrize("kind", TEXTS)
def test_a_text_is_no_video_and_opens_nothing_else(tmp_path, sources, kind, suffix):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.01)
        text = TEXTS[kind].format(target=sources["h264"], port=listener.getsockname()[1])
        path = tmp_path / f"a.{suffix}"
        path.write_text(text)
        with pytest.raises(InputError, match="not a readable video file") as refusal:
            VideoFile(path)
        assert "\n" not in str(refusal.value)
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.parametrize(
    "name", ["http://127.0.0.1:1/a.mp4", "rtsp://127.0.0.1/a", "concat:a.mp4|b.mp4", "pipe:0", "a\0b"]
)
def test_what_is_not_a_file_is_not_opened(name):
    with pytest.raises(InputError, match="no such video file"):
        VideoFile(name)


@pytest.mark.parametrize(
    "name", ["100%.mp4", "a:b.mp4", "file:x.mp4", "%03d.mp4", "-i.mp4", "ünï 日本 '\".mp4", "a|b.mp4", "*.mp4"]
)
def test_any_name_of_a_file_is_taken_as_it_is(tmp_path, sources, monkeypatch, name):
    (tmp_path / name).write_bytes(sources["h264"].read_bytes())
    assert VideoFile(tmp_path / name).info.frames == FRAMES
    monkeypatch.chdir(tmp_path)
    assert number_of(VideoFile(Path(name)).read([7])[0]) == 7


def test_a_folder_and_a_file_that_cannot_be_opened_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such video file"):
        VideoFile(tmp_path)
    (tmp_path / "a.mp4").symlink_to(tmp_path / "none.mp4")
    with pytest.raises(InputError, match="no such video file"):
        VideoFile(tmp_path / "a.mp4")
