"""Writes LeRobot v3.0 datasets; `vgen.data.lerobot.dataset` reads them, `vgen.data.lerobot.meta` names their parts."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vgen.checks import show
from vgen.data.lerobot.meta import CHUNK_FILES, DATA_PATH, EPISODES_PATH, INDEX_COLUMNS, VERSION, VIDEO_PATH
from vgen.errors import InputError
from vgen.files import writing
from vgen.media.video import read_video, video_info
from vgen.media.writing import join_videos, write_video
from vgen.results import DATASET, check_folder, put_in_place

MB = 2**20
SAMPLED_FRAMES = 4  # per episode and camera, for the pixel statistics


class LeRobotWriter:
    """Writes a LeRobot v3.0 folder, episode by episode, beside its final place until `finish`.

    Args:
        path: the folder to make.
        fps: frames per second of every episode.
        names: what each dimension of each column is called, such as {"action": ["dx", "dy", "dz", "gripper"]}; its
            keys are the columns that every episode must bring.
        cameras: feature keys of the videos, such as "observation.images.first_person".
        robot_type: a name for the robot or the hand.
        data_file_mb, video_file_mb: a file is closed when it has grown past this size, 1 or more. Small video files
            open fast.
        overwrite: a data set that lies at `path` is replaced, by `finish`.
        layouts: which trajectory layout a column has, by the column's name; told in the `info` of its feature.
        conventions: units, frames of reference and signs of a column in words, by its name; told there too.

    Raises:
        InputError: `path` holds something, its folder cannot be written to, or a size is below 1.
    """

    def __init__(
        self,
        path: str | Path,
        fps: int,
        names: Mapping[str, Sequence[str]],
        cameras: Sequence[str],
        robot_type: str | None = None,
        data_file_mb: int = 100,
        video_file_mb: int = 50,
        layouts: Mapping[str, str] | None = None,
        overwrite: bool = False,
        conventions: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        check_folder(self.path, DATASET, overwrite, show(self.path))
        if min(data_file_mb, video_file_mb) < 1:
            raise InputError(f"file sizes of {data_file_mb} and {video_file_mb} MB are not 1 or more; nearest: 1")
        self._work = self.path.with_name(self.path.name + ".writing")
        self._fps, self._names, self._cameras, self._robot_type = fps, dict(names), list(cameras), robot_type
        self._data_mb, self._video_mb = data_file_mb, video_file_mb
        told = {"layout": dict(layouts or {}), "conventions": dict(conventions or {})}
        self._info = {
            name: {what: said[name] for what, said in told.items() if name in said}
            for name in self._names
            if any(name in said for said in told.values())
        }
        self._tasks: dict[str, int] = {}
        self._episodes: list[dict[str, object]] = []
        self._frames = 0
        self._features: dict[str, dict[str, Any]] = {}
        self._stats: dict[str, _Stats] = {}
        self._tables: list[pa.Table] = []  # of the open data file
        self._data_bytes = 0
        self._data_files = self._video_files = 0
        self._video_start = 0  # dataset index of the first frame in the open video files
        self._parts: dict[str, list[Path]] = {camera: [] for camera in self._cameras}  # of the open video files
        self._video_bytes = dict.fromkeys(self._cameras, 0)
        with disk_errors(self._work):
            shutil.rmtree(self._work, ignore_errors=True)
            (self._work / "parts").mkdir(parents=True)

    def add_episode(
        self,
        columns: Mapping[str, np.ndarray],
        videos: Mapping[str, np.ndarray | Path],
        task: str,
        extra: Mapping[str, object] | None = None,
    ) -> int:
        """Add one episode of T frames.

        Args:
            columns: the arrays [T, D] of the columns named at the start.
            videos: per camera uint8 [T, H, W, 3], or the path of a file that `write_video` wrote with T frames at
                this rate (it must stay in place until `finish`).
            task: the sentence that says what is done.
            extra: further columns of `meta/episodes`, the same ones for every episode.

        Returns:
            The episode's index.

        Raises:
            InputError: columns, cameras or lengths that do not fit, or a disk error.
        """
        length = self._check(columns, videos)
        index = len(self._episodes)
        task_index = self._tasks.setdefault(task, len(self._tasks))
        table = self._index_columns(index, length, task_index) | {name: columns[name] for name in self._names}
        with disk_errors(self._work):
            self._add_videos(length, self._encode(index, length, videos))
            self._episodes.append(
                {"episode_index": index, "tasks": [task], "length": length}
                | {"dataset_from_index": self._frames, "dataset_to_index": self._frames + length}
                | self._places(length)
                | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
                | dict(extra or {})
            )
            self._frames += length
            self._add_rows(table)
            self._close_full_files()
        return index

    def finish(
        self, splits: Mapping[str, tuple[int, int]] | None = None, notes: Mapping[str, str] | None = None
    ) -> None:
        """Write what is pending and the `meta` folder, and move the dataset to its place.

        Args:
            splits: name to (first episode, one past the last); None makes all of it `train`.
            notes: further text files of the data set, by their paths in it, such as "meta/conversion.json".

        Raises:
            InputError: no episode was added, or a disk error.
        """
        if not self._episodes:
            raise InputError(f"{self.path}: no episode was added; a dataset holds at least one")
        splits = splits or {"train": (0, len(self._episodes))}
        with disk_errors(self._work):
            self._close_data_file()
            self._close_video_files()
            shutil.rmtree(self._work / "parts")
            self._write_meta({name: f"{start}:{stop}" for name, (start, stop) in splits.items()})
            for name, text in (notes or {}).items():
                self._new_file(name).write_text(text)
            put_in_place(self._work, self.path)

    def _check(self, columns: Mapping[str, np.ndarray], videos: Mapping[str, np.ndarray | Path]) -> int:
        for given, known, what in ((columns, self._names, "columns"), (videos, self._cameras, "cameras")):
            if set(given) != set(known):
                raise InputError(f"{what} {sorted(given)} are not those of the dataset: {sorted(known)}")
        for name, labels in self._names.items():
            if columns[name].ndim != 2 or columns[name].shape[1] != len(labels):
                raise InputError(f"column {name} of {list(columns[name].shape)} is not [T, {len(labels)}]")
            dtype, before = str(columns[name].dtype), self._features.get(name)
            if before and before["dtype"] != dtype:
                raise InputError(f"column {name} is {dtype}; the episodes before have {before['dtype']}")
        sized = dict(columns) | {key: video for key, video in videos.items() if isinstance(video, np.ndarray)}
        lengths = {name: len(array) for name, array in sized.items()}
        if len(set(lengths.values())) != 1 or not min(lengths.values()):
            raise InputError(f"columns and videos are not of one length of 1 or more: {lengths}")
        return next(iter(lengths.values()))

    def _index_columns(self, episode: int, length: int, task_index: int) -> dict[str, np.ndarray]:
        steps = np.arange(length, dtype=np.int64)
        seconds = (steps / self._fps).astype(np.float32)
        values = (seconds, steps, np.full_like(steps, episode), self._frames + steps, np.full_like(steps, task_index))
        return dict(zip(INDEX_COLUMNS, values, strict=True))

    def _add_rows(self, table: Mapping[str, np.ndarray]) -> None:
        arrays = {}
        for name, values in table.items():
            labels = self._names.get(name)
            shape = [1] if labels is None else list(values.shape[1:])
            feature: dict[str, Any] = {"dtype": str(values.dtype), "shape": shape, "names": labels}
            if name in self._info:
                feature["info"] = self._info[name]
            self._features.setdefault(name, feature)
            self._stats.setdefault(name, _Stats()).add(values.reshape(len(values), -1))
            arrays[name] = pa.array(values if values.ndim == 1 else list(values))
        self._tables.append(pa.table(arrays))
        self._data_bytes += self._tables[-1].nbytes

    def _encode(self, index: int, length: int, videos: Mapping[str, np.ndarray | Path]) -> dict[str, Path]:
        """The episode's video files, one per camera."""
        parts = {}
        for key in self._cameras:
            video = videos[key]
            part = self._work / "parts" / f"{key}-{index}.mp4" if isinstance(video, np.ndarray) else video
            if isinstance(video, np.ndarray):
                write_video(part, video, self._fps)
            info = video_info(part)
            if info.frames != length:
                raise InputError(f"{part} holds {info.frames} frames; its episode's columns have {length} rows")
            feature = self._features.setdefault(key, _video_feature(info.height, info.width, self._fps))
            if feature["shape"][:2] != [info.height, info.width]:
                raise InputError(f"{part} is {info.height}x{info.width}; the episodes before are {feature['shape']}")
            parts[key] = part
        return parts

    def _add_videos(self, length: int, parts: Mapping[str, Path]) -> None:
        sampled = np.linspace(0, length - 1, SAMPLED_FRAMES).astype(int)
        for key, part in parts.items():
            self._parts[key].append(part)
            self._video_bytes[key] += part.stat().st_size
            self._stats.setdefault(key, _Stats((3, 1, 1))).add(read_video(part, sampled).reshape(-1, 3) / 255)

    def _places(self, length: int) -> dict[str, object]:
        """Where the data and the videos of the newest episode go: chunk, file, and times in the video."""
        start = self._frames - self._video_start
        times = {"from_timestamp": start / self._fps, "to_timestamp": (start + length) / self._fps}
        video = _numbered(self._video_files) | times
        places = {f"data/{name}": value for name, value in _numbered(self._data_files).items()}
        return places | {f"videos/{key}/{name}": value for key in self._cameras for name, value in video.items()}

    def _close_full_files(self) -> None:
        if self._data_bytes > self._data_mb * MB:
            self._close_data_file()
        if max(self._video_bytes.values(), default=0) > self._video_mb * MB:
            self._close_video_files()

    def _close_data_file(self) -> None:
        if self._tables:
            file = self._new_file(DATA_PATH.format(**_numbered(self._data_files)))
            pq.write_table(pa.concat_tables(self._tables), file)
            self._data_files += 1
            self._tables, self._data_bytes = [], 0

    def _close_video_files(self) -> None:
        for key, parts in self._parts.items():
            if parts:
                join_videos(parts, self._new_file(VIDEO_PATH.format(video_key=key, **_numbered(self._video_files))))
            self._parts[key], self._video_bytes[key] = [], 0
        self._video_files += 1
        self._video_start = self._frames

    def _new_file(self, name: str) -> Path:
        file = self._work / name
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def _write_meta(self, splits: Mapping[str, str]) -> None:
        info = {
            "codebase_version": VERSION,
            "robot_type": self._robot_type,
            "total_episodes": len(self._episodes),
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": CHUNK_FILES,
            "data_files_size_in_mb": self._data_mb,
            "video_files_size_in_mb": self._video_mb,
            "fps": self._fps,
            "splits": dict(splits),
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if self._cameras else None,
            "features": self._features,
        }
        stats = {name: stat.summary() for name, stat in self._stats.items()}
        pq.write_table(pa.Table.from_pylist(self._episodes), self._new_file(EPISODES_PATH))
        tasks = pd.DataFrame({"task_index": list(self._tasks.values())}, index=pd.Index(self._tasks, name="task"))
        tasks.to_parquet(self._new_file("meta/tasks.parquet"))
        self._new_file("meta/stats.json").write_text(json.dumps(stats, indent=4))
        self._new_file("meta/info.json").write_text(json.dumps(info, indent=4))


