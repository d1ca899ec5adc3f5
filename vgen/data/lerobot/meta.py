"""The `meta` folder of a LeRobot v3.0 data set: what it holds, and where."""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from numbers import Integral
from pathlib import Path, PurePosixPath
from string import Formatter
from typing import Any

import pyarrow as pa

from vgen.checks import show
from vgen.data.lerobot.columns import is_text, open_parquet
from vgen.errors import InputError, unknown_key
from vgen.notices import warn_once

logger = logging.getLogger(__name__)

VERSION = "v3.0"
OLDER = ("v2.1", "v2.0")  # which a source of vgen.sources reads
CHUNK_FILES = 1000  # files per chunk folder
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-000/file-000.parquet"
TASKS_PATH = "meta/tasks.parquet"
CAMERA_PREFIX = "observation.images."
INDEX_COLUMNS = ("timestamp", "frame_index", "episode_index", "index", "task_index")
TEMPLATES = {"data_path": DATA_PATH, "video_path": VIDEO_PATH}
FIELD_FORMAT = re.compile(r"(0?\d{1,2}d?)?|d")  # no width that fills the memory

LONGEST = 1000  # characters of a path

Row = Mapping[str, Any]


def read_info(folder: Path, versions: Collection[str] = (VERSION,)) -> dict[str, Any]:
    """`meta/info.json`, with the usual templates where it has none.

    Raises:
        InputError: there is none, or it is of none of the versions, or lacks what a data set needs.
    """
    file = folder / "meta" / "info.json"
    try:
        info = json.loads(file.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{folder} is not a LeRobot dataset: it has no meta/info.json") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file} is not readable JSON") from error
    if not isinstance(info, dict):
        raise InputError(f"{file} holds a {type(info).__name__}; it must be a mapping, with features and fps")
    version = info.get("codebase_version")
    if version not in versions:
        how = "with `vgen data convert lerobot21`" if version in OLDER else "with lerobot's tools"
        reads = (
            f"vgen reads {VERSION}: convert it {how}" if VERSION in versions else f"it needs {' or '.join(versions)}"
        )
        raise InputError(f"{folder} has codebase_version {show(version)}; {reads}")
    features = info.get("features")
    if not isinstance(features, dict):
        raise InputError(f"{file}: features={show(features)} must be a mapping of columns to what is said of each")
    for name, feature in features.items():
        if not isinstance(feature, dict):
            raise InputError(f"{file}: features.{name}={show(feature)} must be a mapping, with dtype and shape")
    for name, usual in TEMPLATES.items():
        info[name] = info.get(name) or usual
    return info


def declared_shape(feature: Mapping[str, Any]) -> tuple[int, ...] | None:
    """The shape of a row of a column; None where nothing that is a shape is said."""
    shape = feature.get("shape")
    whole = isinstance(shape, list) and all(isinstance(size, int) and size > 0 for size in shape)
    return tuple(shape) if isinstance(shape, list) and whole else None


def read_episodes(folder: Path) -> list[dict[str, Any]]:
    """The rows of `meta/episodes` without the statistics, sorted by `episode_index`.

    Raises:
        InputError: a file cannot be read, or an episode's number or length is missing, impossible or there twice.
    """
    where = folder / "meta" / "episodes"
    files = [file for file in sorted(where.glob("*/*.parquet")) if not file.name.startswith(".")]
    if not files:
        raise InputError(f"{folder} is not a complete LeRobot dataset: it has no meta/episodes/*/*.parquet")
    rows: list[dict[str, Any]] = []
    for path in files:
        with open_parquet(path) as file:
            names = [name for name in file.schema_arrow.names if not name.startswith("stats/")]
            missing = {"episode_index", "length"} - set(names)
            if missing:
                raise InputError(f"{path} lacks the columns {', '.join(sorted(missing))}")
            if twice := [name for name, count in Counter(names).items() if count > 1]:
                raise InputError(f"{path}: holds several columns named {show(twice[0])}; it needs one")
            rows += file.read(columns=names).select(names).to_pylist()
    if not rows:
        raise InputError(f"{where} is empty; a data set holds at least one episode")
    for row in rows:
        row["episode_index"] = whole(folder, row, "episode_index")
        row["length"] = whole(folder, row, "length", low=1)
    rows.sort(key=lambda row: row["episode_index"])
    for before, row in pairwise(rows):
        if before["episode_index"] == row["episode_index"]:
            raise InputError(f"{where} holds episode {row['episode_index']} twice")
    _tell_of_spans(where, rows)
    return rows


def whole(folder: Path, row: Row, key: str, low: int = 0) -> int:
    """What a row of `meta/episodes` says, as a whole number.

    Raises:
        InputError: it says nothing, or something else.
    """
    value = number(folder, row, key)
    if value != int(value) or value < low:
        raise InputError(f"{_of_row(folder, row)}: {key}={value:g} must be a whole number of {low} or more")
    return int(value)


def number(folder: Path, row: Row, key: str) -> float:
    """What a row of `meta/episodes` says, as a finite number.

    Raises:
        InputError: it says nothing, or something else.
    """
    value = row.get(key)
    if value is None:
        raise InputError(f"{_of_row(folder, row)}: {key} is missing")
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise InputError(f"{_of_row(folder, row)}: {key}={show(value)} must be a number")
    return value


