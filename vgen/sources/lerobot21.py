"""LeRobot v2.0 and v2.1: one parquet file and one video of each camera for every episode."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from vgen.checks import show
from vgen.data.lerobot.columns import NUMBERS, open_parquet, to_array
from vgen.data.lerobot.meta import (
    CAMERA_PREFIX,
    INDEX_COLUMNS,
    OLDER,
    choose_split,
    declared_shape,
    filled,
    inside,
    read_info,
)
from vgen.data.videos.tables import read_rows
from vgen.errors import InputError, unknown_key
from vgen.notices import warn_once
from vgen.sources.reading.frames import ImageFrames, VideoFrames, nearest
from vgen.sources.source import Episode, Frames, LeftOut, Reading, Source, Take
from vgen.trajectory.layouts import LAYOUTS, find_layout

logger = logging.getLogger(__name__)

STATE = "observation.state"
EPISODES, TASKS = "meta/episodes.jsonl", "meta/tasks.jsonl"
TEXT = ("string", "large_string")
SLACK = 1e-3  # of a frame: times are kept in float32


class LeRobot21Source(Source):
    """A LeRobot folder as it was before v3.0, with its columns and cameras as they are."""

    options: ClassVar = {
        "column": f"of which --layout speaks (default: {STATE})",
        "columns": "those that are kept, with commas between them (default: all of numbers)",
        "group": f"a key of {EPISODES}: episodes of one scene or participant (default: each its own)",
    }

    def __init__(self, reading: Reading) -> None:
        self._folder, self._more = reading.folder, reading.more
        self._info = read_info(reading.folder, OLDER)
        features: dict[str, dict[str, Any]] = self._info["features"]
        self.fps = _rate(self._info, reading.folder)
        self._cameras = _cameras(features, reading)
        self.cameras = list(self._cameras)
        self._shapes = _columns(features, reading)
        self.columns = {key: _names(key, features[key], math.prod(shape)) for key, shape in self._shapes.items()}
        self.layouts = self._layouts(reading.layout, features)
        self.robot_type = str(self._info.get("robot_type") or "unknown")
        self._episodes = _episodes(reading.folder)

    def takes(self) -> Sequence[Take]:
        """All episodes, with the splits of meta/info.json where they are more than `train`."""
        group = self._more.get("group")
        split = self._splits()
        takes = []
        for index, row in self._episodes.items():
            if group is not None and group not in row:
                raise unknown_key(group, row, f"the keys of {self._folder / EPISODES}")
            name = f"episode_{index:06d}"
            takes.append(Take(name, name if group is None else str(row[group]), index, split.get(index)))
        return takes

    def read(self, take: Take) -> Episode:
        """An episode: its rows, and the frames that are shown at their times."""
        assert isinstance(take.place, int)
        row = self._episodes[take.place]
        pictures = [key for key in self._cameras.values() if self._info["features"][key]["dtype"] == "image"]
        wanted = [*self.columns, *pictures, "timestamp", "frame_index", "task_index"]
        table = _read_table(self._path("data_path", take.place), wanted)
        _check_rows(table, row)
        columns = {key: self._column(table, key) for key in self.columns}
        seconds = to_array(table["timestamp"]).reshape(-1).astype(np.float64)
        frames = {camera: self._frames(key, take.place, table, seconds) for camera, key in self._cameras.items()}
        return Episode(columns, frames, self._sentence(row, table), {"source_episode": take.place})

    def _layouts(self, layout: str | None, features: Mapping[str, dict[str, Any]]) -> dict[str, str]:
        """The layout of the named column, and of those of which the data set says it."""
        said = {key: (features[key].get("info") or {}).get("layout") for key in self.columns}
        layouts = {key: str(name) for key, name in said.items() if name in LAYOUTS}
        column = self._more.get("column", STATE)
        if layout is not None:
            if column not in self.columns:
                raise unknown_key(column, self.columns, f"the columns of {self._folder} that are kept")
            width, spec = len(self.columns[column]), find_layout(layout)
            if width != spec.width:
                same = [other.name for other in LAYOUTS.values() if other.width == width]
                hint = f"layouts of that width: {', '.join(same)}" if same else "none has that many"
                raise InputError(f"{column} has {width} numbers and layout {layout} {spec.width}; {hint}")
            layouts[column] = layout
        return layouts

    def _splits(self) -> dict[int, str]:
        """The split of each episode by its number; none where all of it is `train`."""
        told = self._info.get("splits")
        if not isinstance(told, dict) or len(told) < 2:
            return {}
        rows = [{"episode_index": index} for index in self._episodes]
        return {
            row["episode_index"]: name for name in told for row in choose_split(self._info, name, rows, self._folder)
        }

    def _path(self, template: str, index: int, key: str | None = None) -> Path:
        size = self._info.get("chunks_size")
        chunk = index // size if isinstance(size, int) and size > 0 else 0
        fields: dict[str, object] = {"episode_chunk": chunk, "episode_index": index}
        fields |= {"video_key": key} if key else {}
        what = f"{self._folder}/meta/info.json: {template}"
        return inside(self._folder, filled(self._info[template], fields, what), what)

    def _column(self, table: pa.Table, key: str) -> np.ndarray:
        values = to_array(table[key], self._shapes[key])
        if values.dtype.kind not in f"{NUMBERS}b":
            raise LeftOut(f"a column holds no numbers: {key} of {values.dtype}")
        return values.astype(np.float32).reshape(len(values), -1)

    def _frames(self, key: str, index: int, table: pa.Table, seconds: np.ndarray) -> Frames:
        if key in table.column_names:
            return ImageFrames([self._picture(kept, key) for kept in table[key].to_pylist()])
        path = self._path("video_path", index, key)
        times = VideoFrames(path).times
        numbers = nearest(times, seconds)
        off = np.flatnonzero(np.abs(times[numbers] - seconds) > (0.5 + SLACK) / self.fps)
        if off.size:
            told = f"row {off[0]} of {len(seconds)} at {seconds[off[0]]:.3f} s, the last frame at {times[-1]:.3f} s"
            raise LeftOut(f"its video has no frame for a row: {told}")
        return VideoFrames(path, numbers)

    def _picture(self, kept: object, key: str) -> Path | bytes:
        held: dict[str, object] = kept if isinstance(kept, dict) else {"bytes": kept}
        data, path = held.get("bytes"), held.get("path")
        if isinstance(data, bytes) and data:
            return data
        if isinstance(path, str) and path:
            return inside(self._folder, path, key)
        raise LeftOut(f"a frame is missing: {key} holds neither a picture nor its path")

    def _sentence(self, row: Mapping[str, Any], table: pa.Table) -> str:
        told = row.get("tasks")
        task = told[0] if isinstance(told, list) and told else told
        if isinstance(task, str) and task:
            return task
        file = self._folder / TASKS
        lines = [line.values for line in read_rows(file)] if file.is_file() else []
        tasks = {line.get("task_index"): line.get("task") for line in lines}
        found = table["task_index"][0].as_py() if "task_index" in table.column_names else None
        return str(tasks.get(found) or "")


def _rate(info: Mapping[str, Any], folder: Path) -> int:
    fps = info.get("fps")
    if not isinstance(fps, int | float) or isinstance(fps, bool) or fps < 1 or abs(fps - round(fps)) > 1e-6:
        raise InputError(f"{folder}/meta/info.json: fps={show(fps)} must be a whole number of 1 or more")
    return round(fps)


def _cameras(features: Mapping[str, dict[str, Any]], reading: Reading) -> dict[str, str]:
    """The cameras that are wanted, and their keys; depth is none that is taken unasked."""
    found, depth = {}, []
    for key, feature in features.items():
        if feature.get("dtype") in ("video", "image"):
            name = key.removeprefix(CAMERA_PREFIX).removeprefix("observation.")
            about = feature.get("info") or feature.get("video_info") or {}
            found[name] = key
            depth += [name] if about.get("video.is_depth_map") else []
    for name in reading.cameras:
        if name not in found:
            raise unknown_key(name, found, f"the cameras of {reading.folder}")
    if depth and not reading.cameras:
        warn_once(logger, f"{reading.folder}: {', '.join(depth)} is depth and is not taken; --cameras takes it")
    wanted = reading.cameras or [name for name in found if name not in depth]
    return {name: found[name] for name in wanted}


def _columns(features: Mapping[str, dict[str, Any]], reading: Reading) -> dict[str, tuple[int, ...]]:
    """The shapes of the columns that are wanted, by their keys."""
    kinds = {key: str(feature.get("dtype")) for key, feature in features.items() if key not in INDEX_COLUMNS}
    held = {key: kind for key, kind in kinds.items() if kind not in ("video", "image")}
    numbers = [key for key, kind in held.items() if kind not in TEXT]
    wanted = reading.more["columns"].split(",") if "columns" in reading.more else numbers
    for key in wanted:
        if key not in numbers:
            raise unknown_key(key, numbers, f"the columns of numbers of {reading.folder}")
    if not wanted:
        raise InputError(f"{reading.folder} has no column of numbers; a data set needs a trajectory")
    if text := [key for key in held if key not in numbers]:
        warn_once(logger, f"{reading.folder}: {', '.join(text)} holds text and is left out")
    return {key: declared_shape(features[key]) or (1,) for key in wanted}


def _names(key: str, feature: Mapping[str, Any], width: int) -> list[str]:
    """What the numbers of a column are called."""
    names = feature.get("names")
    if isinstance(names, dict) and len(names) == 1:
        names = next(iter(names.values()))
    if isinstance(names, list) and len(names) == width:
        return [str(name) for name in names]
    return [f"{key.rpartition('.')[2]}_{place}" for place in range(width)]


def _episodes(folder: Path) -> dict[int, Mapping[str, Any]]:
    """The rows of meta/episodes.jsonl by the number of the episode."""
    file = folder / EPISODES
    if not file.is_file():
        raise InputError(f"{folder} has no {EPISODES}, which says which episodes there are")
    found: dict[int, Mapping[str, Any]] = {}
    for row in read_rows(file):
        index = row.values.get("episode_index")
        if not isinstance(index, int) or index < 0:
            raise InputError(f"{file}, line {row.line}: episode_index={show(index)} must be a whole number from 0")
        if index in found:
            raise InputError(f"{file}, line {row.line}: names episode {index} again; keep one")
        found[index] = row.values
    return found


def _read_table(path: Path, columns: Sequence[str]) -> pa.Table:
    if not path.is_file():
        raise LeftOut(f"its parquet file is missing: {path.name}")
    with open_parquet(path) as file:
        held = file.schema_arrow.names
        if missing := [name for name in columns if name not in held and name not in INDEX_COLUMNS]:
            raise LeftOut(f"its parquet file lacks a column: {missing[0]}")
        return file.read(columns=[name for name in columns if name in held])


def _check_rows(table: pa.Table, row: Mapping[str, Any]) -> None:
    """Refuses rows that are not all there, or not in order."""
    length = row.get("length")
    if isinstance(length, int) and table.num_rows != length:
        raise LeftOut(f"its rows are not all there: {table.num_rows} of {length}")
    if "timestamp" not in table.column_names:
        raise LeftOut("its parquet file lacks a column: timestamp")
    if "frame_index" in table.column_names:
        numbers = to_array(table["frame_index"]).reshape(-1)
        odd = np.flatnonzero(numbers != np.arange(len(numbers)))
        if odd.size:
            raise LeftOut(f"its rows are not in order: row {odd[0]} is frame {numbers[odd[0]]}")
