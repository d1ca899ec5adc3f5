"""The data files of a LeRobot folder: which rows are of which episode, and what these rows hold."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from vgen.data.lerobot.columns import open_parquet, read_column, to_array, to_numbers
from vgen.errors import InputError, unknown_key

OPEN_FILES = 8  # whose index columns are kept in memory
OPEN_COLUMNS = 4  # kept in memory, each of a whole file
OPEN_GROUPS = 2  # kept in memory, of columns of pictures, which are large


class DataFile:
    """The index columns of one parquet file: its rows by episode, in whatever order they lie.

    Args:
        path: of the file.

    Raises:
        InputError: it cannot be read, or its `episode_index` is not numbers.

    Attributes:
        path: of the file.
        names: of its columns.
        episodes: the numbers of the episodes that it holds, sorted.
        groups: the first row of each of its row groups, int64, and behind them the number of all rows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_parquet(path) as file:
            self.names: list[str] = file.schema_arrow.names
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        self.groups = np.cumsum([0, *sizes])
        numbers = self.index("episode_index")
        self._order = np.argsort(numbers, kind="stable")
        self._sorted = numbers[self._order]
        self.episodes: list[int] = [int(number) for number in np.unique(numbers[np.isfinite(numbers)])]

    def episode(self, number: int, length: int | None = None) -> EpisodeRows:
        """The rows of an episode, sorted by `frame_index` where there is one.

        Args:
            number: of the episode in the whole data set.
            length: how many rows there must be; None: 1 or more.

        Raises:
            InputError: there are not so many, or their `frame_index` does not count up by one.
        """
        first, last = (np.searchsorted(self._sorted, number, side) for side in ("left", "right"))
        places = self._order[first:last]
        if len(places) != (length or max(len(places), 1)):
            told = "" if length is None else f"; meta/episodes says {length}"
            raise InputError(f"{self.path}: holds {len(places)} rows of episode {number}{told}")
        if self._frames is not None:
            frames = self._frames[places]
            turn = np.argsort(frames, kind="stable")
            wrong = np.flatnonzero(np.diff(frames[turn]) != 1)
            if wrong.size:
                before, after = frames[turn][wrong[0] : wrong[0] + 2]
                raise InputError(
                    f"{self.path}: episode {number}, column frame_index goes from {before:g} to {after:g}; it must "
                    "count the rows, none missing and none twice"
                )
            places = places[turn]
        return EpisodeRows(self, number, places)

    def index(self, name: str) -> np.ndarray:
        """A whole column of single numbers (each may be in a list of one), [N].

        Raises:
            InputError: there is no such column, or it does not hold numbers.
        """
        if name not in self.names:
            raise unknown_key(name, self.names, f"the columns of {self.path}")
        with _named(self.path, f"column {name}"):
            return to_numbers(read_column(self.path, name), [1]).reshape(-1)

    @cached_property
    def seconds(self) -> np.ndarray | None:
        """`timestamp` of all rows, float64 [N]; None without that column."""
        return self.index("timestamp").astype(np.float64) if "timestamp" in self.names else None

    @cached_property
    def tasks(self) -> np.ndarray | None:
        """`task_index` of all rows, [N]; None without that column."""
        return self.index("task_index") if "task_index" in self.names else None

    @cached_property
    def _frames(self) -> np.ndarray | None:
        return self.index("frame_index") if "frame_index" in self.names else None