def splits_of(info: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What a data set says of each of its splits, by name; where it says nothing, all episodes are `train`.

    Raises:
        InputError: it is no mapping of names.
    """
    splits = info.get("splits") or {"train": "0:"}
    if not isinstance(splits, dict):
        raise InputError(f"{folder}/meta/info.json: splits={show(splits)} must be a mapping of names to FIRST:STOP")
    return splits


def choose_split(
    info: Mapping[str, Any], split: str, rows: Sequence[dict[str, Any]], folder: Path
) -> list[dict[str, Any]]:
    """The episodes of a split: FIRST:STOP, where either may be left out, or a list of episode numbers.

    Raises:
        InputError: there is no such split, or it is neither, or reaches further than the data set.
    """
    splits = splits_of(info, folder)
    if split not in splits:
        raise unknown_key(split, splits, f"the splits of {folder}")
    told, by_number = splits[split], {row["episode_index"]: row for row in rows}
    if isinstance(told, list) and all(isinstance(each, int) and each in by_number for each in told):
        return [by_number[each] for each in told]
    ends = re.fullmatch(r"\s*(\d{0,9})\s*:\s*(\d{0,9})\s*", told, re.ASCII) if isinstance(told, str) else None
    first, stop = (int(ends[1] or 0), int(ends[2] or len(rows))) if ends else (1, 0)
    if not first <= stop <= len(rows):
        raise InputError(f"split {split}={show(told)} of {folder} is not FIRST:STOP within 0:{len(rows)}")
    return list(rows[first:stop])


def file_of(folder: Path, info: Mapping[str, Any], row: Row, camera: str | None = None) -> Path:
    """The data file of an episode, or the video file of one of its cameras.

    Raises:
        InputError: the row does not say which, or the template of the path is none or leads out of the folder.
    """
    name, prefix = ("data_path", "data") if camera is None else ("video_path", f"videos/{camera}")
    template, what = info[name], f"{folder}/meta/info.json: {name}"
    fields: dict[str, object] = {part: whole(folder, row, f"{prefix}/{part}") for part in ("chunk_index", "file_index")}
    fields |= {"video_key": camera} if camera is not None else {}
    return inside(folder, filled(template, fields, what), what)


def inside(folder: Path, path: str, what: str) -> Path:
    """A path below a folder. Links are followed, as the cache of Hugging Face needs it.

    Raises:
        InputError: it leads out of the folder, or is no path; `what` says whose it is.
    """
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\0" in path or not parts.parts or len(path) > LONGEST:
        raise InputError(f"{what}={show(path)} is no path within the data set's folder, and must be one")
    return folder / parts


def read_tasks(folder: Path) -> dict[int, str]:
    """The sentences of `meta/tasks.parquet` by `task_index`; none where there is no such file.

    Raises:
        InputError: it cannot be read, or has no such columns.
    """
    path = folder / TASKS_PATH
    return _read_tasks(path) if os.path.isfile(path) else {}


def filled(template: Any, fields: Mapping[str, object], what: str) -> str:
    """Like `str.format`, which would also read attributes and write to any width.

    Raises:
        InputError: the template is none, or has other fields; `what` says whose it is.
    """
    try:
        parts = list(Formatter().parse(template))
        wrong = [part for part in parts if part[1] is not None and not _is_field(part, fields)]
        if not wrong:
            return str(template.format(**fields))
    except (TypeError, ValueError):
        pass
    known = ", ".join(f"{{{name}}}" for name in fields)
    raise InputError(f"{what}={show(template)} must be a path with the fields {known}, such as {DATA_PATH}")


def _is_field(part: tuple[Any, ...], fields: Mapping[str, object]) -> bool:
    _, name, layout, conversion = part
    return name in fields and conversion is None and FIELD_FORMAT.fullmatch(layout or "") is not None


def _of_row(folder: Path, row: Row) -> str:
    return f"{folder}/meta/episodes, episode {show(row.get('episode_index'))}"


def _tell_of_spans(where: Path, rows: Sequence[Row]) -> None:
    """Rows are found by `episode_index`, not by these spans, so it is enough to tell of spans that are wrong."""
    ends = [(row.get("dataset_from_index"), row.get("dataset_to_index"), row) for row in rows]
    spans = [(b - a, row) for a, b, row in ends if isinstance(a, Integral) and isinstance(b, Integral)]
    wrong = [(span, row) for span, row in spans if span != row["length"]]
    if wrong:
        span, row = wrong[0]
        warn_once(
            logger,
            f"{where}: dataset_from_index and dataset_to_index of episode {row['episode_index']} span {span} rows and "
            f"its length is {row['length']} (so of {len(wrong)} episodes); rows are found by their episode_index",
        )


@lru_cache(maxsize=8)
def _read_tasks(path: Path) -> dict[int, str]:
    with open_parquet(path) as file:
        table = file.read()
    texts = [field.name for field in table.schema if is_text(field.type)]
    numbers = [field.name for field in table.schema if pa.types.is_integer(field.type)]
    if not texts or "task_index" not in numbers:
        raise InputError(f"{path} holds {', '.join(table.column_names)}; it must hold task_index and the task as text")
    name = "task" if "task" in texts else texts[0]
    pairs = zip(table["task_index"].to_pylist(), table[name].to_pylist(), strict=True)
    return {index: task for index, task in pairs if index is not None and task is not None}
