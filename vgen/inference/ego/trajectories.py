"""From the trajectory of a file or an episode to the actions of a rollout, in the model's form and at its rate.

The clock of a rollout is 0 at the start frame. Frame k of the future is at k / rate; row k of an absolute trajectory is
the state at frame k, and row 0 the state at the start frame; action k leads from frame k to frame k + 1.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from vgen.errors import InputError, unknown_key
from vgen.inference.ego.spec import MAX_FRAMES, RolloutSpec
from vgen.models import ModelInfo
from vgen.sources.hands.sighting import TRACKED
from vgen.trajectory.convert import convert, resample, to_absolute
from vgen.trajectory.edits import parse_edit
from vgen.trajectory.files import TrajectoryFile, read_trajectory
from vgen.trajectory.network import network_rows
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import TIME_TOLERANCE, Trajectory
from vgen.trajectory.units import check_times, check_values, warn_of_degrees

logger = logging.getLogger(__name__)

NEARLY = 1e-3  # of a frame, and
APART = 0.25  # of the model's range, from which a trajectory does not begin where the hand is
UNASKED = 1000  # frames of a rollout that does not say how many


@dataclass(frozen=True, eq=False)
class RolloutActions:
    """What a rollout follows.

    Attributes:
        past: rows in the model's form that arrived until the start frame; None where nothing is known.
        future: rows in the model's form, the first of which arrives at frame 1.
        trajectory: rows 0 and on in absolute form, on the clock of the rollout; of a model that takes deltas and was
            given them without a start, the deltas.
    """

    past: Trajectory | None
    future: Trajectory
    trajectory: Trajectory


def read_known(source: TrajectoryFile, at: float | None, start: Trajectory | None, last: bool = False) -> Trajectory:
    """The trajectory of a file on the clock of a rollout.

    Args:
        source: of the file.
        at: seconds on the file's clock at which the start frame lies; None: where its first row begins.
        start: one absolute row, the state at the start frame, for a file in another form; None where it is not known.
        last: a file that says no `at` ends at the start frame, instead of beginning there.

    Returns:
        Absolute where it is or a start is known.

    Raises:
        InputError: the file cannot be used, or `at` is not in it.
    """
    given = read_trajectory(source)
    warn_of_degrees(given)
    return on_clock(given, source.path, at, start, last)


def on_clock(
    given: Trajectory, path: str | PathLike[str], at: float | None, start: Trajectory | None, last: bool = False
) -> Trajectory:
    """A trajectory of the file at a path, on the clock of a rollout; see `read_known`.

    Raises:
        InputError: `at` is not in it, or it does not go on from the start.
    """
    first, end = float(given.times[0]), float(given.times[-1])
    if given.form == "delta":  # its first frame is one step before the first arrival
        first -= float(np.median(np.diff(given.times)) if len(given) > 1 else 1 / given.spec.rate)
    now = at if at is not None else end if last else first
    if not first - TIME_TOLERANCE <= now <= end + TIME_TOLERANCE:
        nearest = first if now < first else end
        span = f"{first:.10g} to {end:.10g} s; nearest: {nearest:.10g}"
        raise InputError(f"at={now:.10g} s is outside {path}, {span}")
    moved = replace(given, times=given.times - now)
    if given.form == "absolute" or start is None or not start.valid.all():
        return moved
    if now > first + TIME_TOLERANCE:
        raise InputError(f"at={now:g} lies within {path}, which is {given.form}; convert it to absolute form")
    if start.layout != given.layout:
        raise InputError(f"{path} has layout {given.layout}; the state at the start frame has {start.layout}")
    return to_absolute(moved, replace(start, times=np.zeros(1)))


def given_trajectory(
    spec: RolloutSpec, info: ModelInfo, start: Trajectory | None, last: bool = False
) -> Trajectory | None:
    """The trajectory that a rollout names, of a file or of the hands in a video, on the clock of the rollout; None
    where it names none. Other arguments as of `read_known`.

    Raises:
        InputError: it cannot be used, or the model knows no layout that hands are tracked to.
    """
    if spec.trajectory_from is not None:
        layout = _tracked_layout(spec.layout, info)
        from vgen.sources.hands.video_track import hand_trajectory  # late, as most rollouts need no PyAV

        return on_clock(hand_trajectory(spec.trajectory_from, layout), spec.trajectory_from, spec.at, start, last)
    if spec.trajectory is None:
        return None
    source = TrajectoryFile(Path(spec.trajectory), spec.layout, spec.episode, spec.column)
    return read_known(source, spec.at, start, last)


def _tracked_layout(wanted: str | None, info: ModelInfo) -> str:
    """Which layout the hands of a video are tracked to, for a model."""
    known = [name for name in TRACKED if name in info.layouts]
    if not known:
        rule = f"a video of hands gives {' or '.join(TRACKED)}; train a model of it (vgen data hands, docs/sources.md)"
        raise InputError(f"model {info.model} knows the layouts {', '.join(info.layouts)} and {rule}")
    if wanted is not None and wanted not in known:
        raise unknown_key(wanted, known, f"the layouts of hands that model {info.model} knows")
    return wanted or known[0]


def state_at_start(known: Trajectory | None) -> Trajectory | None:
    """The state at the start frame: one absolute row at time 0; None where it is not known."""
    if (
        known is None
        or known.form != "absolute"
        or not known.times[0] - TIME_TOLERANCE <= 0 <= known.times[-1] + TIME_TOLERANCE
    ):
        return None
    row = _sampled(known, np.zeros(1))
    return row if row.valid.all() else None


def frames_driven(known: Trajectory, rate: float) -> int:
    """How many frames of future a trajectory drives."""
    return int(known.times[-1] * rate + NEARLY)


def choose_frames(frames: int | None, known: Trajectory, rate: float) -> int:
    """How many frames of future there will be: those asked for, or all that the trajectory is enough for.

    Raises:
        InputError: it is not enough for them, or for any; or nobody asked for as many as it is enough for.
    """
    most = frames_driven(known, rate)
    lasts = f"the trajectory lasts {max(0.0, known.times[-1]):.4g} s from the start frame on, enough for {most} frames"
    if most < 1:
        raise InputError(f"{lasts} at {rate:g} per second; give a longer one")
    if frames is None and most > UNASKED:
        rule = f"more than the {UNASKED} that are made unasked; say how many"
        nearest = f"--frames {min(most, MAX_FRAMES)}"
        raise InputError(f"{lasts} at {rate:g} per second, {rule}: {nearest} or less; its times are to be in seconds")
    if frames is not None and frames > most:
        raise InputError(f"frames={frames}: {lasts} at {rate:g} per second; nearest: {most}")
    return frames or most


def read_actions(
    spec: RolloutSpec, recorded: Trajectory | None, info: ModelInfo, reach: int
) -> tuple[RolloutActions, int]:
    """The actions of a rollout that follows a trajectory, and how many frames of future it has.

    Args:
        spec: what is asked.
        recorded: what is known of the start, absolute, on the clock of the rollout; it drives the rollout where no file
            is named.
        info: of the model.
        reach: how many rows before the start frame the model reads.

    Raises:
        InputError: the trajectory cannot be used, or the model does not take it.
    """
    assert info.ego is not None, "it was asked for"
    seen = state_at_start(recorded)
    given = given_trajectory(spec, info, seen)
    known = recorded if given is None else given
    assert known is not None, "what names no file starts from an episode, which has one"
    layout = info.choose_layout(known.layout)
    rate = info.ego.rate(layout)
    if given is not None:
        check_times(known, rate)
    statistics = Statistics.from_json(info.statistics_of(layout))
    frames = choose_frames(spec.frames, known, rate)
    if known.form == "absolute":
        past = past_of(known, rate, reach)
        if past is None and recorded is not None and recorded.layout == layout:
            past = past_of(recorded, rate, reach)
        actions = actions_of(known, rate, frames, statistics.form, past, spec.edits)
    elif spec.edits:
        raise InputError(f"edit={spec.edits[0]}: the trajectory is {known.form}; give it in absolute form")
    else:
        actions = actions_of_steps(known, statistics.form, rate, frames)
    check_values(actions.trajectory, statistics)
    if seen is not None and actions.trajectory.form == "absolute":
        warn_of_gap(actions.trajectory, seen, statistics)
    return actions, frames


def future_of(known: Trajectory, rate: float, frames: int, edits: Sequence[str] = ()) -> Trajectory:
    """So many frames of future of an absolute trajectory: rows 0 to `frames` at a rate, edited. What an edit says of
    the end is said of the last of them.

    Raises:
        InputError: an edit that cannot be made.
    """
    rows = _sampled(known, np.arange(frames + 1) / rate)
    for text in edits:
        rows = parse_edit(text)(rows)
    return rows


def past_of(known: Trajectory | None, rate: float, most: int) -> Trajectory | None:
    """Up to so many rows at a rate before the start frame, oldest first, without the start itself; None for none."""
    if known is None or known.form != "absolute" or known.times[0] > TIME_TOLERANCE:
        return None
    count = min(most, int(-known.times[0] * rate + NEARLY))
    return _sampled(known, np.arange(-count, 0) / rate) if count > 0 else None


class HandHistory:
    """The path of the hand up to the present, which grows row by row.

    Args:
        rows: absolute, at the model's rate, the last of them the present state.
        form: in which actions enter the model.

    Attributes:
        rows: all so far.
    """

    def __init__(self, rows: Trajectory, form: str) -> None:
        self.rows, self.form = rows, form

    def past_actions(self) -> Trajectory | None:
        """What has arrived, in the model's form; None where that is nothing: a single row has no step."""
        return None if self.form == "delta" and len(self.rows) < 2 else convert(self.rows, self.form)

    def extend(self, newer: Trajectory) -> Trajectory:
        """Adds the rows that follow, and returns the actions, in the model's form, that lead through them."""
        self.rows = joined(self.rows, newer)
        actions = convert(self.rows, self.form)
        return actions.rows(len(actions) - len(newer), len(actions))