@dataclass(frozen=True)
class EpisodeRows:
    """The T rows of one episode.

    Attributes:
        file: that holds them.
        number: of the episode in the whole data set.
        places: int64 [T], where they lie in the file, in the order of time.
    """

    file: DataFile
    number: int
    places: np.ndarray

    def seconds(self, fps: float) -> np.ndarray:
        """The time of each row in its episode, float64 [T]: its `timestamp`, or row / fps where there is none.

        Raises:
            InputError: times that do not increase.
        """
        even = np.arange(len(self.places)) / fps
        if self.file.seconds is None:
            return even
        told = self.file.seconds[self.places]
        seconds = np.where(np.isfinite(told), told, even)
        late = np.flatnonzero(np.diff(seconds) <= 0)
        if late.size:
            row = int(late[0])
            raise InputError(
                f"{self.file.path}: episode {self.number}, column timestamp goes from {seconds[row]:g} s in row "
                f"{row} to {seconds[row + 1]:g} s; it must increase"
            )
        return seconds

    def rate(self) -> float | None:
        """Rows per second, as `timestamp` has them; None where it does not tell."""
        told = np.zeros(0) if self.file.seconds is None else self.file.seconds[self.places]
        steps = np.diff(told)
        if not steps.size or not (steps > 0).all() or not np.isfinite(told).all():
            return None
        span = told[-1] - told[0]
        return round(round(span / np.median(steps)) / span, 3) or None  # exact, although float32 rounds the steps

    def task_index(self) -> int | None:
        """The number of what is done in the episode; None where its first row does not tell.

        Raises:
            InputError: it is not a number.
        """
        first = self.file.tasks[self.places[0]] if self.file.tasks is not None else np.nan
        return int(first) if np.isfinite(first) else None

    def read(self, name: str, shape: Sequence[int] | None) -> np.ndarray:
        """A column, see `to_array`.

        Raises:
            InputError: the file or what the column holds cannot be read.
        """
        with _named(self.file.path, f"episode {self.number}, column {name}"):
            return to_array(self._take(_whole_column(self.file, name)), shape)

    def pictures(self, name: str, rows: Sequence[int] | np.ndarray) -> list[object]:
        """What a column of pictures holds in some rows: the bytes of a file, or {"bytes", "path"}, or None.

        Raises:
            InputError: the file cannot be read, or it has no such column.
        """
        if name not in self.file.names:
            raise unknown_key(name, self.file.names, f"the columns of {self.file.path}")
        found = []
        for place in self.places[np.asarray(rows, dtype=np.int64)]:
            group = int(np.searchsorted(self.file.groups, place, "right")) - 1
            found.append(_row_group(self.file, name, group)[int(place - self.file.groups[group])].as_py())
        return found

    def _take(self, whole: pa.ChunkedArray) -> pa.ChunkedArray:
        first, count = int(self.places[0]), len(self.places)
        if np.array_equal(self.places, np.arange(first, first + count)):
            return whole.slice(first, count)
        return whole.take(pa.array(self.places))


class Columns(Mapping[str, np.ndarray]):
    """The columns of an episode, [T] or [T, ...] as the data set declares them, each read when it is asked for.

    Args:
        rows: of the episode.
        shapes: of a row of each column, where it is declared.
        left_out: columns that are not arrays, such as those of pictures.
    """

    def __init__(
        self, rows: EpisodeRows, shapes: Mapping[str, Sequence[int] | None], left_out: Sequence[str] = ()
    ) -> None:
        self.path = rows.file.path
        self._rows, self._shapes = rows, shapes
        self._names = [name for name in rows.file.names if name not in left_out]

    def __getitem__(self, name: str) -> np.ndarray:
        """Reads a column; see `EpisodeRows.read`."""
        if name not in self._names:
            raise unknown_key(name, self._names, f"the columns of {self.path}")
        return self._rows.read(name, self._shapes.get(name))

    def __contains__(self, name: object) -> bool:
        """Whether there is such a column, which may yet be broken."""
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._names)

    def __len__(self) -> int:
        """Their number."""
        return len(self._names)


def open_data_file(path: Path) -> DataFile:
    """The `DataFile` of a path; the last few are kept, until the file is another one.

    Raises:
        InputError: as `DataFile`.
    """
    stamp = os.stat(path) if os.path.isfile(path) else None
    return _data_file(path, stamp and (stamp.st_size, stamp.st_mtime_ns))


@contextmanager
def _named(path: Path, what: str) -> Iterator[None]:
    """Says of a refusal which file and column it is about, unless it does so itself."""
    try:
        yield
    except InputError as error:
        raise error if str(path) in str(error) else InputError(f"{path}: {what} {error}") from error


@lru_cache(maxsize=OPEN_FILES)
def _data_file(path: Path, stamp: tuple[int, int] | None) -> DataFile:
    return DataFile(path)


@lru_cache(maxsize=OPEN_COLUMNS)
def _whole_column(file: DataFile, name: str) -> pa.ChunkedArray:
    return read_column(file.path, name)


@lru_cache(maxsize=OPEN_GROUPS)
def _row_group(file: DataFile, name: str, group: int) -> pa.ChunkedArray:
    return read_column(file.path, name, [group])
