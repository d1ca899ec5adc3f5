"""The trajectory in a CSV file: a column of times or of frame numbers, and the columns of a layout in any order."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vgen.checks import show
from vgen.data.videos.tables import check_separator, csv_lines, read_rows, read_text
from vgen.errors import InputError
from vgen.trajectory.layouts import LAYOUTS, Layout, find_layout
from vgen.trajectory.trajectory import Trajectory

TIMES = ("time", "t", "timestamp", "seconds")
FRAMES = ("frame", "frame_number", "frame_index")
MISSING = frozenset({"", "nan", "none", "null", "na", "n/a", "-"})
SHOWN = 8  # names in a message
MEANT = 0.5  # share of a layout's names in a header, from which that layout is meant


def layout_in(path: Path) -> str:
    """The layout whose column names are all in the header of a CSV file: the widest.

    Raises:
        InputError: there is none, or the file is no CSV.
    """
    header = _header(path)
    found = [layout for layout in LAYOUTS.values() if header and set(layout.names) <= set(header)]
    if not found:
        told = f"its columns {_shown(header)} are" if header else "it has no header, so its columns are"
        raise InputError(f"{path}: {told} those of no layout; {_meant(header or ())}")
    in_order = [name for name in header or () if name in found[0].names]
    return max(found, key=lambda layout: (layout.width, layout.names == in_order)).name


def read_csv(path: Path, layout: str, frames: np.ndarray) -> Trajectory:
    """The trajectory in a CSV file. A row in which a value is missing is not valid.

    Args:
        path: with a header, which names the columns of the layout in any order, or as many others in its order;
            without one, these in its order. Before them a column of times in seconds, or of frame numbers from 0;
            without either there is one row a frame.
        layout: of the trajectory.
        frames: float64 [T], when each frame of the video is shown, in seconds since the first.

    Raises:
        InputError: what is wrong in the file, and in which line.
    """
    spec, table = find_layout(layout), _Table(path)
    values = table.numbers(table.columns_of(spec))
    try:
        return Trajectory(values, table.times(spec, frames), np.isfinite(values).all(1), layout)
    except InputError as error:
        raise error if str(path) in str(error) else InputError(f"{path}: {error}") from error


def _header(path: Path) -> list[str] | None:
    """The names of the columns in lower case; None where the first row is one of numbers.

    Raises:
        InputError: the file is empty, or no CSV.
    """
    try:
        first = next(csv_lines(read_text(path), path), None)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if first is None:
        raise InputError(f"{path} is empty; it must hold a trajectory")
    check_separator(first[1], f"{path}, line {first[0]}")
    return None if all(map(_is_value, first[1])) else [name.strip().lower() for name in first[1]]


def _meant(header: Sequence[str]) -> str:
    """What to do with columns that are those of no layout: the column that the nearest one lacks, or all layouts."""
    shares = {layout.name: len(set(layout.names) & set(header)) / layout.width for layout in LAYOUTS.values()}
    nearest = max(shares, key=lambda name: shares[name])
    if shares[nearest] < MEANT:
        return f"name one with --layout, of {', '.join(LAYOUTS)}"
    lacking = [name for name in find_layout(nearest).names if name not in header]
    return f"the nearest, {nearest}, needs {_shown(lacking)} too{_misspelt(lacking[0], header, nearest)}"


def _misspelt(lacking: str, header: Sequence[str], layout: str) -> str:
    """The column of a header that may be the one that a layout lacks, as a remark; "" where none is like it."""
    others = [name for name in header if name not in find_layout(layout).names]
    near = difflib.get_close_matches(lacking, others, n=1, cutoff=0.5)
    return f" (is {lacking} what is called {near[0]} here?)" if near else ""


def _is_value(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.strip().lower() in MISSING
    return True


def _shown(names: Sequence[str] | None) -> str:
    names = names or ()
    return ", ".join(map(show, names[:SHOWN])) + (", …" if len(names) > SHOWN else "")


class _Table:
    """The rows of a CSV file as text.

    Raises:
        InputError: it is no CSV, or holds no row.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._names = path, _header(path)
        if self._names is None:
            found = list(csv_lines(read_text(path), path))
        else:
            found = [(row.line, list(map(str, row.values.values()))) for row in read_rows(path)]
        if not found:
            raise InputError(f"{path} has no row below its header; a trajectory holds 1 or more")
        width = len(found[0][1])
        for line, fields in found:
            if len(fields) != width:
                raise InputError(f"{path}, line {line}: {len(fields)} values where the first row has {width}")
        self._lines = [line for line, _ in found]
        self._rows = [fields for _, fields in found]
        self._width = width

    def numbers(self, columns: Sequence[int]) -> np.ndarray:
        """The values of some columns, float64 [N, len(columns)]; NaN where one is missing."""
        values = [
            [self._number(line, at, fields[at]) for at in columns]
            for line, fields in zip(self._lines, self._rows, strict=True)
        ]
        return np.array(values, dtype=np.float64)

    def columns_of(self, spec: Layout) -> list[int]:
        """Where the columns of a layout are: by their names, or those beside the times, where they are as many."""
        if self._names is None:
            if self._width in (spec.width, spec.width + 1):
                return list(range(self._width - spec.width, self._width))
            told = f"{self._path} has no header and {self._width} columns"
            raise InputError(f"{told}; layout {spec.name} needs {spec.width + 1}: a time, then its own in order")
        lacking = [name for name in spec.names if name not in self._names]
        if not lacking:
            return [self._names.index(name) for name in spec.names]
        others = [at for at, name in enumerate(self._names) if name not in (*TIMES, *FRAMES)]
        if len(others) == spec.width == len(lacking):
            return others
        rule = f"name all of {_shown(spec.names)}, or none of them and {spec.width} columns in this order"
        told = f"{self._path} has no column {lacking[0]} of layout {spec.name}"
        told += _misspelt(lacking[0], self._names, spec.name)
        raise InputError(f"{told}, but {_shown(self._names)}; {rule}")

    def times(self, spec: Layout, frames: np.ndarray) -> np.ndarray:
        """The time of each row in seconds, given when each frame is shown."""
        if self._names is None and self._width > spec.width:
            return self._column(0)
        for name in TIMES:
            if self._names and name in self._names:
                return self._column(self._names.index(name))
        for name in FRAMES:
            if self._names and name in self._names:
                return self._times_of_frames(self._column(self._names.index(name)), name, frames)
        if len(self._rows) == len(frames):
            return frames
        rule = f"name a column {TIMES[0]}, in seconds, or {FRAMES[0]}, counted from 0"
        told = f"{self._path} has no column of times, and {len(self._rows)} rows for {len(frames)} frames"
        raise InputError(f"{told}; {rule}")

    def _times_of_frames(self, numbers: np.ndarray, name: str, frames: np.ndarray) -> np.ndarray:
        odd = np.flatnonzero((numbers != np.rint(numbers)) | (numbers < 0) | (numbers >= len(frames)))
        if odd.size:
            told = f"{self._path}, line {self._lines[odd[0]]}: {name}={numbers[odd[0]]:g} is no frame of the video"
            raise InputError(f"{told}, which has 0 to {len(frames) - 1}")
        times: np.ndarray = frames[numbers.astype(np.int64)]
        return times

    def _column(self, at: int) -> np.ndarray:
        """One column, in which nothing may be missing."""
        values: np.ndarray = self.numbers([at])[:, 0]
        missing = np.flatnonzero(np.isnan(values))
        if missing.size:
            where = f"{self._path}, line {self._lines[missing[0]]}"
            raise InputError(f"{where}: {self._name(at)} is missing; every row needs its own")
        return values

    def _name(self, at: int) -> str:
        return self._names[at] if self._names else f"column {at + 1}"

    def _number(self, line: int, at: int, text: str) -> float:
        text = text.strip()
        if text.lower() in MISSING:
            return np.nan
        try:
            value = float(text)
        except ValueError as error:
            where = f"{self._path}, line {line}: {self._name(at)}={show(text)}"
            if re.fullmatch(r"[+-]?\d*,\d+(e[+-]?\d+)?", text, re.IGNORECASE):
                rule = f"has a decimal comma; write {text.replace(',', '.')}"
            else:
                rule = "is no number; write it without its unit, or leave it empty where it is missing"
            raise InputError(f"{where} {rule}") from error
        return value if np.isfinite(value) else np.nan
