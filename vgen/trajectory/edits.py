"""Counterfactuals: what if the hand had moved otherwise, from the same start?

Every edit takes an absolute trajectory and returns one with the same times, layout and start. A body is moved as a
whole: its box, or all its keypoints, go where its place (the centre of a box, the wrist, the end effector) goes;
orientation, hand shape and gripper stay as recorded, save for `stop`. Only rows in which a body is seen tell where it
is; one that is not seen in any row from the start of an edit on is not moved, and refused where it alone is named.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vgen.errors import InputError, unknown_key
from vgen.trajectory.places import known_rows, place_of
from vgen.trajectory.trajectory import TIME_TOLERANCE, Trajectory

AXES = {"x": 0, "y": 1, "z": 2}
LARGEST_NUMBER = 1e6  # of a place or a factor in an edit


def mirror(trajectory: Trajectory, axis: str = "x", start: float | None = None, body: str | None = None) -> Trajectory:
    """The motion goes to the other side: its displacement along an axis changes its sign.

    Args:
        trajectory: absolute.
        axis: "x", "y" or "z" of the layout's frame.
        start: in seconds; what comes before is kept. None: the beginning.
        body: which one, such as "right"; None: all.

    Raises:
        InputError: not absolute, or no such axis, body or time.
    """
    known = list(AXES)[: _dimensions(trajectory)]
    if axis not in known:
        raise unknown_key(axis, known, f"the axes of layout {trajectory.layout}")
    sign = np.where(np.arange(len(known)) == AXES[axis], -1.0, 1.0)
    return _displaced(trajectory, sign, start, body)


def scale(trajectory: Trajectory, factor: float, start: float | None = None, body: str | None = None) -> Trajectory:
    """The motion goes further (factor above 1) or less far; a negative factor turns it round. Other arguments and
    errors as in `mirror`."""
    return _displaced(trajectory, np.full(_dimensions(trajectory), _finite(factor, "the factor")), start, body)


def shift(
    trajectory: Trajectory,
    by: Sequence[float],
    start: float | None = None,
    blend: float | None = None,
    body: str | None = None,
) -> Trajectory:
    """The motion drifts aside, by a vector in the layout's unit.

    Args:
        trajectory: absolute.
        by: as many numbers as the layout's points have.
        start: when the drift begins, in seconds. None: the beginning.
        blend: the seconds that it takes; smooth at both ends. 0: at once. None: up to the last row.
        body: which one; None: all.

    Raises:
        InputError: not absolute, a wrong vector, or no such body or time.
    """
    vector, first = _vector(trajectory, by), _first_row(trajectory, start)
    values = trajectory.values.astype(np.float64)
    for name in _bodies(trajectory, body, first):
        _move(trajectory, values, name, _blend_weights(trajectory, name, start, blend)[:, None] * vector)
    return replace(trajectory, values=values)


def stop(trajectory: Trajectory, at: float, body: str | None = None) -> Trajectory:
    """From a time on nothing of the body changes, its gripper and its orientation included.

    Args:
        trajectory: absolute.
        at: in seconds; the last valid row up to then is held.
        body: which one; None: all. The camera goes on as recorded.

    Raises:
        InputError: not absolute, no valid row up to then, or no such body or time.
    """
    held, bodies = _first_row(trajectory, at), _bodies(trajectory, body)
    good = np.flatnonzero(trajectory.valid & (trajectory.times <= at + TIME_TOLERANCE))
    if not good.size:
        raise InputError(f"no row up to {at:g} s is valid; there is nothing to hold")
    values = trajectory.values.copy()
    for part, where in trajectory.spec.slices():
        if part.owner in bodies:
            values[held:, where] = values[good[-1], where]
    return replace(trajectory, values=values)


def redirect(
    trajectory: Trajectory,
    to: Sequence[float],
    start: float | None = None,
    blend: float | None = None,
    body: str | None = None,
) -> Trajectory:
    """The motion bends away smoothly, so that the last row in which the body is seen is at a point; the times stay.

    Args:
        trajectory: absolute.
        to: where the body's place is to end, in the layout's frame and unit.
        start, blend: as in `shift`; a motion that has bent goes on beside the recorded one.
        body: which one; needed where the layout has two.

    Raises:
        InputError: not absolute, a wrong point, no row in which the body is seen, or no such body or time.
    """
    point, first, known = _vector(trajectory, to), _first_row(trajectory, start), trajectory.spec.bodies
    if body is None and len(known) > 1:
        raise InputError(f"layout {trajectory.layout} has the bodies {', '.join(known)}; say which goes to the point")
    (name,) = _bodies(trajectory, body, first)
    weight = _blend_weights(trajectory, name, start, blend)
    last = np.flatnonzero(known_rows(trajectory, name))[-1]
    if weight[last] < 1 - 1e-9:
        raise InputError(
            f"a blend of {blend:g} s ends after the last valid row of body={name}, at {trajectory.times[last]:g} s; "
            "shorten it"
        )
    values = trajectory.values.astype(np.float64)
    _move(trajectory, values, name, weight[:, None] * (point - place_of(trajectory, name)[last]))
    return replace(trajectory, values=values)


@dataclass(frozen=True)
class Edit:
    """An edit by name, as a user writes it: NAME[=VALUE][@SECONDS][:option=value...]."""

    name: str
    arguments: dict[str, object]

    def __call__(self, trajectory: Trajectory) -> Trajectory:
        """The edited trajectory."""
        return EDITS[self.name][0](trajectory, **self.arguments)


def parse_edit(text: str) -> Edit:
    """An edit such as mirror=x, shift=0.1,0,0@0.5:blend=0.2, scale=1.5:body=left, stop@0.8 or redirect=0,0.6,0.2@0.3.

    Raises:
        InputError: no such edit or option, or a value that is missing, not wanted, or no number.
    """
    head, *pairs = text.strip().split(":")
    head, _, when = head.partition("@")
    name, equals, value = head.partition("=")
    if name not in EDITS:
        raise unknown_key(name, EDITS, "the edits")
    _, needed, time, options = EDITS[name]
    arguments: dict[str, object] = {}
    if equals:
        if needed is None:
            raise InputError(f"{text}: {name} takes no value; nearest: {name}{'@' + when if when else ''}")
        arguments[needed] = _value(needed, value, text)
    elif needed not in (None, "axis"):
        raise InputError(f"{text}: {name} needs a value: {name}={'NUMBER' if needed == 'factor' else 'X,Y[,Z]'}")
    if "@" in text.split(":")[0]:
        arguments[time] = _number(when, text, sys.float_info.max)
    elif time == "at":
        raise InputError(f"{text}: {name} needs a time in seconds: {name}@SECONDS")
    for pair in pairs:
        key, _, given = pair.partition("=")
        if key not in options:
            raise unknown_key(key, options, f"the options of {name}")
        arguments[key] = given if key == "body" else _number(given, text)
    return Edit(name, arguments)


EDITS: dict[str, tuple[Callable[..., Trajectory], str | None, str, tuple[str, ...]]] = {
    "mirror": (mirror, "axis", "start", ("body",)),
    "shift": (shift, "by", "start", ("blend", "body")),
    "scale": (scale, "factor", "start", ("body",)),
    "stop": (stop, None, "at", ("body",)),
    "redirect": (redirect, "to", "start", ("blend", "body")),
}
"""Every edit: its function, what its value and its time are called there, and its options."""


def _displaced(trajectory: Trajectory, factors: np.ndarray, start: float | None, body: str | None) -> Trajectory:
    """Every body's displacement since the start, times a factor per axis."""
    first = _first_row(trajectory, start)
    values = trajectory.values.astype(np.float64)
    for name in _bodies(trajectory, body, first):
        places = place_of(trajectory, name)
        begin = first + np.flatnonzero(known_rows(trajectory, name)[first:])[0]
        offsets = (factors - 1) * (places - places[begin])
        offsets[:begin] = 0.0
        _move(trajectory, values, name, offsets)
    return replace(trajectory, values=values)


