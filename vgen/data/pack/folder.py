"""The rows and the `meta` folder of a LeRobot v3 data set that comes out of a pack."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vgen.data.lerobot.meta import (
    CHUNK_FILES,
    DATA_PATH,
    EPISODES_PATH,
    INDEX_COLUMNS,
    TASKS_PATH,
    VERSION,
    VIDEO_PATH,
)
from vgen.data.pack.manifest import PackedSet
from vgen.files import write_whole


@dataclass(frozen=True)
class EpisodeRecord:
    """An episode of a set: how many frames it has, the sentence that says what is done, what else `meta/episodes` says
    of it, and the part of the set that it is in."""

    length: int
    task: str
    extra: dict[str, Any]
    part: int


def write_folder(
    folder: Path,
    one: PackedSet,
    about: Mapping[str, Any],
    columns: Sequence[Mapping[str, np.ndarray]],
    episodes: Sequence[EpisodeRecord],
) -> None:
    """Writes `data` and `meta`.

    Args:
        folder: of the data set.
        one: the set.
        about: what its `meta/info.json` and `meta/stats.json` said before.
        columns: of each part, without those that count rows.
        episodes: of all parts.

    Raises:
        OSError: a file cannot be written.
    """
    tasks = {task: number for number, task in enumerate(dict.fromkeys(each.task for each in episodes))}
    indexes = _index_columns(one.fps, episodes, tasks)
    starts = np.concatenate([[0], np.cumsum([part.frames for part in one.parts])]).tolist()
    for number, values in enumerate(columns):
        rows = slice(starts[number], starts[number + 1])
        table = {name: column[rows] for name, column in indexes.items()} | dict(values)
        arrays = {name: _array(column) for name, column in table.items()}
        pq.write_table(pa.table(arrays), _made(folder / DATA_PATH.format(chunk_index=0, file_index=number)))
    pq.write_table(pa.Table.from_pylist(_episode_rows(one, episodes)), _made(folder / EPISODES_PATH))
    sentences = pa.table({"task_index": pa.array(tasks.values(), pa.int64()), "task": pa.array(tasks, pa.string())})
    pq.write_table(sentences, folder / TASKS_PATH)
    write_whole(folder / "meta" / "stats.json", json.dumps(about["stats"], indent=4))
    write_whole(folder / "meta" / "info.json", json.dumps(_info(one, about["info"], episodes, len(tasks)), indent=4))


def _index_columns(fps: float, episodes: Sequence[EpisodeRecord], tasks: Mapping[str, int]) -> dict[str, np.ndarray]:
    lengths = np.array([each.length for each in episodes])
    steps = np.concatenate([np.arange(length) for length in lengths])
    numbers, texts = np.arange(len(episodes)), np.array([tasks[each.task] for each in episodes])
    seconds = (steps / fps).astype(np.float32)
    values = (seconds, steps, np.repeat(numbers, lengths), np.arange(len(steps)), np.repeat(texts, lengths))
    return dict(zip(INDEX_COLUMNS, values, strict=True))


def _array(column: np.ndarray) -> pa.Array:
    """Rows as parquet keeps them: plain, or lists of lists."""
    array = pa.array(np.ascontiguousarray(column).reshape(-1))
    for size in reversed(column.shape[1:]):
        count = len(array) // size
        array = pa.ListArray.from_arrays(pa.array(np.arange(count + 1) * size, pa.int32()), array)
    return array


def _episode_rows(one: PackedSet, episodes: Sequence[EpisodeRecord]) -> list[dict[str, Any]]:
    rows, first, shown, part = [], 0, 0, 0
    for number, each in enumerate(episodes):
        shown, part = (0 if each.part != part else shown), each.part
        video: dict[str, float] = {"chunk_index": 0, "file_index": part}
        video |= {"from_timestamp": shown / one.fps, "to_timestamp": (shown + each.length) / one.fps}
        row: dict[str, Any] = {"episode_index": number, "tasks": [each.task], "length": each.length}
        row |= {"dataset_from_index": first, "dataset_to_index": first + each.length}
        row |= {"data/chunk_index": 0, "data/file_index": part}
        row |= {f"videos/{one.camera}/{name}": value for name, value in video.items()}
        row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        rows.append(row | each.extra)
        first, shown = first + each.length, shown + each.length
    return rows


def _info(one: PackedSet, told: Mapping[str, Any], episodes: Sequence[EpisodeRecord], tasks: int) -> dict[str, Any]:
    height, width = one.size
    fps = int(one.fps) if one.fps == int(one.fps) else one.fps
    about: dict[str, object] = {"video.height": height, "video.width": width, "video.channels": 3, "video.fps": fps}
    about |= {"video.codec": "h264", "video.pix_fmt": "yuv420p", "video.is_depth_map": False, "has_audio": False}
    names = ["height", "width", "channels"]
    camera = {"dtype": "video", "shape": [height, width, 3], "names": names, "info": about}
    kinds = ("float32", "int64", "int64", "int64", "int64")
    index = {n: {"dtype": k, "shape": [1], "names": None} for n, k in zip(INDEX_COLUMNS, kinds, strict=True)}
    totals = {"total_episodes": one.episodes, "total_frames": one.frames, "total_tasks": tasks}
    paths = {"data_path": DATA_PATH, "video_path": VIDEO_PATH, "chunks_size": CHUNK_FILES}
    features = {one.camera: camera} | index | told["features"]
    mine = {"codebase_version": VERSION, "fps": fps, "splits": one.splits, "features": features}
    return {**told, **totals, **paths, **mine}


def _made(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    return file
