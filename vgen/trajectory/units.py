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
from vgen.trajectory.network import network_rows
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import Trajectory

logger = logging.getLogger(__name__)

# How far a value may lie from the middle of those that the model knows, in times the widest spread among the columns of
# the same type and unit.
IMPOSSIBLE_DISTANCE = 100.0  # no hand was ever so far away
UNUSUAL_DISTANCE = 10.0  # what was recorded of nano's bodies stays below 7

# Grippers and flags go from 0 to 1.
LEVEL_TOLERANCE = 0.25  # further beyond 0 or 1 lies another convention
IMPOSSIBLE_LEVEL = 10.0  # nothing so far from 0 can be meant
FULL_SCALES = (100.0, 255.0, 1000.0)  # what a gripper reads that is open, in other conventions
WIDEST_GRIPPER = 0.15  # metres: one that never opens further than this is likely in metres

LENGTH_UNITS = {"inches": 1 / 0.0254, "centimetres": 100.0, "millimetres": 1000.0}  # in a metre
TIME_UNITS = {"milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}  # in a second

# The typical time between two rows, where there are MANY_ROWS or more: fewer may be a few places set by hand.
LONG_STEP = 5.0  # seconds; together with
IMPOSSIBLE_STEP = 100.0  # frames of the model, it shows that times are no seconds
MANY_ROWS = 8
SPARSE_STEP = 50.0  # frames: the hand goes straight for long
FRAME_NUMBER_STEP = 4.0  # frames: rows that are one second apart are likely numbered, not timed
DENSE_STEP = 0.02  # of a frame: most rows are passed over


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
    if step >= LONG_STEP and frames >= IMPOSSIBLE_STEP:
        unit = min(TIME_UNITS, key=lambda name: abs(np.log(frames / TIME_UNITS[name])))
        raise InputError(f"{said}: they look like {unit}; divide them by {TIME_UNITS[unit]:.0f}")
    if len(known) < MANY_ROWS:
        return
    if frames >= FRAME_NUMBER_STEP and np.abs(steps - 1).max() < 1e-6:
        logger.warning("%s; if they are numbers of frames, divide them by the frames per second of the recording", said)
    elif frames >= SPARSE_STEP:
        logger.warning("%s; the hand goes straight from row to row; times are to be in seconds", said)
    elif frames <= DENSE_STEP:
        logger.warning("%s; most rows are passed over; times are to be in seconds", said)


def warn_of_degrees(given: Trajectory) -> None:
    """Logs Euler angles beyond a whole turn, as they are in a file: they may be degrees."""
    for part, where in given.spec.slices():
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
    entering = _in_form(rows, statistics.form)
    if entering is not None:
        _check_distances(entering, statistics)
    for (part, where), (_, entered) in zip(rows.spec.slices(), rows.spec.network.slices(), strict=True):
        values = rows.values[rows.valid, where]
        if part.type in ("level", "flag"):
            check_level(part.columns[0], values)
            if part.type == "level":
                _warn_of_metres(part.columns[0], values, statistics, entered.start)


def _in_form(rows: Trajectory, form: str) -> Trajectory | None:
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
    spec = rows.spec.network
    values, times = network_rows(rows)[rows.valid], rows.times[rows.valid]
    for places in _columns_by_unit(spec):
        apart = np.abs(values[:, places] - statistics.centre[places]) / _widest(statistics.spread[places])
        row, nth = np.unravel_index(apart.argmax(), apart.shape)
        if apart[row, nth] <= (UNUSUAL_DISTANCE if rows.form == "absolute" else IMPOSSIBLE_DISTANCE):
            continue
        place, (low, high) = places[nth], statistics.usual_range(places[nth])
        said = f"{spec.names[place]}={values[row, place]:.4g} at {times[row]:.3g} s: the model knows values of"
        told, unit = f"{said} {low:.3g} to {high:.3g}; give it", spec.columns[place].unit
        if apart[row, nth] > IMPOSSIBLE_DISTANCE:
            if unit != "m":
                raise InputError(f"{told} as {unit}, not in pixels")
            raise InputError(f"{told} in m{_likely_unit(values[:, place], low, high)}")
        logger.warning("%s in its unit: %s", told, unit)


def _widest(spread: np.ndarray) -> float:
    """The widest of spreads; those of columns that never changed are 1, and say nothing."""
    return float(spread[spread != 1].max(initial=0)) or 1.0


def _columns_by_unit(spec: Layout) -> list[list[int]]:
    """The columns that have a unit, those of each type of part and unit together."""
    found: dict[tuple[str, str], list[int]] = {}
    for part, where in spec.slices():
        for place, column in enumerate(part.columns, where.start):
            if column.unit != "1":
                found.setdefault((part.type, column.unit), []).append(place)
    return list(found.values())


def _likely_unit(values: np.ndarray, low: float, high: float) -> str:
    """The unit of length in which values would be as the model knows them, and how to go from it to metres."""
    for name, factor in LENGTH_UNITS.items():
        if values.min() >= low * factor and values.max() <= high * factor:
            return f" (they look like {name}: divide by {factor:.4g})"
    return ""


def check_level(column: Column, values: np.ndarray) -> None:
    """Refuses values of a gripper or a flag, which goes from 0 to 1, that cannot be meant, and logs odd ones.

    Raises:
        InputError: they are on another scale.
    """
    low, high = float(values.min()), float(values.max())
    said = f"{column.name} goes from {low:.3g} to {high:.3g}; it is to be {column.sign}"
    if high > IMPOSSIBLE_LEVEL or low < -IMPOSSIBLE_LEVEL:
        most = next((most for most in FULL_SCALES if high <= most), None)
        raise InputError(f"{said}: " + (f"divide by {most:g}" if most and low >= 0 else "scale it to 0 … 1"))
    if low < -LEVEL_TOLERANCE and high <= 1 + LEVEL_TOLERANCE:
        logger.warning("%s: of one from -1 to 1 that opens upwards, give (1 + value) / 2", said)
    elif low < -LEVEL_TOLERANCE or high > 1 + LEVEL_TOLERANCE:
        logger.warning("%s", said)


def _warn_of_metres(column: Column, values: np.ndarray, statistics: Statistics, place: int) -> None:
    """A gripper that never opens as far as those that the model saw mostly were."""
    high, centre, spread = float(values.max()), statistics.centre[place], statistics.spread[place]
    if 0 < high <= WIDEST_GRIPPER and centre - spread > high:
        known = f"the model knows {centre - spread:.3g} to {centre + spread:.3g}, {column.sign}"
        rule = "if it is in metres, divide it by how far it opens"
        logger.warning(
            "%s goes from %.3g to %.3g and never opens; %s; %s", column.name, values.min(), high, known, rule
        )
