"""The frame of a row is the one that its file shows at from_timestamp + timestamp."""

import numpy as np
import pytest
from lerobot_folders import (
    CASES,
    DATA_FILE,
    FPS,
    LENGTH,
    VIDEO,
    VIDEO_FILE,
    changed,
    column,
    frames_at,
    numbers_of,
    put,
    without,
    write_frames,
    write_plain,
)

from vgen.data.footage import LeRobotFootage
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.errors import InputError


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write_plain(tmp_path_factory.mktemp("times") / "set")


@pytest.fixture
def folder(plain, tmp_path):
    return lambda **changes: changed(plain, tmp_path / "set", **changes)


def film(numbers, times):
    return lambda path: write_frames(path / VIDEO_FILE, numbers, times)


EVERY = np.arange(3 * LENGTH)
KEPT = np.delete(EVERY, [2, 14])


def test_frames_that_a_video_lacks_move_none_of_the_others(folder):
    path = folder(files=film(KEPT, 100 * KEPT))
    dataset, shown = LeRobotDataset(path), frames_at(path / VIDEO_FILE)
    assert len(shown) == len(KEPT)
    for episode, rows in ((0, [0, 1, 3, 4, 5]), (1, range(LENGTH)), (2, [5, 0, 3])):
        expected = [shown[round((episode * LENGTH + row) / FPS, 4)] for row in rows]
        assert expected == [episode * LENGTH + row for row in rows]
        assert numbers_of(dataset.frames(episode, "front", list(rows))) == expected
    for episode in (0, 2):
        with pytest.raises(InputError) as refused:
            dataset.frames(episode, "front")
        said = str(refused.value)
        assert f"{path / VIDEO_FILE}: shows no frame for row 2 of episode {episode}" in said and "\n" not in said
        assert f"at {episode * 0.6 + 0.2:.4f} s" in said and "(0.0500 s) away" in said
    footage = LeRobotFootage(dataset, "front")
    assert numbers_of(footage.read(0, [5, 3])) == [5, 3]
    with pytest.raises(InputError, match="row 2 of episode 2"):
        footage.read(2, [1, 2])


def test_a_rate_that_varies_is_read_by_the_times_of_the_rows(folder):
    steps = np.array([100, 100, 200, 60, 140, 90] * 3)
    times = np.concatenate([[0], np.cumsum(steps)[:-1]])
    starts = times[::LENGTH] / 1000
    path = folder(
        files=film(EVERY, times),
        rows=column("timestamp", lambda _: (times / 1000 - np.repeat(starts, LENGTH)).tolist()),
        episodes=column(f"{VIDEO}/from_timestamp", lambda _: starts.tolist()),
    )
    dataset = LeRobotDataset(path)
    assert [numbers_of(dataset.frames(episode, "front")) for episode in range(3)] == EVERY.reshape(3, -1).tolist()


@pytest.mark.parametrize("late, read", [(0.0, True), (0.049, True), (-0.049, True), (0.0502, False), (0.1, False)])
def test_half_a_frame_is_as_far_as_one_may_be(folder, late, read):
    path = folder(episodes=column(f"{VIDEO}/from_timestamp", lambda starts: [start + late for start in starts]))
    dataset = LeRobotDataset(path)
    if read:
        assert numbers_of(dataset.frames(2, "front")) == [*range(12, 18)]
    else:
        with pytest.raises(InputError, match=f"row 5 of episode 2: that is at {1.7 + late:.4f} s.*1.7000 s"):
            dataset.frames(2, "front")


@pytest.mark.parametrize(
    "change",
    [
        without("timestamp"),
        column("timestamp", lambda values: [None] * len(values)),
        column("timestamp", put(8, None)),
        column("timestamp", lambda values: [[value] for value in values]),
        column("timestamp", lambda values: values, "float64"),
    ],
)
def test_a_row_without_a_time_is_at_its_number_over_the_rate(folder, change):
    dataset = LeRobotDataset(folder(rows=change))
    assert numbers_of(dataset.frames(1, "front", [2, 0, 5])) == [8, 6, 11]


REFUSED = [
    ({"rows": column("timestamp", lambda v: [0.0] * len(v))}, f"{DATA_FILE}: episode 1, column timestamp goes from 0"),
    ({"rows": column("timestamp", lambda v: ["now"] * len(v))}, "column timestamp holds string and must hold numbers"),
    ({"episodes": column(f"{VIDEO}/from_timestamp", put(1, 5.0))}, "row 0 of episode 1: that is at 5.0000 s"),
    ({"episodes": column(f"{VIDEO}/from_timestamp", put(1, -1.0))}, "row 0 of episode 1: that is at -1.0000 s"),
    ({"episodes": column(f"{VIDEO}/from_timestamp", put(1, None))}, "episode 1: .*from_timestamp is missing"),
    ({"episodes": column(f"{VIDEO}/from_timestamp", put(1, np.nan))}, "from_timestamp=nan must be a number"),
    ({"episodes": without(f"{VIDEO}/from_timestamp")}, "episode 1: .*from_timestamp is missing"),
    ({"episodes": without(f"{VIDEO}/file_index")}, "episode 1: .*front/file_index is missing"),
    ({"files": film(EVERY[:9], 100 * EVERY[:9])}, "row 3 of episode 1: that is at 0.9000 s.*0.8000 s"),
    ({"files": film(EVERY[:1], [0])}, "row 0 of episode 1"),
    ({"files": lambda path: (path / VIDEO_FILE).write_bytes(b"no video")}, "not a readable video"),
    ({"files": lambda path: (path / VIDEO_FILE).unlink()}, "no such video file"),
]


@pytest.mark.parametrize("changes, message", REFUSED)
def test_what_is_not_in_the_file_is_refused_in_one_line(folder, changes, message):
    dataset = LeRobotDataset(folder(**changes))
    with pytest.raises(InputError, match=message) as refused:
        dataset.frames(1, "front")
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(not CASES.is_dir(), reason="the sample files are not there")
def test_the_sample_that_lacks_two_frames():
    dataset = LeRobotDataset(CASES / "lerobot-times/dropped_frame")
    pixels = dataset.frames(0, "front", range(21, 40))
    row, places = round(24 / 192 * 128), [round((32 * bit + 16) / 320 * 160) for bit in range(10)]
    bits = pixels[:, row, places].mean(-1) > 127
    assert (bits * 2 ** np.arange(10)).sum(1).tolist() == [*range(21, 40)]
    with pytest.raises(InputError, match=r"row 20 of episode 0: that is at 0.2500 s"):
        dataset.frames(0, "front")
