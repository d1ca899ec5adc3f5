"""What a trajectory looks like that is in other units than the model knows, found before a model is loaded.

A value or a time that cannot be meant is refused; one that is likely not meant is logged. What the model knows is what
its statistics say of each column; layouts say the rest.
"""

from __future__ import annotations

import logging

import numpy as np

from vgen.errors import InputError
from vgen.trajectory.convert import convert
from vgen.trajectory.layouts import Column, Layout
from vgen.trajectory.statistics import Statistics, network_rows
from vgen.trajectory.trajectory import Trajectory

logger = logging.getLogger(__name__)

UNHEARD_OF = 100.0  # times the widest spread among columns of a kind: no hand was ever so far away
UNUSUAL = 10.0  # times that spread; what was recorded of nano's bodies stays below 7
AJAR = 0.25  # beyond 0 and 1, from which a gripper or a flag is of another convention
NO_LEVEL = 10.0  # beyond which it cannot be meant, and
FULL = (100.0, 255.0, 1000.0)  # what an open one is in other conventions
NARROW = 0.15  # metres: no gripper opens wider, and one of 0 to 1 that never opens further is likely in metres

LENGTHS = {"inches": 1 / 0.0254, "centimetres": 100.0, "millimetres": 1000.0}
CLOCKS = {"milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}

SLOW = 5.0  # seconds between rows, and
SPARSE = 100.0  # frames of the model between rows: together they are no seconds
MANY = 8  # rows, from which they are hardly a few places by hand
THIN = 50.0  # frames between many rows, which is worth a word
NUMBERED = 4.0  # frames between many rows that are one second apart, so that they are likely numbers of frames
DENSE = 0.02  # of a frame between rows


def check_times(known: Trajectory, rate: float) -> None:
    """Refuses times that cannot be seconds, and logs those that likely are not.

    Args:
        known: a trajectory as it is in a file.
        rate: of the model, in rows per second.

    Raises:
        InputError: the rows of a trajectory of three or more come so far apart that their times are in another unit.
    """
    steps = np.diff(known.times)
    if len(steps) < 2:
        return
    step = float(np.median(steps))
    frames = step * rate
    said = f"the trajectory's times step by {step:.6g} s, {frames:.4g} frames of the model's {rate:g} per second"
    if step >= SLOW and frames >= SPARSE:
        unit = min(CLOCKS, key=lambda name: abs(np.log(frames / CLOCKS[name])))
        raise InputError(f"{said}: they look like {unit}; divide them by {CLOCKS[unit]:.0f}")
    if len(known) < MANY:
        return
    if frames >= NUMBERED and np.abs(steps - 1).max() < 1e-6:
        logger.warning("%s; if they are numbers of frames, divide them by the frames per second of the recording", said)
    elif frames >= THIN:
        logger.warning("%s; the hand goes straight from row to row; times are to be in seconds", said)
    elif frames <= DENSE:
        logger.warning("%s; most rows are passed over; times are to be in seconds", said)


def tell_of_angles(given: Trajectory) -> None:
    """Logs Euler angles beyond a whole turn, as they are in a file: they may be degrees."""
    for part, where in given.kind.slices():
        values = given.values[given.valid, where]
        if part.euler and values.size and np.abs(values).max() > 2 * np.pi:
            row, nth = np.unravel_index(np.abs(values).argmax(), values.shape)
            said = f"{part.columns[nth].name} reaches {values[row, nth]:.4g}"
            logger.warning("%s, beyond a turn of 6.283 rad; if it is in degrees, convert it (numpy.radians)", said)


def check_values(rows: Trajectory, statistics: Statistics) -> None:
    """Refuses values that cannot be meant, and logs what is likely not meant.

    Args:
        rows: that a model is to be told of, in any form that goes over into its own.
        statistics: of the model.

    Raises:
        InputError: a value lies so far from all that the model has seen that its unit must be another.
    """
    if not rows.valid.all():
        lost = int((~rows.valid).sum())
        logger.warning("%d of %d rows are not valid; the model is not told of them", lost, len(rows))
    if not rows.valid.any():
        return
    entering = _entering(rows, statistics.form)
    if entering is not None:
        _check_distances(entering, statistics)
    for (part, where), (_, entered) in zip(rows.kind.slices(), rows.kind.network.slices(), strict=True):
        values = rows.values[rows.valid, where]
        if part.kind in ("level", "flag"):
            _check_level(part.columns[0], values)
            if part.kind == "level":
                _tell_of_narrow(part.columns[0], values, statistics, entered.start)


def _entering(rows: Trajectory, form: str) -> Trajectory | None:
    """Rows in the model's form; None where they cannot be, as a single row has no step."""
    if rows.form == form:
        return rows
    if rows.form != "absolute" or len(rows) < 2 or not rows.valid[0]:
        return None
    entering = convert(rows, form)
    return entering if entering.valid.any() else None


def _check_distances(rows: Trajectory, statistics: Statistics) -> None:
    """Against the widest spread among the columns of a kind: a hand may well move along an axis on which those that the
    model saw hardly did. Steps of a hand are now and then much longer than most, so that they are not told of."""
    kind = rows.kind.network
    values, times = network_rows(rows)[rows.valid], rows.times[rows.valid]
    for places in _measured(kind):
        apart = np.abs(values[:, places] - statistics.centre[places]) / _widest(statistics.spread[places])
        row, nth = np.unravel_index(apart.argmax(), apart.shape)
        if apart[row, nth] <= (UNUSUAL if rows.form == "absolute" else UNHEARD_OF):
            continue
        place, (low, high) = places[nth], statistics.span(places[nth])
        said = f"{kind.names[place]}={values[row, place]:.4g} at {times[row]:.3g} s: the model knows values of"
        told, unit = f"{said} {low:.3g} to {high:.3g}; give it", kind.columns[place].unit
        if apart[row, nth] > UNHEARD_OF:
            if unit != "m":
                raise InputError(f"{told} as {unit}, not in pixels")
            raise InputError(f"{told} in m{_unit_like(values[:, place], low, high)}")
        logger.warning("%s in its unit: %s", told, unit)


def _widest(spread: np.ndarray) -> float:
    """The widest of spreads; those of columns that never changed are 1, and say nothing."""
    return float(spread[spread != 1].max(initial=0)) or 1.0


def _measured(kind: Layout) -> list[list[int]]:
    """The columns that have a unit, those of each kind of part and unit together."""
    found: dict[tuple[str, str], list[int]] = {}
    for part, where in kind.slices():
        for place, column in enumerate(part.columns, where.start):
            if column.unit != "1":
                found.setdefault((part.kind, column.unit), []).append(place)
    return list(found.values())


def _unit_like(values: np.ndarray, low: float, high: float) -> str:
    """The unit of length in which values would be as the model knows them, and how to go from it to metres."""
    for name, factor in LENGTHS.items():
        if values.min() >= low * factor and values.max() <= high * factor:
            return f" (they look like {name}: divide by {factor:.4g})"
    return ""


def _check_level(column: Column, values: np.ndarray) -> None:
    """A gripper or a flag, which goes from 0 to 1."""
    low, high = float(values.min()), float(values.max())
    said = f"{column.name} goes from {low:.3g} to {high:.3g}; it is to be {column.sign}"
    if high > NO_LEVEL or low < -NO_LEVEL:
        most = next((most for most in FULL if high <= most), None)
        raise InputError(f"{said}: " + (f"divide by {most:g}" if most and low >= 0 else "scale it to 0 … 1"))
    if low < -AJAR and high <= 1 + AJAR:
        logger.warning("%s: of one from -1 to 1 that opens upwards, give (1 + value) / 2", said)
    elif low < -AJAR or high > 1 + AJAR:
        logger.warning("%s", said)


def _tell_of_narrow(column: Column, values: np.ndarray, statistics: Statistics, place: int) -> None:
    """A gripper that never opens as far as those that the model saw mostly were."""
    high, centre, spread = float(values.max()), statistics.centre[place], statistics.spread[place]
    if 0 < high <= NARROW and centre - spread > high:
        known = f"the model knows {centre - spread:.3g} to {centre + spread:.3g}, {column.sign}"
        rule = "if it is in metres, divide it by how far it opens"
        logger.warning(
            "%s goes from %.3g to %.3g and never opens; %s; %s", column.name, values.min(), high, known, rule
        )