def actions_of(
    known: Trajectory, rate: float, frames: int, form: str, past: Trajectory | None = None, edits: Sequence[str] = ()
) -> RolloutActions:
    """The actions of a rollout under an absolute trajectory.

    Args:
        known: on the clock of the rollout.
        rate, frames: of the future.
        form: in which actions enter the model.
        past: absolute, rows at that rate before the start frame; None where nothing is known.
        edits: of the future.

    Raises:
        InputError: an edit that cannot be made.
    """
    future = future_of(known, rate, frames, edits)
    actions = convert(future if past is None else joined(past, future), form)
    arrived = len(actions) - frames
    return RolloutActions(actions.rows(0, arrived) if arrived else None, actions.rows(arrived, len(actions)), future)


def actions_of_steps(steps: Trajectory, form: str, rate: float, frames: int) -> RolloutActions:
    """The actions of a rollout from steps whose start is not known, for a model that takes steps at just their rate.

    Raises:
        InputError: the model takes another form, or the steps come at another rate.
    """
    rule = "give it in absolute form, or start from an episode, where the state at the start frame is known"
    if form != "delta" or steps.form != "delta":
        raise InputError(f"the trajectory is {steps.form} and the model takes {form} actions; {rule}")
    gaps = np.diff(np.concatenate([[0.0], steps.times])) * rate
    if np.abs(gaps - 1).max() > 0.01:
        raise InputError(f"the trajectory is delta at other times than the model's {rate:g} rows per second; {rule}")
    used = steps.rows(0, frames)
    return RolloutActions(None, used, used)


