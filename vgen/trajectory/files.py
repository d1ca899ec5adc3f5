"""Trajectories in files: .npz, .json, and the parquet columns of a LeRobot data set. Nothing is ever unpickled.

.npz and .json hold `values` [A, D], `times` [A] in seconds, `layout`, and, where they are not the usual, `form` and
`valid` [A]. In .json a row that is not valid may be null; where `valid` is not given, rows that are null are not. A
parquet file holds one absolute row per frame in a column of lists; its layout is in the file's metadata (as
`write_trajectory` leaves it), or is the one that `meta/info.json` of its data set says.
"""

import json
import math
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import pyarrow as pa

from vgen.checks import show
from vgen.errors import InputError, unknown_key
from vgen.files import refusal, whole_file
from vgen.results import check_file
from vgen.trajectory.parquet import read_parquet, write_parquet
from vgen.trajectory.trajectory import LAYOUTS, Trajectory

KEYS = ("values", "times", "layout", "form", "valid")
NEEDED = ("values", "times")
SUFFIXES = (".npz", ".json", ".parquet")
READ_ERRORS = (
    OSError, EOFError, KeyError, ValueError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error, TokenError,
)  # fmt: skip
LARGEST_FILE = {
    ".npz": 2**30,
    ".json": 2**28,
}  # bytes of a file, unpacked: a hundred thousand rows of the widest layout


@dataclass(frozen=True)
class TrajectoryFile:
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


def read_trajectory(source: str | os.PathLike[str] | TrajectoryFile) -> Trajectory:
    """The trajectory of a .npz, .json or .parquet file: its path, or a `TrajectoryFile` where it does not say enough.

    Raises:
        InputError: a missing, damaged or pickled file, another format, or contents that `Trajectory` refuses.
    """
    source = source if isinstance(source, TrajectoryFile) else TrajectoryFile(Path(source))
    path = source.path
    if path.suffix not in SUFFIXES:
        raise unknown_key(path.suffix or path.name, SUFFIXES, f"the formats of trajectories ({path})")
    if not os.path.isfile(path):  # False of a name that is too long, too
        what = "is a folder" if os.path.isdir(path) else "does not exist"
        raise InputError(f"{show(path)} {what}; give a trajectory file")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty; it must hold a trajectory")
    if path.suffix == ".parquet":
        with _with_path(path):
            return read_parquet(path, source.column, source.episode, source.layout)
    _check_size(path, path.stat().st_size)
    kept = _read_npz(path) if path.suffix == ".npz" else _read_json(path)
    with _with_path(path):
        return _from_keys(kept, source.layout)


def write_trajectory(
    path: str | Path, trajectory: Trajectory, like: TrajectoryFile | None = None, overwrite: bool = False
) -> None:
    """Write a trajectory beside its final place, then move it there: no half-written file is ever found.

    Args:
        path: what follows its last dot is the format.
        trajectory: to write.
        like: for .parquet, the file that it was read from, of which all other columns of the episode are taken along.
        overwrite: replaces the file where it is there, which otherwise is refused.

    Raises:
        InputError: the file exists or must not be written, the format is unknown, a parquet file has no `like` or other
            rows.
        TryAgain: the disk is full.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise unknown_key(path.suffix or path.name, SUFFIXES, f"the formats of trajectories ({path})")
    check_file(path, overwrite)
    try:
        with whole_file(path) as aside:
            if path.suffix == ".parquet":
                if like is None or like.path.suffix != ".parquet":
                    rule = "a parquet file is written from the one that was read, for its other columns"
                    raise InputError(f"{rule}; write .npz or .json")
                with _with_path(like.path):
                    write_parquet(aside, trajectory, like.path, like.column, like.episode)
            elif path.suffix == ".npz":
                with aside.open("wb") as file:
                    np.savez(file, **_to_keys(trajectory))
            else:
                aside.write_text(json.dumps(_plain(trajectory), allow_nan=False))
    except OSError as error:
        raise refusal(path, error, kept="") from error
    except pa.ArrowException as error:
        raise InputError(f"{path} cannot be written: {' '.join(str(error).split())}") from error


@contextmanager
def _with_path(path: Path) -> Iterator[None]:
    """Puts the file's name before what is wrong with its contents."""
    try:
        yield
    except InputError as error:
        raise error if str(path) in str(error) else InputError(f"{path}: {error}") from error


