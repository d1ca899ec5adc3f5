"""Any frame of any file: what is read equals what FFmpeg decodes in order, and the numbers in the pictures."""

import multiprocessing
import random
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest
from bench_common.numbered import number_of
from made_videos import CASES, Clip, make, plain_decode
from video_table import TABLE, h264

from vgen.media import video as video_module
from vgen.media.video import VideoFile, open_video, read_video

CLIP = 17


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("videos")


def made(folder, name):
    """The file of a row of the table."""
    clip = TABLE[name]
    try:
        av.Codec(clip.codec, "w")
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"FFmpeg was built without the encoder {clip.codec}")
    return make(folder, name, clip)


def check_every_way_of_reading(path, truth):
    """In order, backwards, shuffled, repeated, and in clips, from one open file."""
    file, last = VideoFile(path), len(truth) - 1
    assert file.info.frames == len(truth) and np.array_equal(file.read(range(last + 1)), truth)
    chance = random.Random(0)
    shuffled = chance.sample(range(last + 1), min(last + 1, 60))
    for number in [*shuffled, *range(last, max(-1, last - 40), -1)]:
        assert np.array_equal(file.read([number])[0], truth[number]), f"frame {number}"
    for start in chance.choices(range(max(1, last + 2 - CLIP)), k=8):
        numbers = range(start, min(last + 1, start + CLIP))
        assert np.array_equal(file.read(numbers), truth[list(numbers)]), f"frames from {start}"
    repeated = [last, 0, last // 2, 0, last, last // 2 + 1]
    assert np.array_equal(file.read([n for n in repeated if n <= last]), truth[[n for n in repeated if n <= last]])


@pytest.mark.parametrize("name", TABLE)
def test_frames_of_a_made_file_are_those_that_ffmpeg_decodes_in_order(folder, name):
    path, clip = made(folder, name), TABLE[name]
    truth = plain_decode(path)
    assert [number_of(pixels) for pixels in truth] == list(range(clip.frames))
    check_every_way_of_reading(path, truth)
    if clip.times is None:
        ticks, tick = range(clip.frames), 1 / clip.rate
    else:
        ticks, tick = clip.times, clip.tick
    file = VideoFile(path)
    expected = np.array(ticks) * float(tick)
    assert np.abs(file.times - file.times[0] - expected).max() <= 1e-3 + 1e-6
    assert file.info.steady == (clip.times is None)
    assert file.end - file.times[0] == pytest.approx(expected[-1] + expected[-1] - expected[-2], abs=2e-3)
    if file.info.steady:
        assert file.info.fps == pytest.approx(float(clip.rate), rel=1e-3)


FOUND = sorted(
    path.relative_to(CASES).as_posix()
    for part in ("open-gop", "closed-gop-hevc", "containers", "edit-list", "variable-rate", "no-duration")
    for path in (CASES / part).glob("*.*")
)


@pytest.mark.skipif(not FOUND, reason="needs the collection of files that went wrong")
@pytest.mark.parametrize("name", FOUND)
def test_frames_of_a_file_that_went_wrong_are_those_that_ffmpeg_decodes_in_order(name):
    truth = plain_decode(CASES / name)
    check_every_way_of_reading(CASES / name, truth)
    numbers = [number_of(pixels) for pixels in truth if not name.endswith("gif")]  # which carries none
    assert not numbers or numbers == list(range(numbers[0], numbers[0] + len(numbers)))


FORKED = ("h264_mp4_g8_b3", "hevc_mp4_open_g10", "mpeg1_ps", "vp8_webm_hidden")  # fast, exact, by checksum, by time


@pytest.mark.parametrize("workers", [4])
def test_threads_that_read_side_by_side_get_their_own_frames(folder, workers):
    paths = [made(folder, name) for name in FORKED]

    def read(seed):
        chance, good = random.Random(seed), True
        for _ in range(30):
            path, number = chance.choice(paths), chance.randrange(40)
            good &= number_of(open_video(path).read([number])[0]) == number
        return good

    with ThreadPoolExecutor(workers) as pool:
        assert all(pool.map(read, range(2 * workers)))


def _read_in_a_fork(paths, held, found):
    numbers = [number_of(open_video(path).read([5])[0]) for path in paths for _ in range(2)]
    found.put(numbers + [number_of(file.read([number])[0]) for number in (30, 3) for file in held])


def test_forked_processes_read_files_that_their_parent_holds_open(folder, monkeypatch):
    monkeypatch.setattr(video_module, "OPEN_FILES", 3)  # so that files of the parent are given up
    paths = [made(folder, name) for name in FORKED]
    held = [VideoFile(path) for path in paths]
    for path, file in zip(paths, held, strict=True):
        assert number_of(open_video(path).read([9])[0]) == number_of(file.read([9])[0]) == 9
    fork = multiprocessing.get_context("fork")
    found = fork.Queue()
    processes = [fork.Process(target=_read_in_a_fork, args=(paths, held, found)) for _ in range(2)]
    for process in processes:
        process.start()
    try:
        for _ in processes:
            assert found.get(timeout=30) == [5] * 8 + [30] * 4 + [3] * 4
    finally:
        for process in processes:
            process.kill()
    assert [number_of(file.read([31])[0]) for file in held] == [31] * 4


def test_a_file_that_is_written_anew_is_opened_anew(tmp_path):
    path = make(tmp_path, "a", Clip("mp4", "libx264", h264(8, 0)))
    assert number_of(open_video(path).read([3])[0]) == 3
    path.unlink()
    make(tmp_path, "a", Clip("mp4", "libx264", h264(8, 0), first=100))
    assert number_of(open_video(path).read([3])[0]) == number_of(read_video(path, [3])[0]) == 103


CLOSED = [
    "h264_mp4_g8_b0",
    "h264_mp4_g8_b3",
    "h264_mp4_g250_b3",
    "h264_mkv",
    "vp9_webm",
    "av1_mp4",
    "h264_mp4_no_edits",
]
OPEN = ["h264_mp4_open", "h264_mkv_open", "hevc_mp4_open_g10", "hevc_mkv_open_g10", "h264_mp4_refresh", "mpeg4_mp4"]
OTHERS = ["h264_avi", "mpeg1_ps", "h264_ts", "vp8_webm_hidden", "gif", "h264_mkv_10bit"]


@pytest.mark.parametrize(
    ("name", "fast"),
    [*((name, True) for name in CLOSED), *((name, False) for name in OPEN + OTHERS)],
)
def test_decord_reads_files_of_closed_groups_alone(folder, name, fast):
    assert video_module.index_of(made(folder, name)).fast is fast
