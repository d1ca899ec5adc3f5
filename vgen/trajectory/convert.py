"""Conversions of trajectories: between forms, to other times, to model actions, and the scene turned over.

Every type of part of a layout has one rule for the step from a row to another, and one for taking a step; all forms
follow from the two. Points are subtracted. Rotations compose, seen from outside. Poses compose, each step seen from
the pose before it, as in Cosmos 3. Levels, flags and points in a body's own frame stay as they are on arrival.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from vgen.errors import InputError
from vgen.trajectory.layouts import Part
from vgen.trajectory.rotations import inverse, to_columns, to_matrices
from vgen.trajectory.trajectory import Trajectory

Floats = NDArray[np.float64]
REFLECTION = np.diag([-1.0, 1.0, 1.0, 1.0])  # x to -x


def to_delta(trajectory: Trajectory) -> Trajectory:
    """The steps between the rows of an absolute or relative trajectory: A = T - 1.

    Row k leads from frame k to frame k + 1 and has the time of frame k + 1. It is valid where both frames are.

    Raises:
        InputError: fewer than two rows.
    """
    if trajectory.form == "delta":
        return trajectory
    if len(trajectory) < 2:
        raise InputError("a trajectory of 1 row has no step; the delta form needs 2 rows or more")
    rows = _filled(trajectory)
    steps = _by_part(trajectory, lambda part, where: _step(part, rows[:-1, where], rows[1:, where]))
    valid = trajectory.valid[:-1] & trajectory.valid[1:]
    return _made(trajectory, steps, trajectory.times[1:], valid, "delta")


def to_relative(trajectory: Trajectory, start: Trajectory | None = None) -> Trajectory:
    """Every row against the first, which becomes no motion; A = T.

    Args:
        trajectory: of any form.
        start: the first frame of a delta trajectory, one absolute row.

    Raises:
        InputError: the first row is not valid, or a delta trajectory comes without its start.
    """
    if trajectory.form == "relative":
        return trajectory
    absolute = to_absolute(trajectory, start)
    if not absolute.valid[0]:
        raise InputError(
            "the first row is not valid; the relative form is against it: cut what comes before a valid row"
        )
    rows = _filled(absolute)
    steps = _by_part(
        absolute, lambda part, where: _step(part, np.repeat(rows[:1, where], len(rows), 0), rows[:, where])
    )
    return _made(absolute, steps, absolute.times, absolute.valid, "relative")


def to_absolute(trajectory: Trajectory, start: Trajectory | None = None) -> Trajectory:
    """One row for each frame, A = T.

    Args:
        trajectory: of any form.
        start: the first frame, one valid absolute row of the same layout; not needed for an absolute trajectory. It
            becomes the first row. After a step that is not valid, nothing is.

    Raises:
        InputError: no start, or one that does not fit.
    """
    if trajectory.form == "absolute":
        return trajectory
    start = _checked_start(trajectory, start)
    first, rows = start.values.astype(np.float64), _filled(trajectory)
    if trajectory.form == "relative":
        wide = np.repeat(first, len(rows), 0)
        values = _by_part(trajectory, lambda part, where: _apply_step(part, wide[:, where], rows[:, where]))
        return _made(trajectory, values, trajectory.times, trajectory.valid, "absolute")

    def walk(part: Part, where: slice) -> np.ndarray:
        path = [first[:, where]]
        for k in range(len(rows)):
            path.append(_apply_step(part, path[-1], rows[k : k + 1, where]))
        return np.concatenate(path)

    valid = np.concatenate([[True], np.logical_and.accumulate(trajectory.valid)])
    times = np.concatenate([start.times, trajectory.times])
    return _made(trajectory, _by_part(trajectory, walk), times, valid, "absolute")


def convert(trajectory: Trajectory, form: str, start: Trajectory | None = None) -> Trajectory:
    """The trajectory in another form; see `to_delta`, `to_relative` and `to_absolute`."""
    if form == "delta":
        return to_delta(trajectory)
    return to_relative(trajectory, start) if form == "relative" else to_absolute(trajectory, start)


def resample(trajectory: Trajectory, times: Sequence[float] | np.ndarray) -> Trajectory:
    """An absolute or relative trajectory at other times.

    Between two rows, points and levels go straight, orientations turn evenly (slerp), flags keep the earlier value. A
    new row is valid where the rows on both sides of it are, or the one that it falls on is.

    Args:
        times: in seconds, increasing, from the first to the last of the trajectory's.

    Raises:
        InputError: a delta trajectory, or a time outside the trajectory.
    """
    if trajectory.form == "delta":
        raise InputError("steps can't be resampled; convert the trajectory to its absolute form first")
    wanted, known = np.asarray(times, dtype=np.float64), trajectory.times
    outside = wanted[~((wanted >= known[0]) & (wanted <= known[-1]))]
    if outside.size:
        nearest = float(np.clip(outside[0], known[0], known[-1]))
        raise InputError(
            f"time {outside[0]:g} s is outside the trajectory, {known[0]:g} to {known[-1]:g} s; nearest: {nearest:g}"
        )
    rows = _filled(trajectory)
    values = _by_part(trajectory, lambda part, where: _interpolated(part, known, rows[:, where], wanted))
    after = np.searchsorted(known, wanted)
    before = np.searchsorted(known, wanted, side="right") - 1
    return _made(trajectory, values, wanted, trajectory.valid[before] & trajectory.valid[after], trajectory.form)


def resample_rate(trajectory: Trajectory, rate: float) -> Trajectory:
    """`resample` at a steady rate in rows per second, from the first time on, as far as the trajectory goes.

    Raises:
        InputError: a rate that is not positive, or a delta trajectory.
    """
    if not (np.isfinite(rate) and rate > 0):
        raise InputError(f"rate={rate} must be a positive number of rows per second")
    first, last = trajectory.times[[0, -1]]
    count = int(np.floor((last - first) * rate + 1e-6)) + 1
    return resample(trajectory, np.minimum(first + np.arange(count) / rate, last))


def mirror_scene(trajectory: Trajectory) -> Trajectory:
    """The trajectory of the scene turned over left to right: what fits the video with its columns reversed.

    x goes to its other side (of the layout's centre, where absolute), orientations and the frames of bodies turn with
    it (T to M T M), and the hands change places. Twice gives the trajectory back. To mirror a motion within its scene,
    see `vgen.trajectory.edits`.

    Raises:
        InputError: a layout of a single right hand, which would become a left one.
    """
    spec = trajectory.spec
    if spec.bodies == ["right"]:
        raise InputError(
            f"layout {spec.name} holds a right hand, which a mirror makes a left one; there is no layout for it"
        )
    rows, twice = _filled(trajectory), 2 * spec.centre if trajectory.form == "absolute" else 0.0
    turned = defaultdict(list)
    for part, where in spec.slices():
        turned[part.owner].append(_mirrored(part, rows[:, where], twice))
    swapped = {"left": "right", "right": "left"}
    parts = {owner: iter(turned[swapped.get(owner, owner)]) for owner in list(turned)}
    values = _by_part(trajectory, lambda part, where: next(parts[part.owner]))
    return _made(trajectory, values, trajectory.times, trajectory.valid, trajectory.form)


def _step(part: Part, old: Floats, new: Floats) -> Floats:
    """The steps that lead from the old rows [A, d] of a part to the new ones."""
    if part.type in ("point", "box"):
        return new - old
    if part.type == "rotation":
        return to_columns(to_matrices(new) @ inverse(to_matrices(old)), old.shape[1])
    if part.type == "pose":
        return to_columns(inverse(to_matrices(old)) @ to_matrices(new), old.shape[1])
    return new


def _apply_step(part: Part, old: Floats, step: Floats) -> Floats:
    """The rows [A, d] that steps lead to; undoes `_step`."""
    if part.type in ("point", "box"):
        return old + step
    if part.type == "rotation":
        return to_columns(to_matrices(step) @ to_matrices(old), old.shape[1])
    if part.type == "pose":
        return to_columns(to_matrices(old) @ to_matrices(step), old.shape[1])
    return step


def _interpolated(part: Part, known: np.ndarray, rows: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    if part.type == "flag":
        return rows[np.searchsorted(known, wanted, side="right") - 1]
    straight = np.stack([np.interp(wanted, known, column) for column in rows.T], axis=1)
    if part.type not in ("rotation", "pose") or len(known) == 1:
        return straight
    matrices = np.tile(np.eye(4), (len(wanted), 1, 1))
    matrices[:, :3, :3] = Slerp(known, Rotation.from_matrix(to_matrices(rows)[:, :3, :3]))(wanted).as_matrix()
    turned = to_columns(matrices, rows.shape[1])
    if part.type == "pose":
        turned[:, :3] = straight[:, :3]
    return turned


def _mirrored(part: Part, rows: np.ndarray, twice: float) -> np.ndarray:
    if part.type == "box":
        return np.stack([twice - rows[:, 2], rows[:, 1], twice - rows[:, 0], rows[:, 3]], axis=1)
    if part.type == "point":
        return np.where(np.arange(rows.shape[1]) % 3 == 0, twice - rows, rows)
    if part.type == "local":
        return np.where(np.arange(rows.shape[1]) % 3 == 0, -rows, rows)
    if part.type in ("rotation", "pose"):
        turned = REFLECTION @ to_matrices(rows) @ REFLECTION
        turned[:, 0, 3] += twice
        return to_columns(turned, rows.shape[1])
    return rows


def _by_part(trajectory: Trajectory, rule: Callable[[Part, slice], np.ndarray]) -> np.ndarray:
    """The columns that `rule(part, where)` gives for every part, side by side."""
    return np.concatenate([rule(part, where) for part, where in trajectory.spec.slices()], axis=1)


def _filled(trajectory: Trajectory) -> np.ndarray:
    """The values as float64; rows that are not valid repeat a valid neighbour, so that every row can be converted.

    Raises:
        InputError: no row is valid.
    """
    good = np.flatnonzero(trajectory.valid)
    if not good.size:
        raise InputError(f"none of the {len(trajectory)} rows is valid; there is nothing to convert")
    before = np.searchsorted(good, np.arange(len(trajectory)), side="right") - 1
    return trajectory.values[good[np.maximum(before, 0)]].astype(np.float64)


def _made(like: Trajectory, values: np.ndarray, times: np.ndarray, valid: np.ndarray, form: str) -> Trajectory:
    values = np.where(valid[:, None], values, np.nan)
    return replace(like, values=values, times=times, valid=valid, form=form)


def _checked_start(trajectory: Trajectory, start: Trajectory | None) -> Trajectory:
    rule = f"a {trajectory.form} trajectory goes on from its start, one valid absolute row of {trajectory.layout}"
    if start is None:
        raise InputError(f"no start is given; {rule}")
    if (start.layout, start.form, len(start)) != (trajectory.layout, "absolute", 1) or not start.valid.all():
        raise InputError(f"the start is {len(start)} {start.form} rows of {start.layout}; {rule}")
    return start