def _read_npz(path: Path) -> dict[str, Any]:
    if not zipfile.is_zipfile(path):  # numpy would take it for a pickle, or for a single array
        raise InputError(f"{path} is damaged or not an .npz file; numpy.savez writes one")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            _check_once(stored.files)
            _check_keys(stored.files, path)
            return {name: _member(stored, name, path) for name in stored.files}
    except InputError:
        raise
    except READ_ERRORS as error:
        if "pickle" in str(error):
            raise InputError(
                f"{path} holds pickled objects, which may run code and are not read; save plain arrays"
            ) from error
        raise InputError(f"{path} is damaged or not an .npz file: {' '.join(str(error).split())[:200]}") from error


def _member(stored: np.lib.npyio.NpzFile, name: str, path: Path) -> np.ndarray:
    """One array; before room is made for it, the size that header and zip tell is held against `LARGEST_FILE`."""
    archive = stored.zip
    assert archive is not None, "it is open"
    inside = next(info for info in archive.infolist() if info.filename.removesuffix(".npy") == name)
    _check_size(path, inside.file_size)
    with archive.open(inside) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    _check_size(path, math.prod(shape) * dtype.itemsize)
    array: np.ndarray = stored[name]
    return array


def _check_size(path: Path, size: int) -> None:
    most = LARGEST_FILE[path.suffix]
    if size > most:
        rule = f"a trajectory in {path.suffix} has at most {most / 2**30:g} GiB; cut it, or name another file"
        raise InputError(f"{path} holds {size / 2**30:.3g} GiB; {rule}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_bytes(), object_pairs_hook=_once)  # UTF-8, 16 or 32, with its mark or without
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
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


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A mapping of a JSON file, of which the later of two entries would win in silence."""
    _check_once([name for name, _ in pairs])
    return dict(pairs)


def _check_once(names: Sequence[str]) -> None:
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"it gives {show(twice)} twice; keep one")


def _check_keys(given: Collection[str], path: Path) -> None:
    for name in given:
        if name not in KEYS:
            raise unknown_key(show(name), KEYS, f"the parts of a trajectory ({path})")
    for name in NEEDED:
        if name not in given:
            raise InputError(f"{path} has no {name}; a trajectory holds {', '.join(KEYS[:3])}")


def _from_keys(kept: Mapping[str, Any], layout: str | None) -> Trajectory:
    names = {}
    for key, usual in (("layout", layout), ("form", "absolute")):
        value = kept.get(key, usual)
        value = value.tolist() if isinstance(value, np.ndarray) else value
        if value is None:
            raise InputError(f"no layout is said; name one with --layout, or in the file: {', '.join(LAYOUTS)}")
        if not isinstance(value, str):
            raise InputError(f"{key} is {show(value)} and must be a name")
        names[key] = value
    if layout is not None and names["layout"] != layout:
        raise InputError(f"the layout is {names['layout']}, not {layout}")
    return Trajectory(kept["values"], kept["times"], kept.get("valid"), **names)


def _to_keys(trajectory: Trajectory) -> dict[str, Any]:
    return {name: getattr(trajectory, name) for name in KEYS}


def _plain(trajectory: Trajectory) -> dict[str, Any]:
    """What JSON holds of it; rows without a number in some place are null."""
    kept = _to_keys(trajectory)
    rows = [row.tolist() if np.isfinite(row).all() else None for row in trajectory.values]
    return kept | {"values": rows, "times": trajectory.times.tolist(), "valid": trajectory.valid.tolist()}
