"""What the columns of all episodes hold: ranges, what is missing, what stands still, what jumps, and how it begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from vgen.errors import InputError
from vgen.sources.check.recordings import Place, Recording, Recordings
from vgen.trajectory.layouts import Layout
from vgen.trajectory.places import known_rows, place_of
from vgen.trajectory.trajectory import Trajectory

SAMPLE = 200_000  # rows that are kept, of all episodes together, to look at more closely
JUMP = 10.0  # times the speed that is usual while a body moves
LEAST_JUMP = {"m": 1.0}  # per second, in the unit of the place; a jump is faster than that
LEAST_JUMP_IN_PICTURE = 1.5  # shares of the picture per second
MOVING = 0.05  # of the 90th percentile of the speeds: what is slower counts as rest
LATE = 1.5  # of a row's time: two rows that are further apart have a gap between them


@dataclass(eq=False)
class Column:
    """Running range and mean of a column of D dimensions, and in how many of all rows it is not whole."""

    low: np.ndarray
    high: np.ndarray
    total: np.ndarray
    known: np.ndarray
    rows: int = 0
    lost: int = 0

    @classmethod
    def of(cls, width: int) -> Column:
        """Of no row yet."""
        return cls(np.full(width, np.inf), np.full(width, -np.inf), np.zeros(width), np.zeros(width))

    def add(self, values: np.ndarray) -> None:
        """Rows [T, D]."""
        finite = np.isfinite(values)
        self.low = np.minimum(self.low, np.where(finite, values, np.inf).min(0))
        self.high = np.maximum(self.high, np.where(finite, values, -np.inf).max(0))
        self.total = self.total + np.where(finite, values, 0.0).sum(0)
        self.known = self.known + finite.sum(0)
        self.rows += len(values)
        self.lost += int((~finite.all(1)).sum())

    @property
    def mean(self) -> np.ndarray:
        """Of what is finite; NaN where nothing is."""
        with np.errstate(invalid="ignore"):
            mean: np.ndarray = self.total / np.where(self.known > 0, self.known, np.nan)
        return mean

    @property
    def still(self) -> np.ndarray:
        """Which dimensions never change, bool [D]."""
        still: np.ndarray = (self.high <= self.low) & (self.known > 1)
        return still


@dataclass(frozen=True)
class Jumps:
    """Steps of a body that are much faster than usual.

    Attributes:
        count: how many.
        usual, fastest: speeds, the median while it moves and the fastest, per second in the unit.
        unit: of the place.
        episode, row: where the fastest begins.
    """

    count: int
    usual: float
    fastest: float
    unit: str
    episode: int
    row: int


@dataclass(eq=False)
class Survey:
    """All episodes.

    Attributes:
        columns: by name.
        gaps: runs of rows of the trajectory that are not valid, and the longest.
        unseen: rows in which a body is not told of, by body.
        late: pairs of rows that are further apart in time than the rate says, and the widest in seconds.
        rates: rows per second as the timestamps have them, each with its number of episodes.
        starts: the first valid row of each episode, [E, D].
        sample: rows of every column, of all episodes alike, [N, D] by name; those of the trajectory's own valid rows.
        steps: speed of each body between rows, with episode and row, [N, 3].
        refused: what cannot be read, by reason.
        rows: of the trajectory.
    """

    columns: dict[str, Column] = field(default_factory=dict)
    gaps: list[int] = field(default_factory=list)
    unseen: Counter[str] = field(default_factory=Counter)
    late: list[float] = field(default_factory=list)
    rates: Counter[float] = field(default_factory=Counter)
    starts: list[np.ndarray] = field(default_factory=list)
    sample: dict[str, list[np.ndarray]] = field(default_factory=dict)
    steps: dict[str, list[np.ndarray]] = field(default_factory=dict)
    refused: dict[str, list[Place]] = field(default_factory=dict)
    rows: int = 0

    def rows_of(self, name: str) -> np.ndarray | None:
        """The sampled rows of a column, [N, D], the same ones of all columns; None where there is no such column."""
        return np.concatenate(self.sample[name]) if name in self.sample else None

    def jumps(self, spec: Layout) -> dict[str, Jumps]:
        """The jumps of each body that moves at all."""
        found = {}
        for body, parts in self.steps.items():
            steps = np.concatenate(parts)
            speeds = steps[:, 0]
            moving = speeds[speeds > MOVING * np.quantile(speeds, 0.9)] if len(speeds) else speeds
            if not len(moving):
                continue
            unit = spec.columns[spec.place(body)[0][0]].unit
            usual = float(np.median(moving))
            limit = max(JUMP * usual, LEAST_JUMP.get(unit, LEAST_JUMP_IN_PICTURE))
            worst = steps[speeds.argmax()]
            unit = unit if unit in LEAST_JUMP else "of the picture"
            count = int((speeds > limit).sum())
            found[body] = Jumps(count, usual, float(worst[0]), unit, int(worst[1]), int(worst[2]))
        return found


def survey(recordings: Recordings, places: Iterable[Place]) -> Survey:
    """Reads the columns of all episodes, one after the other; what cannot be read is counted."""
    found, wanted = Survey(), max(8, SAMPLE // max(1, len(recordings.places)))
    for place in places:
        try:
            recording = recordings.read(place)
        except InputError as error:
            found.refused.setdefault(str(error), []).append(place)
            continue
        for name, values in recording.columns.items():
            found.columns.setdefault(name, Column.of(values.shape[1])).add(values)
        _add_times(found, recording, recordings.fps)
        _add_trajectory(found, recordings, recording, wanted)
    return found


def _add_times(found: Survey, recording: Recording, fps: float) -> None:
    steps = np.diff(recording.seconds)
    if not len(steps) or not np.isfinite(steps).all():
        return
    middle = float(np.median(steps))
    found.rates[round(1 / middle, 2) if middle > 0 else 0.0] += 1
    found.late += steps[steps > LATE / fps].tolist()


def _add_trajectory(found: Survey, recordings: Recordings, recording: Recording, wanted: int) -> None:
    values = recording.columns[recordings.column]
    finite = np.isfinite(values).all(1)
    found.rows += len(values)
    found.gaps += _runs(~finite)
    if finite.any():
        found.starts.append(values[finite.argmax()])
    rows = np.flatnonzero(finite)
    rows = rows[np.linspace(0, len(rows) - 1, min(wanted, len(rows))).round().astype(int)]
    for name, column in recording.columns.items():
        if name not in found.sample and found.rows > len(values):
            continue  # of some episodes alone: its rows would not be those of the others
        found.sample.setdefault(name, []).append(column[rows])
    trajectory = recordings.trajectory(recording)
    for body in trajectory.spec.bodies:
        found.unseen[body] += int((~known_rows(trajectory, body)).sum())
        found.steps.setdefault(body, []).append(_speeds(trajectory, body, recording.place.index))


def _speeds(trajectory: Trajectory, body: str, episode: int) -> np.ndarray:
    known = known_rows(trajectory, body)
    rows = np.flatnonzero(known[1:] & known[:-1])
    steps = np.linalg.norm(np.diff(place_of(trajectory, body), axis=0), axis=1) / np.diff(trajectory.times)
    return np.stack([steps[rows], np.full(len(rows), float(episode)), rows.astype(np.float64)], axis=1)


def _runs(flags: np.ndarray) -> list[int]:
    """Lengths of the runs of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return [int(length) for length in edges[1::2] - edges[::2]]
