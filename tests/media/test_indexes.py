"""When frames are shown, and indexes that are kept in a folder."""

import os
import random
from fractions import Fraction

import av
import numpy as np
import pytest
from bench_common.numbered import number_of
from made_videos import CASES, Clip, make
from PIL import Image
from video_table import UNEVEN, h264

from vgen.media import index as index_module
from vgen.media import video as video_module
from vgen.media.video import VideoFile, index_of
from vgen.media.writing import join_videos, write_video

CLOCKS = {
    "even": Clip("mp4", "libx264", h264(8, 2), rate=Fraction(25)),
    "ntsc": Clip("mp4", "libx264", h264(8, 2), rate=Fraction(30000, 1001)),
    "film_in_mkv": Clip("mkv", "libx264", h264(8, 2), rate=Fraction(24000, 1001)),  # a clock of milliseconds
    "fast": Clip("mkv", "libx264", h264(8, 2), rate=Fraction(240)),
    "slow": Clip("mp4", "libx264", h264(8, 0), rate=Fraction(1, 4)),
    "uneven": Clip("mp4", "libx264", h264(8, 2), times=UNEVEN),
    "uneven_in_mkv": Clip("mkv", "libx264", h264(8, 2), times=UNEVEN),
    "gif": Clip("gif", "gif", pixels="rgb8", rate=Fraction(15)),  # a clock of hundredths
    "uneven_gif": Clip("gif", "gif", pixels="rgb8", times=[t // 10 for t in UNEVEN], tick=Fraction(1, 100)),
}


def times_of(clip):
    """When each frame is meant to be shown, in seconds."""
    if clip.times is None:
        return [place / clip.rate for place in range(clip.frames)]
    return [time * clip.tick for time in clip.times]


@pytest.mark.parametrize("name", CLOCKS)
def test_the_frame_of_a_time_is_the_latest_that_has_begun(tmp_path, name):
    clip = CLOCKS[name]
    file, meant = VideoFile(make(tmp_path, name, clip)), times_of(clip)
    start, tick = file.times[0], file._index.tick
    chance = random.Random(0)
    for _ in range(300):
        second = chance.uniform(-1, float(meant[-1]) + 1)
        if min(abs(second - float(time)) for time in meant) <= tick:
            continue  # the file's clock is no finer
        brute = max((place for place, time in enumerate(meant) if float(time) <= second), default=0)
        assert file.shown(start + second) == brute
    exact = np.array([float(time) for time in meant])
    for rounding in (0, 1e-7, -1e-7):  # a frame's own time is its own, also where a clock or a sum rounds it
        assert file.shown(start + exact + rounding).tolist() == list(range(clip.frames))
    assert file.shown(np.round(start + exact, 3) if tick > 1e-3 else start + exact).tolist() == list(range(clip.frames))
    assert file.shown([[-5.0, 1e9]]).tolist() == [[0, clip.frames - 1]]


@pytest.mark.parametrize("name", CLOCKS)
def test_the_rate_the_end_and_whether_it_is_steady_are_told(tmp_path, name):
    clip = CLOCKS[name]
    file, meant = VideoFile(make(tmp_path, name, clip)), times_of(clip)
    assert file.info.steady is (clip.times is None)
    assert file.info.fps == pytest.approx(float(clip.rate), rel=0.01)
    assert file.end - file.times[0] == pytest.approx(float(2 * meant[-1] - meant[-2]), abs=0.011)


def test_a_last_frame_that_is_shown_for_longer_ends_later(tmp_path):
    pictures = [Image.new("RGB", (16, 16), (40 * place, 0, 0)) for place in range(5)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=[100, 100, 100, 100, 900])
    file = VideoFile(tmp_path / "a.gif")
    assert np.allclose(file.times, [0, 0.1, 0.2, 0.3, 0.4]) and file.end == pytest.approx(1.3)


def test_one_frame_is_a_video(tmp_path):
    file = VideoFile(make(tmp_path, "a", Clip("mp4", "libx264", h264(8, 0), frames=1, rate=Fraction(10))))
    assert file.info.frames == 1 and file.info.steady and file.info.fps == 10 and file.end == pytest.approx(0.1)
    assert number_of(file.read([0, 0])[1]) == 0


@pytest.mark.skipif(not CASES.is_dir(), reason="needs the collection of files that went wrong")
def test_a_phone_in_the_dark_shows_what_it_saw_at_that_time():
    file = VideoFile(CASES / "variable-rate" / "vfr.mp4")
    for second in (0.1, 0.4, 0.5, 1.0, 1.7):
        number = int(file.shown(second))
        assert file.times[number] <= second + 1e-3
        assert number == file.info.frames - 1 or file.times[number + 1] > second
    assert not file.info.steady


@pytest.fixture
def indexes(tmp_path, monkeypatch):
    """A folder for indexes, and a list of the files that were indexed; nothing is remembered from other tests."""
    made = []

    def counted(file):
        made.append(file)
        return make_index(file)

    make_index = index_module.make_index
    monkeypatch.setattr(index_module, "make_index", counted)
    video_module._index.cache_clear()
    return tmp_path / "new" / "indexes", made


def read_anew(path, folder):
    """What another process would find."""
    video_module._index.cache_clear()
    return index_of(path, folder)


def same(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__)


CLIPS = {
    "times": Clip("mp4", "libx264", h264(8, 2)),
    "checksums": Clip("avi", "libx264", h264(8, 2)),
    "uneven": Clip("gif", "gif", pixels="rgb8", times=[t // 10 for t in UNEVEN], tick=Fraction(1, 100)),
}


@pytest.mark.parametrize("kind", CLIPS)
def test_an_index_is_made_once_and_read_again(tmp_path, indexes, kind):
    folder, made = indexes
    path = make(tmp_path, "a", CLIPS[kind])
    first = index_of(path, folder)
    again = read_anew(path, folder)
    assert len(made) == 1 and same(first, again) and len(list(folder.iterdir())) == 1
    video_module._index.cache_clear()
    file = VideoFile(path, indexes=folder)
    assert len(made) == 1 and number_of(file.read([23])[0]) == 23 and type(file.info.frames) is int


@pytest.mark.parametrize("change", ["content", "time", "both"])
def test_an_index_is_not_trusted_when_its_file_has_changed(tmp_path, indexes, change):
    folder, made = indexes
    path = make(tmp_path, "a", Clip("avi", "rawvideo", frames=10))
    other = make(tmp_path, "b", Clip("avi", "rawvideo", frames=10, first=300))
    assert path.stat().st_size == other.stat().st_size
    index_of(path, folder)
    stamp = path.stat()
    if change != "time":
        path.write_bytes(other.read_bytes())
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1000))
    assert number_of(VideoFile(path, folder).read([4])[0]) == (4 if change == "time" else 304)
    assert len(made) == 2


def test_a_damaged_index_is_made_anew(tmp_path, indexes):
    folder, made = indexes
    path = make(tmp_path, "a", CLIPS["times"])
    good = index_of(path, folder)
    kept = next(folder.iterdir())
    data, chance = kept.read_bytes(), random.Random(0)
    array = tmp_path / "array.npz"
    with array.open("wb") as out:
        np.save(out, np.zeros(3))
    damages = [b"", b"PK", b"text\n" * 50, array.read_bytes(), data[:40], data[: len(data) // 2], data[:-5]]
    damages += [data[:at] + b"\xff" * 40 + data[at + 40 :] for at in chance.sample(range(len(data) - 40), 30)]
    for number, damage in enumerate(damages):
        kept.write_bytes(damage)
        assert same(read_anew(path, folder), good), number
        assert same(read_anew(path, folder), good), "it is kept again"
    assert len(made) >= 1 + len(damages) // 2


@pytest.mark.parametrize("change", [{"keys": 0.5}, {"times": np.zeros((2, 2))}, {"height": "64"}, {"fps": [1.0]}])
def test_an_index_of_other_kinds_of_values_is_made_anew(tmp_path, indexes, change):
    folder, made = indexes
    path = make(tmp_path, "a", CLIPS["times"])
    good = index_of(path, folder)
    kept = next(folder.iterdir())
    with np.load(kept) as file:
        values = {name: file[name] for name in file.files}
    with kept.open("wb") as out:
        np.savez(out, **values | change)
    assert same(read_anew(path, folder), good) and len(made) == 2


def test_every_changed_byte_of_an_index_is_seen_or_harmless(tmp_path, indexes):
    folder, _ = indexes
    path = make(tmp_path, "a", CLIPS["times"])
    good = index_of(path, folder)
    kept = next(folder.iterdir())
    data, chance = kept.read_bytes(), random.Random(1)
    for at in chance.sample(range(len(data)), 50):
        kept.write_bytes(data[:at] + bytes([data[at] ^ 0x5A]) + data[at + 1 :])
        assert same(read_anew(path, folder), good), at
        kept.write_bytes(data)


@pytest.mark.parametrize("trouble", ["a file", "read-only", "full disk"])
def test_a_folder_that_cannot_be_written_does_no_harm(tmp_path, indexes, monkeypatch, trouble):
    folder, _ = indexes
    path = make(tmp_path, "a", CLIPS["times"])
    folder.parent.mkdir()
    if trouble == "a file":
        folder.write_text("not a folder")
    elif trouble == "read-only":
        folder.mkdir(mode=0o500)
    else:

        def full(self, file):
            file.write_bytes(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(index_module.FrameIndex, "save", full)
    assert number_of(VideoFile(path, folder).read([11])[0]) == 11
    if trouble == "full disk":
        assert not list(folder.iterdir())


def test_what_vgen_writes_says_its_colours_and_gives_them_back(tmp_path):
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 120, 90], [255, 255, 255], [0, 0, 0]], np.uint8)
    bars = np.repeat(np.repeat(colours[None], 32, axis=0), 32, axis=1)  # [32, 192, 3]
    video = np.stack([bars] * 4)
    parts = [tmp_path / "1.mp4", tmp_path / "2.mp4"]
    for part in parts:
        write_video(part, video, fps=10)
    join_videos(parts, tmp_path / "joined.mp4")
    for path in (*parts, tmp_path / "joined.mp4"):
        with av.open(str(path)) as container:
            context = container.streams.video[0].codec_context
            tags = context.colorspace, context.color_primaries, context.color_trc, context.color_range
            assert [int(tag) for tag in tags] == [1, 1, 1, 1]
            frame = next(container.decode(video=0))
            assert int(frame.colorspace) == 1 and int(frame.color_range) == 1
        found = VideoFile(path).read([1])[0][16, 16::32]
        assert np.abs(found.astype(int) - colours).max() <= 4
    assert VideoFile(tmp_path / "joined.mp4").info.frames == 8
