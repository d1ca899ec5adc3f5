"""Pictures in parquet columns."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot_folders import (
    DATA_FILE,
    PICTURES,
    STILL,
    changed,
    column,
    numbers_of,
    pictures,
    png,
    write_plain,
)
from PIL import Image

from vgen.data.cache.frames import FrameCache
from vgen.data.footage import LeRobotFootage
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.errors import InputError


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write_plain(tmp_path_factory.mktemp("pictures") / "set")


@pytest.fixture
def folder(plain, tmp_path):
    return lambda **changes: changed(plain, tmp_path / "set", info=STILL, **changes)


def files(path):
    (path / "stills").mkdir()
    for n in range(18):
        (path / f"stills/{n}.png").write_bytes(png(n))


def one_row_per_group(path):
    pq.write_table(pq.read_table(path / DATA_FILE), path / DATA_FILE, row_group_size=1)


KINDS = [
    {"rows": pictures()},
    {"rows": pictures(), "files": one_row_per_group},
    {"rows": pictures(lambda n: {"bytes": None, "path": f"stills/{n}.png"}), "files": files},
    {"rows": pictures(png, pa.binary())},
    {"rows": pictures(lambda n: {"bytes": png(n, "RGBA"), "path": None})},
    {"rows": lambda table: pictures()(table).take(pa.array(np.random.default_rng(0).permutation(18)))},
]


@pytest.mark.parametrize("changes", KINDS)
def test_pictures_are_a_camera_as_videos_are(folder, changes, tmp_path):
    dataset = LeRobotDataset(folder(**changes))
    assert dataset.cameras == ["observation.images.front", PICTURES] and PICTURES not in dataset.episode(0).columns
    assert numbers_of(dataset.frames(1, "still")) == [*range(6, 12)]
    assert (dataset.frames(2, "still", [5, 0]) == 13 * np.array([17, 12])[:, None, None, None]).all()
    footage = LeRobotFootage(dataset, "still")
    assert footage.episodes[2].size == (16, 32) and numbers_of(footage.read(2, [1])) == [13]
    cache = FrameCache.of_dataset(dataset, "still", tmp_path / "cache")
    assert [n for e in range(3) for n in numbers_of(cache.read(e, range(6)))] == [*range(18)] and not cache.bad


def only(number, kept):
    """The picture of one row is another."""
    return pictures(lambda n: kept if n == number else {"bytes": png(n), "path": None})


REFUSED = [
    (only(8, {"bytes": None, "path": "../../secret.png"}), "path=../../secret.png is no path within"),
    (only(8, {"bytes": None, "path": "/etc/passwd"}), "path=/etc/passwd is no path within"),
    (only(8, {"bytes": None, "path": "lost.png"}), "lost.png: no such image file"),
    (only(8, {"bytes": None, "path": "meta"}), "not a readable image file .*Is a directory"),
    (only(8, {"bytes": None, "path": None}), "neither bytes nor a path"),
    (only(8, None), "neither bytes nor a path"),
    (only(8, {"bytes": b"", "path": ""}), "neither bytes nor a path"),
    (only(8, {"bytes": b"no picture", "path": None}), "cannot identify what it holds"),
    (only(8, {"bytes": png(8)[:60], "path": None}), "not a readable image file"),
    (only(8, {"bytes": png(8, "RGBA", alpha=20), "path": None}), "transparent"),
]


@pytest.mark.parametrize("rows, message", REFUSED)
def test_one_that_cannot_be_read_is_named(folder, rows, message):
    path = folder(rows=rows)
    dataset = LeRobotDataset(path)
    with pytest.raises(InputError, match=message) as refused:
        dataset.frames(1, "still", [2])
    said = str(refused.value)
    assert f"{path / DATA_FILE}: episode 1, column {PICTURES}, row 2" in said and "\n" not in said and "0x" not in said
    assert numbers_of(dataset.frames(1, "still", [1, 3])) == [7, 9]


def test_pictures_of_several_sizes_and_a_column_of_something_else(folder, tmp_path, plain):
    path = folder(rows=only(8, {"bytes": png(8, size=(16, 16)), "path": None}))
    with pytest.raises(InputError, match=f"column {PICTURES} must hold pictures of one size; it has 16x16, 16x32"):
        LeRobotDataset(path).frames(1, "still")
    cache = FrameCache.of_dataset(LeRobotDataset(path), "still", tmp_path / "cache")
    assert [name for name, _ in cache.bad] == ["episode 1"]
    for name, change, message in (
        ("numbers", column(PICTURES, lambda numbers: numbers), "neither bytes nor a path"),
        ("none", None, f"'{PICTURES}' is not in the columns of"),
    ):
        other = changed(plain, tmp_path / name, info=STILL, rows=change)
        with pytest.raises(InputError, match=message):
            LeRobotDataset(other).frames(0, "still")


def test_episodes_of_another_size_than_the_first_are_bad(folder, tmp_path):
    rows = pictures(lambda n: {"bytes": png(n, size=(32, 16) if n < 12 else (16, 16)), "path": None})
    cache = FrameCache.of_dataset(LeRobotDataset(folder(rows=rows)), "still", tmp_path / "cache")
    [(name, reason)] = cache.bad
    assert name == "episode 2" and "16x16; the first episode is of 16x32" in reason
    assert Image.fromarray(cache.read(0, [3])[0]).size == (32, 16)
