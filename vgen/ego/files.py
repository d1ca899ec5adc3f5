"""Trajectories in files: .npz, .json, and the parquet columns of a LeRobot data set. Nothing is ever unpickled.

.npz and .json hold `values` [A, D], `times` [A] in seconds, `layout`, and, where they are not the usual, `form` and
`valid` [A]. In .json a row that is not valid may be null; where `valid` is not given, rows that are null are not. A
parquet file holds one absolute row per frame in a column of lists; its layout is in the file's metadata (as
`write_trajectory` leaves it), or is the one that `meta/info.json` of its data set says.
"""

import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vgen.checks import show
from vgen.ego.trajectory import LAYOUTS, Trajectory
from vgen.errors import InputError, unknown_key

KEYS = ("values", "times", "layout", "form", "valid")
NEEDED = ("values", "times")
LAYOUT_MARK = b"vgen.layout"  # in the metadata of a parquet file
SUFFIXES = (".npz", ".json", ".parquet")


@dataclass(frozen=True)
class Source:
    """Where a trajectory is.

    Attributes:
        path: a file; what follows its last dot says its format.
        layout: for a file that does not say.
        episode: of a parquet file that holds several, its `episode_index`.
        column: of a parquet file.
    """

    path: Path
    layout: str | None = None
    episode: int | None = None
    column: str = "observation.state"


def read_trajectory(source: Source) -> Trajectory:
    """The trajectory of a file.

    Raises:
        InputError: a missing, damaged or pickled file, another format, or contents that `Trajectory` refuses.
    """
    path = source.path
    if path.suffix not in SUFFIXES:
        raise unknown_key(path.suffix or path.name, SUFFIXES, f"the formats of trajectories ({path})")
    if not os.path.isfile(path):  # False of a name that is too long, too
        what = "is a folder" if os.path.isdir(path) else "does not exist"
        raise InputError(f"{show(path)} {what}; give a trajectory file")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty; it must hold a trajectory")
    if path.suffix == ".parquet":
        with _named(path):
            return _read_parquet(source)
    kept = _read_npz(path) if path.suffix == ".npz" else _read_json(path)
    with _named(path):
        return _from_keys(kept, source.layout)