def _move(trajectory: Trajectory, values: np.ndarray, body: str, offsets: np.ndarray) -> None:
    """Adds offsets [A, d] to all points of a body, in place."""
    for columns in trajectory.spec.points(body):
        values[:, columns] += offsets


def _blend_weights(trajectory: Trajectory, body: str, start: float | None, blend: float | None) -> np.ndarray:
    """Weights [A] from 0 at the start to 1 after the blend, with no jerk at either end (minimum-jerk polynomial).
    They begin no earlier than the body is seen, and a blend of None ends with the last row in which it is."""
    times, first = trajectory.times, _first_row(trajectory, start)
    seen = first + np.flatnonzero(known_rows(trajectory, body)[first:])
    begin = start if start is not None and seen[0] == first else times[seen[0]]
    if blend is None:
        blend = float(times[seen[-1]] - begin)
    elif not (np.isfinite(blend) and blend >= 0):
        raise InputError(f"blend={blend} must be 0 seconds or more")
    if blend <= 0:
        return (times >= begin - TIME_TOLERANCE).astype(np.float64)
    s = np.clip((times - begin) / blend, 0, 1)
    return s**3 * (10 - 15 * s + 6 * s**2)


def _first_row(trajectory: Trajectory, start: float | None) -> int:
    """The first row at or after a time."""
    if trajectory.form != "absolute":
        raise InputError(f"the trajectory is {trajectory.form}; edits take the absolute form: convert it first")
    first, last = trajectory.times[[0, -1]]
    if start is None:
        return 0
    if not first - TIME_TOLERANCE <= start <= last + TIME_TOLERANCE:
        nearest = last if start > last else first
        span = f"{first:.10g} to {last:.10g} s; nearest: {nearest:.10g}"
        raise InputError(f"time {start:.10g} s is outside the trajectory, {span}")
    return min(int(np.searchsorted(trajectory.times, start - TIME_TOLERANCE)), len(trajectory) - 1)


