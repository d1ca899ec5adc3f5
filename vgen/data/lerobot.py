"""LeRobot v3.0 datasets: parquet columns, mp4 videos of many episodes each, and a `meta` folder.

Layout: https://github.com/huggingface/lerobot, "LeRobotDataset v3.0". Row k of an episode holds frame k and the
action that leads from frame k to frame k + 1.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vgen.errors import InputError, unknown_key
from vgen.media.video import VideoFile

VERSION = "v3.0"
CHUNK_FILES = 1000  # files per chunk folder
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-000/file-000.parquet"
CAMERA_PREFIX = "observation.images."
INDEX_COLUMNS = ("timestamp", "frame_index", "episode_index", "index", "task_index")
OPEN_TABLES = 2  # kept in memory
OPEN_VIDEOS = 8  # kept open


@dataclass(frozen=True)
class Episode:
    """One episode of T frames.

    index: its number in the whole dataset.
    length: T.
    fps: frames per second.
    task: the sentence that says what is done.
    columns: per-frame arrays, [T] or [T, ...] as the dataset declares them.
    extra: what `meta/episodes` says of it beyond the standard (such as its seed).
    """

    index: int
    length: int
    fps: float
    task: str
    columns: dict[str, np.ndarray]
    extra: dict[str, object]


class LeRobotDataset:
    """Reads one split of a LeRobot v3.0 folder.

    Args:
        path: the dataset folder.
        split: a name in the `splits` of `meta/info.json`.

    Raises:
        InputError: not a v3.0 dataset, or no such split.

    Attributes:
        info: the parsed `meta/info.json`.
        fps: frames per second.
        cameras: feature keys of the videos.
    """

    def __init__(self, path: str | Path, split: str = "train") -> None:
        self.path = Path(path)
        self.info = _read_info(self.path)
        self.fps = float(self.info["fps"])
        self.cameras = [key for key, feature in self.info["features"].items() if feature["dtype"] == "video"]
        rows = _read_episodes(self.path)
        self._episodes = rows[_split_slice(self.info, split, len(rows), self.path)]

    def __len__(self) -> int:
        return len(self._episodes)

    def episode(self, i: int) -> Episode:
        """Read the columns of episode i of the split.

        Raises:
            InputError: i is outside the split, or its data file is missing or corrupt.
        """
        row = self._row(i)
        index = row["episode_index"]
        table = _read_table(self.data_file(i))
        table = table.filter(pc.equal(table["episode_index"], index))
        columns = {}
        for name in table.column_names:
            shape = self.info["features"].get(name, {}).get("shape", [1])
            columns[name] = _to_numpy(table[name], shape)
        extra = {key: value for key, value in row.items() if not _is_standard(key)}
        return Episode(index, row["length"], self.fps, _task(row), columns, extra)

    def summary(self, i: int) -> tuple[int, int, str]:
        """The number in the whole dataset, the length and the task ("" for none) of episode i of the split, without its
        columns.

        Raises:
            InputError: i is outside the split.
        """
        row = self._row(i)
        return row["episode_index"], row["length"], _task(row)

    def video(self, i: int, camera: str) -> tuple[Path, int]:
        """The file that holds episode i of the split, and the frame of the file that is its first.

        Raises:
            InputError: no such episode or camera.
        """
        row, key = self._row(i), self._camera_key(camera)
        file = self._file("video_path", row, f"videos/{key}", video_key=key)
        return file, round(row[f"videos/{key}/from_timestamp"] * self.fps)

    def data_file(self, i: int) -> Path:
        """The file that holds the columns of episode i of the split.

        Raises:
            InputError: i is outside the split.
        """
        return self._file("data_path", self._row(i), "data")

    def frames(self, i: int, camera: str, indices: Sequence[int] | None = None) -> np.ndarray:
        """Decode frames of episode i of the split.

        Args:
            i: number of the episode in the split.
            camera: a feature key, or what follows "observation.images." in it.
            indices: frame numbers in the episode, in any order; None for all.

        Returns:
            uint8 [T, H, W, 3], RGB.

        Raises:
            InputError: no such episode, camera or frame, or a missing or corrupt video.
        """
        row = self._row(i)
        wanted = np.arange(row["length"]) if indices is None else np.asarray(indices, dtype=np.int64)
        outside = wanted[(wanted < 0) | (wanted >= row["length"])]
        if outside.size:
            last = row["length"] - 1
            raise InputError(f"frame {outside[0]} is not in episode {i} of {self.path}; it has frames 0 to {last}")
        path, start = self.video(i, camera)
        return _open_video(path, os.getpid()).read(start + wanted)

    def _row(self, i: int) -> dict[str, object]:
        if not 0 <= i < len(self):
            raise InputError(f"episode {i} is not in the split of {self.path}; it has episodes 0 to {len(self) - 1}")
        return self._episodes[i]

    def _camera_key(self, camera: str) -> str:
        for key in (camera, CAMERA_PREFIX + camera):
            if key in self.cameras:
                return key
        names = [key.removeprefix(CAMERA_PREFIX) for key in self.cameras]
        raise unknown_key(camera.removeprefix(CAMERA_PREFIX), names, f"the cameras of {self.path}")

    def _file(self, template: str, row: Mapping[str, object], prefix: str, **names: str) -> Path:
        place = {part: row[f"{prefix}/{part}"] for part in ("chunk_index", "file_index")}
        return self.path / self.info[template].format(**place, **names)


@lru_cache(maxsize=OPEN_TABLES)
def _read_table(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: missing or not a parquet file") from error


@lru_cache(maxsize=OPEN_VIDEOS)
def _open_video(path: Path, pid: int) -> VideoFile:
    """`pid` keeps a forked process from sharing its parent's file position."""
    return VideoFile(path)