def joined(earlier: Trajectory, later: Trajectory) -> Trajectory:
    """Two trajectories of one layout and form as one."""
    parts: dict[str, Any] = {
        name: np.concatenate([getattr(earlier, name), getattr(later, name)]) for name in ("values", "times", "valid")
    }
    return replace(later, **parts)


def warn_of_gap(future: Trajectory, seen: Trajectory, statistics: Statistics) -> None:
    """Logs where a trajectory does not begin at the state that is known of the start frame."""
    if seen.layout != future.layout or statistics.form != "absolute" or not future.valid[0]:
        return
    given, known = (network_rows(row)[0] for row in (future.rows(0, 1), seen))
    apart = np.abs(given - known) / (2 * statistics.spread)
    place = int(apart.argmax())
    if apart[place] > APART:
        column = future.spec.network.names[place]
        rule = "if it is on the clock of the whole episode, say with --at where the start frame lies"
        logger.warning(
            "the trajectory begins at %s=%.3g, the hand is at %.3g; %s", column, given[place], known[place], rule
        )


def _sampled(known: Trajectory, times: np.ndarray) -> Trajectory:
    """At times that may lie beyond its ends by rounding."""
    rows = resample(known, times.clip(known.times[0], known.times[-1]))
    return replace(rows, times=times)