def _bodies(trajectory: Trajectory, body: str | None, first: int = 0) -> list[str]:
    """The body that is named, or all, as far as they are seen in some row from the first on.

    Raises:
        InputError: there is no such body, or none is seen.
    """
    known, times = trajectory.spec.bodies, trajectory.times
    if body is not None and body not in known:
        raise unknown_key(body, known, f"the bodies of layout {trajectory.layout}")
    wanted = known if body is None else [body]
    if told := [name for name in wanted if known_rows(trajectory, name)[first:].any()]:
        return told
    whose = " or ".join(f"body={name}" for name in wanted)
    earlier = np.flatnonzero(np.any([known_rows(trajectory, name) for name in wanted], axis=0))
    if not earlier.size:
        raise InputError(f"no row is valid and shows {whose}; there is nothing to edit")
    said = f"time {times[first]:.10g} s is after the last valid row of {whose}"
    raise InputError(f"{said}; nearest: {times[earlier[-1]]:.10g}")


def _dimensions(trajectory: Trajectory) -> int:
    spec = trajectory.spec
    return len(spec.place(spec.bodies[0])[0])


def _vector(trajectory: Trajectory, given: Sequence[float]) -> np.ndarray:
    vector, wanted = np.asarray(given, dtype=np.float64), _dimensions(trajectory)
    if vector.shape != (wanted,) or not np.isfinite(vector).all():
        numbers = ",".join(f"{value:g}" for value in vector.ravel())
        raise InputError(f"the vector {numbers} must be {wanted} finite numbers for layout {trajectory.layout}")
    return vector


def _value(name: str, text: str, whole: str) -> object:
    if name == "axis":
        return text
    numbers = [_number(part, whole) for part in text.split(",")]
    if name != "factor":
        return numbers
    if len(numbers) > 1:
        raise InputError(f"{whole}: a factor is one number")
    return numbers[0]


def _number(text: str, whole: str, largest: float = LARGEST_NUMBER) -> float:
    try:
        return _finite(float(text), whole, largest)
    except ValueError as error:
        raise InputError(f"{whole}: {text!r} must be a number of at most {largest:g} in size") from error


def _finite(value: float, what: str, largest: float = LARGEST_NUMBER) -> float:
    if not abs(value) <= largest:
        raise InputError(f"{what}: {value:g} must be a number of at most {largest:g} in size")
    return value