def write_trajectory(path: str | Path, trajectory: Trajectory, like: Source | None = None) -> None:
    """Write a trajectory beside its final place, then move it there: no half-written file is ever found.

    Args:
        path: what follows its last dot is the format. Nothing may be there yet.
        trajectory: to write.
        like: for .parquet, the file that it was read from, of which all other columns of the episode are taken along.

    Raises:
        InputError: the file exists, the format is unknown, a parquet file has no `like` or other rows, or a disk error.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise unknown_key(path.suffix or path.name, SUFFIXES, f"the formats of trajectories ({path})")
    if path.exists():
        raise InputError(f"{path} exists; give another name, or remove it")
    aside = path.with_name(f".{path.name}.{os.getpid()}.writing")
    try:
        if path.suffix == ".parquet":
            _write_parquet(aside, trajectory, like)
        elif path.suffix == ".npz":
            with aside.open("wb") as file:
                np.savez(file, **_to_keys(trajectory))
        else:
            aside.write_text(json.dumps(_plain(trajectory), allow_nan=False))
        aside.rename(path)
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"{path} cannot be written: {reason}") from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def layout_of_feature(feature: Mapping[str, Any], column: str) -> str:
    """The layout of a column, from what `meta/info.json` of its data set says of it: its name in `info`, or else the
    names of all dimensions.

    Raises:
        InputError: it says none that is known.
    """
    said = (feature.get("info") or {}).get("layout")
    for name, kind in LAYOUTS.items():
        if name == said or (said is None and kind.names == feature.get("names")):
            return name
    raise InputError(f"its data set does not say the layout of {column}; give one (--layout): {', '.join(LAYOUTS)}")


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Puts the file's name before what is wrong with its contents."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _read_npz(path: Path) -> dict[str, object]:
    if not zipfile.is_zipfile(path):  # numpy would take it for a pickle, or for a single array
        raise InputError(f"{path} is damaged or not an .npz file; numpy.savez writes one")
    try:
        with np.load(path, allow_pickle=False) as stored:
            _check_keys(stored.files, path)
            return {name: stored[name] for name in stored.files}
    except InputError:
        raise
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error, MemoryError) as error:
        if "pickle" in str(error):
            raise InputError(
                f"{path} holds pickled objects, which may run code and are not read; save plain arrays"
            ) from error
        raise InputError(f"{path} is damaged or not an .npz file: {' '.join(str(error).split())[:200]}") from error


def _read_json(path: Path) -> dict[str, object]:
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(kept, dict):
        raise InputError(f"{path} holds a {type(kept).__name__}; it must be a mapping of {', '.join(KEYS)}")
    _check_keys(kept, path)
    rows = kept.get("values")
    if isinstance(rows, list) and None in rows:
        if not any(rows):
            raise InputError(f"{path}: all {len(rows)} rows are null; give 1 or more that are known")
        width = max((len(row) for row in rows if isinstance(row, list)), default=0)
        kept["values"] = [[np.nan] * width if row is None else row for row in rows]
        kept.setdefault("valid", [row is not None for row in rows])
    return kept


def _check_keys(given: object, path: Path) -> None:
    for name in given:
        if name not in KEYS:
            raise unknown_key(name, KEYS, f"the parts of a trajectory ({path})")
    for name in NEEDED:
        if name not in given:
            raise InputError(f"{path} has no {name}; a trajectory holds {', '.join(KEYS[:3])}")


def _from_keys(kept: Mapping[str, object], layout: str | None) -> Trajectory:
    names = {}
    for key, usual in (("layout", layout), ("form", "absolute")):
        value = kept.get(key, usual)
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value.item()
        if value is None:
            raise InputError(f"no layout is said; known: {', '.join(LAYOUTS)}")
        if not isinstance(value, str):
            raise InputError(f"{key} is {str(value)[:60]} and must be a name")
        names[key] = value
    if layout is not None and names["layout"] != layout:
        raise InputError(f"the layout is {names['layout']}, not {layout}")
    return Trajectory(kept["values"], kept["times"], kept.get("valid"), **names)


def _to_keys(trajectory: Trajectory) -> dict[str, object]:
    return {name: getattr(trajectory, name) for name in KEYS}


def _plain(trajectory: Trajectory) -> dict[str, object]:
    """As JSON holds it; rows without a number in some place are null."""
    kept = _to_keys(trajectory)
    rows = [row.tolist() if np.isfinite(row).all() else None for row in trajectory.values]
    return kept | {"values": rows, "times": trajectory.times.tolist(), "valid": trajectory.valid.tolist()}


def _read_parquet(source: Source) -> Trajectory:
    table = _episode(source)
    layout = source.layout or _layout_of(source, table)
    values = table[source.column].to_pylist()
    return Trajectory(values, table["timestamp"].to_numpy(), layout=layout)


def _episode(source: Source) -> pa.Table:
    """The rows of one episode."""
    try:
        table = pq.read_table(source.path)
    except (OSError, pa.ArrowException) as error:
        raise InputError("damaged or not a parquet file") from error
    for name in ("timestamp", "episode_index", source.column):
        if name not in table.column_names:
            raise unknown_key(name, table.column_names, "its columns")
    episodes = sorted(set(table["episode_index"].to_pylist()))
    episode = source.episode
    if episode is None and len(episodes) != 1:
        raise InputError(
            f"it holds {len(episodes)} episodes; give one (--episode), {episodes[0]} to {episodes[-1]}"
            if episodes
            else "it has no rows"
        )
    if episode is not None and episode not in episodes:
        span = f"{episodes[0]} to {episodes[-1]}" if episodes else "no episode"
        raise InputError(f"episode {episode} is not in it; it holds {span}")
    return table.filter(pc.equal(table["episode_index"], episodes[0] if episode is None else episode))


def _layout_of(source: Source, table: pa.Table) -> str:
    marks = table.schema.metadata or {}
    if LAYOUT_MARK in marks:
        return marks[LAYOUT_MARK].decode(errors="replace")
    return layout_of_feature(_feature_of(source), source.column)


def _feature_of(source: Source) -> Mapping[str, Any]:
    """What a LeRobot folder's `meta/info.json` says of the column; nothing where there is none."""
    folders = source.path.resolve().parents
    info = folders[2] / "meta" / "info.json" if len(folders) > 2 else None
    try:
        feature = json.loads(info.read_text())["features"][source.column]
    except (AttributeError, OSError, ValueError, KeyError, TypeError):
        return {}
    return feature if isinstance(feature, dict) else {}


def _write_parquet(path: Path, trajectory: Trajectory, like: Source | None) -> None:
    if like is None or like.path.suffix != ".parquet":
        raise InputError(
            "a parquet file is written from the one that was read, for its other columns; write .npz or .json"
        )
    if trajectory.form != "absolute" or not trajectory.valid.all():
        raise InputError("a parquet file holds absolute, valid rows alone; write .npz or .json")
    with _named(like.path):
        table = _episode(like)
    if table.num_rows != len(trajectory):
        raise InputError(
            f"{like.path} has {table.num_rows} rows for {len(trajectory)} of the trajectory; write .npz or .json"
        )
    place, field = table.schema.get_field_index(like.column), table.schema.field(like.column)
    table = table.set_column(place, field, pa.array(list(trajectory.values)).cast(field.type))
    marks = {**(table.schema.metadata or {}), LAYOUT_MARK: trajectory.layout.encode()}
    pq.write_table(table.replace_schema_metadata(marks), path)