def _read_info(path: Path) -> dict:
    file = path / "meta" / "info.json"
    try:
        info = json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path} is not a LeRobot dataset: it has no meta/info.json") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{file} is not readable JSON") from error
    version = info.get("codebase_version")
    if version != VERSION:
        raise InputError(
            f"{path} has codebase_version {version}; vgen reads {VERSION}: convert it with lerobot's tools"
        )
    missing = {"fps", "features", "data_path"} - info.keys()
    if missing:
        raise InputError(f"{file} lacks {', '.join(sorted(missing))}")
    return info


def _read_episodes(path: Path) -> list[dict]:
    files = sorted((path / "meta" / "episodes").glob("*/*.parquet"))
    if not files:
        raise InputError(f"{path} is not a complete LeRobot dataset: it has no meta/episodes/*/*.parquet")
    rows = []
    for file in files:
        try:
            schema = pq.read_schema(file)
            rows += pq.read_table(file, columns=[n for n in schema.names if not n.startswith("stats/")]).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{file} is not a parquet file") from error
    missing = {"episode_index", "tasks", "length", "data/chunk_index", "data/file_index"} - set(rows[0] if rows else ())
    if missing:
        raise InputError(f"{path}/meta/episodes is empty or lacks the columns {', '.join(sorted(missing))}")
    return sorted(rows, key=lambda row: row["episode_index"])


def _split_slice(info: dict, split: str, episodes: int, path: Path) -> slice:
    splits = info.get("splits") or {"train": f"0:{episodes}"}
    if split not in splits:
        raise unknown_key(split, splits, f"the splits of {path}")
    start, _, stop = str(splits[split]).partition(":")
    if not (start.isdecimal() and stop.isdecimal() and int(start) <= int(stop) <= episodes):
        raise InputError(f"split {split}={splits[split]!r} of {path} is not FIRST:STOP within 0:{episodes}")
    return slice(int(start), int(stop))


def _to_numpy(column: pa.ChunkedArray, shape: Sequence[int]) -> np.ndarray:
    """A scalar column becomes [T]; a (nested) list column [T, *shape]."""
    values, nested = column.combine_chunks(), False
    while pa.types.is_list(values.type) or pa.types.is_fixed_size_list(values.type):
        values, nested = values.flatten(), True
    array = values.to_numpy(zero_copy_only=False)
    return array.reshape(len(column), *shape) if nested else array


def _task(row: dict) -> str:
    """What is done in an episode; "" where the data set does not say."""
    return row["tasks"][0] if row["tasks"] else ""


def _is_standard(key: str) -> bool:
    known = ("episode_index", "tasks", "length", "dataset_from_index", "dataset_to_index")
    return key in known or key.startswith(("data/", "videos/", "meta/", "stats/"))
