"""Trajectories in the parquet files of LeRobot data sets: one absolute row per frame, in a column of lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vgen.data.lerobot.columns import NUMBERS, open_parquet
from vgen.data.lerobot.rows import DataFile, EpisodeRows
from vgen.errors import InputError, unknown_key
from vgen.trajectory.trajectory import LAYOUTS, Trajectory

LAYOUT_MARK = b"vgen.layout"  # in the metadata of a file


def read_parquet(path: Path, column: str, episode: int | None = None, layout: str | None = None) -> Trajectory:
    """The trajectory of an episode. Rows that are null, or of which a number is not finite, are not valid.

    Args:
        path: the file.
        column: of lists.
        episode: its `episode_index`; None where the file holds one episode.
        layout: None: the file or its data set says.

    Raises:
        InputError: the file, column, episode or layout is not there, or the column is no trajectory of the layout.
    """
    rows = _episode(path, column, episode)
    layout = layout or _layout_of(path, column)
    values, times = rows.read(column, None), rows.read("timestamp", [1])
    valid = np.isfinite(values.reshape(len(values), -1)).all(1) if values.dtype.kind in NUMBERS else None
    if valid is not None and not (values.size and valid.any()):
        raise InputError(f"no row of {column} is known; all are null or not finite")
    return Trajectory(values, times, valid, layout)


def write_parquet(path: Path, trajectory: Trajectory, like: Path, column: str, episode: int | None = None) -> None:
    """Writes an episode of another file with this trajectory in its column, and its layout in the file's metadata.

    Raises:
        InputError: the other file cannot be read, or has another number of rows; a trajectory that is not absolute and
            valid throughout.
    """
    if trajectory.form != "absolute" or not trajectory.valid.all():
        raise InputError("a parquet file holds absolute, valid rows alone; write .npz or .json")
    places = _episode(like, column, episode).places
    if len(places) != len(trajectory):
        raise InputError(f"{like} has {len(places)} rows for {len(trajectory)} of the trajectory; write .npz or .json")
    with open_parquet(like) as file:
        table = file.read().take(pa.array(places))
    place, field = table.schema.get_field_index(column), table.schema.field(column)
    table = table.set_column(place, field, pa.array(list(trajectory.values)).cast(field.type))
    marks = {**(table.schema.metadata or {}), LAYOUT_MARK: trajectory.layout.encode()}
    pq.write_table(table.replace_schema_metadata(marks), path)


def layout_of_feature(feature: Mapping[str, Any], column: str) -> str:
    """The layout of a column, from what `meta/info.json` of its data set says of it: its name in `info`, or else the
    names of all dimensions.

    Raises:
        InputError: it says none that is known.
    """
    info = feature.get("info")
    said = info.get("layout") if isinstance(info, dict) else None
    for name, spec in LAYOUTS.items():
        if name == said or (said is None and spec.names == feature.get("names")):
            return name
    raise InputError(f"its data set does not say the layout of {column}; give one (--layout): {', '.join(LAYOUTS)}")


def _episode(path: Path, column: str, episode: int | None) -> EpisodeRows:
    with open_parquet(path) as file:
        names = file.schema_arrow.names
    for name in ("timestamp", "episode_index", column):
        if name not in names:
            raise unknown_key(name, names, "its columns")
    file = DataFile(path)
    if not file.episodes:
        raise InputError("it has no rows")
    span = f"{file.episodes[0]} to {file.episodes[-1]}"
    if episode is None and len(file.episodes) != 1:
        raise InputError(f"it holds {len(file.episodes)} episodes; give one (--episode), {span}")
    if episode is not None and episode not in file.episodes:
        raise InputError(f"episode {episode} is not in it; it holds {span}")
    return file.episode(file.episodes[0] if episode is None else episode)


def _layout_of(path: Path, column: str) -> str:
    with open_parquet(path) as file:
        marks = file.schema_arrow.metadata or {}
    if LAYOUT_MARK in marks:
        return bytes(marks[LAYOUT_MARK]).decode(errors="replace")
    return layout_of_feature(_feature_of(path, column), column)


def _feature_of(path: Path, column: str) -> Mapping[str, Any]:
    """What a LeRobot folder's `meta/info.json` says of the column; nothing where there is none."""
    folders = path.resolve().parents
    if len(folders) < 3:
        return {}
    try:
        feature = json.loads((folders[2] / "meta" / "info.json").read_text())["features"][column]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return feature if isinstance(feature, dict) else {}