class _Stats:
    """Running minimum, maximum, mean and deviation of what is known (finite) in each dimension, 0 where nothing is;
    `shape` is how they are written."""

    def __init__(self, shape: Sequence[int] = (-1,)) -> None:
        self._shape = shape
        self._rows = 0
        self._low: Any = np.inf
        self._high: Any = -np.inf
        self._count: Any = 0
        self._total: Any = 0.0
        self._square: Any = 0.0

    def add(self, values: np.ndarray) -> None:
        """Take in values [N, D]."""
        known, values = np.isfinite(values), values.astype(np.float64)
        filled = np.where(known, values, 0.0)
        self._low = np.minimum(self._low, np.where(known, values, np.inf).min(0))
        self._high = np.maximum(self._high, np.where(known, values, -np.inf).max(0))
        self._total, self._square = self._total + filled.sum(0), self._square + (filled**2).sum(0)
        self._count += known.sum(0)
        self._rows += len(values)

    def summary(self) -> dict[str, list[Any]]:
        count = np.maximum(self._count, 1)
        mean = self._total / count
        std = np.sqrt(np.maximum(self._square / count - mean**2, 0))
        values = {"min": self._low, "max": self._high, "mean": mean, "std": std}
        told = {name: np.where(self._count > 0, value, 0.0).reshape(self._shape) for name, value in values.items()}
        return {name: value.tolist() for name, value in told.items()} | {"count": [self._rows]}


def _numbered(file: int) -> dict[str, int]:
    return {"chunk_index": file // CHUNK_FILES, "file_index": file % CHUNK_FILES}


def _video_feature(height: int, width: int, fps: int) -> dict[str, Any]:
    info: dict[str, object] = {"video.height": height, "video.width": width, "video.channels": 3, "video.fps": fps}
    info |= {"video.codec": "h264", "video.pix_fmt": "yuv420p", "video.is_depth_map": False, "has_audio": False}
    names = ["height", "width", "channels"]
    return {"dtype": "video", "shape": [height, width, 3], "names": names, "info": info}


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Says in one line that a disk is full, or that a folder must not be written to; see `writing`."""
    with writing(path):
        yield
