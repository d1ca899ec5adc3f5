"""From what a rollout is asked to all that a model needs for it; what can be refused is refused here, before it is
loaded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np

from vgen.backbone.shapes import check_advance
from vgen.errors import InputError
from vgen.inference.ego.observation import Observation, open_observation
from vgen.inference.ego.spec import MODES, STATE_COLUMN, RolloutSpec, Start
from vgen.inference.ego.trajectories import (
    HandHistory,
    RolloutActions,
    given_trajectory,
    joined,
    past_of,
    read_actions,
    state_at_start,
)
from vgen.inference.settings import EgoSettings
from vgen.media.pixels import to_uint8
from vgen.media.placing import PlacedFrame, composite, place_all
from vgen.models import ModelInfo
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import LAYOUTS, TIME_TOLERANCE, Trajectory
from vgen.trajectory.units import check_times, check_values

logger = logging.getLogger(__name__)

MOST_STEPS = 10_000  # of a video that is explained: its frames are held in memory

Goal = tuple[np.ndarray, np.ndarray, float]  # as `EgoWorld.reset` takes it


@dataclass(frozen=True)
class Context:
    """What a rollout begins with.

    Attributes:
        history: uint8 [K, H, W, 3] at the world's rate, the start frame last.
        text: what is done.
        goals: known images ahead.
        seed: of all noise.
    """

    history: np.ndarray
    text: str
    goals: Sequence[Goal]
    seed: int


@dataclass(frozen=True)
class Inputs:
    """All that a rollout names, read and checked.

    Attributes:
        observation: what is seen.
        layout: of the trajectory.
        rate: frames, or of `inverse` steps, per second.
        frames: of the future, or of `inverse` steps.
        context: what a rollout begins with; its history of `inverse` is empty.
        actions: of `forward`.
        past: of `policy`, the absolute trajectory up to the start frame, at its own rate.
        hand: of `policy`, the same at the rate of the video, as far back as the front-end reads it.
        start: of `inverse`, one absolute row, the state at the start frame; None where it is not known.
        truth: what the frames that are recorded after the start frame show.
    """

    observation: Observation
    layout: str
    rate: float
    frames: int
    context: Context
    actions: RolloutActions | None = None
    past: Trajectory | None = None
    hand: HandHistory | None = None
    start: Trajectory | None = None
    truth: str = ""


@dataclass(frozen=True)
class _Future:
    """The video that goals are patches of, the start frame included."""

    frames: int
    height: int
    width: int
    fps: float


@dataclass(frozen=True)
class _Reader:
    """What all modes read from: what is asked, how a model is run, what it says of itself, what is seen, and how many
    past frames are conditions."""

    spec: RolloutSpec
    settings: EgoSettings
    info: ModelInfo
    observation: Observation
    window: int

    def statistics(self, layout: str) -> Statistics:
        return Statistics.from_json(self.info.statistics_of(layout))

    @property
    def text(self) -> str:
        return self.observation.text if self.spec.text is None else self.spec.text

    def context(self, layout: str, frames: int, rate: float, sight: float = 0.0) -> Context:
        """What a rollout begins with; its history goes back as far as the window, or some seconds, if further."""
        check_uncut(self.observation, layout)
        goals, text = self.goals(frames, rate), self.text
        spacing = min(self.settings.advance, self.info.temporal_stride)
        most = max((self.window - 1) * spacing, int(np.ceil(sight * rate - 1e-6))) + 1
        history = self.observation.frames(1 - self.observation.back(rate, most), 0, rate)
        return Context(history, text, goals, self.spec.seed)

    def goals(self, frames: int, rate: float) -> Sequence[Goal]:
        """Every goal as an image, a mask and a frame."""
        if kept := [goal.name for goal in self.spec.goals if goal.keep is not None]:
            raise InputError(f"goal {kept[0]}: keep= is for a canvas; a rollout shows what the model makes of it")
        if weak := [goal for goal in self.spec.goals if goal.strength != 1]:
            rule = "is for a canvas, and a goal is given clean; leave it out"
            raise InputError(f"goal {weak[0].name}: strength={weak[0].strength:g} {rule}")
        future = _Future(frames + 1, *self.observation.size, rate)
        placed = composite(place_all(self.spec.goals, future, self.info.temporal_stride))
        for goal in placed:
            if not isinstance(goal, PlacedFrame):
                rule = "as=clip is for a canvas; a rollout takes it frame by frame, as=frames"
                raise InputError(f"goal {goal.name}: {rule}")
            if goal.frame == 0:
                raise InputError(f"goal {goal.name} lies at frame 0, which is the start frame; nearest: 1")
        pixels = [to_uint8(goal.pixels).permute(1, 2, 0).contiguous().numpy() for goal in placed]
        return [(image, goal.mask[0].numpy(), goal.frame) for image, goal in zip(pixels, placed, strict=True)]

    def known(self, last: bool) -> Trajectory | None:
        """The absolute trajectory of which the start frame is a part: that of the file, or of the episode."""
        recorded = self.observation.recorded
        known = given_trajectory(self.spec, self.info, state_at_start(recorded), last)
        if known is None:
            return recorded
        if known.form != "absolute":
            raise InputError(f"{self.spec.trajectory} is {known.form}; where the hand is takes an absolute trajectory")
        return known


def read_inputs(spec: RolloutSpec, settings: EgoSettings) -> Inputs:
    """Reads and checks all that a rollout names.

    Raises:
        InputError: a file cannot be used, or the model cannot do what is asked.
    """
    info = ModelInfo.read(settings.model, MODES[spec.mode])
    check_advance(settings.advance, info.temporal_stride)
    mode = {"forward": _forward, "policy": _policy, "inverse": _inverse}[spec.mode]
    return mode(spec, settings, info)


def _open(spec: RolloutSpec, settings: EgoSettings, info: ModelInfo, start: Start) -> _Reader:
    """Opens what is seen; where a trajectory is named, the start needs none of its own."""
    given = spec.has_trajectory
    own = (None, STATE_COLUMN) if given else (spec.layout, spec.column)
    observation = open_observation(start, (info.height, info.width), *own, needed=not given)
    window = settings.window or (info.ego.history if info.ego else 1)
    return _Reader(spec, settings, info, observation, window)


def _forward(spec: RolloutSpec, settings: EgoSettings, info: ModelInfo) -> Inputs:
    reader = _open(spec, settings, info, spec.start)
    actions, frames = read_actions(spec, reader.observation.recorded, info, reader.window * info.temporal_stride)
    layout = actions.trajectory.layout
    assert info.ego is not None, "a model without it is refused"
    rate = info.ego.rate(layout)
    context = reader.context(layout, frames, rate)
    if spec.trajectory_from is not None and _in_shares(layout):
        warn_of_other_shape(spec.trajectory_from, reader.observation)
    truth = "Truth" if not spec.has_trajectory and not spec.edits else "Recorded, under another trajectory"
    return Inputs(reader.observation, layout, rate, frames, context, actions, truth=truth)


def _policy(spec: RolloutSpec, settings: EgoSettings, info: ModelInfo) -> Inputs:
    reader = _open(spec, settings, info, spec.start)
    known = reader.known(last=True)
    start = state_at_start(known)
    if known is None or start is None:
        raise InputError(
            "mode=policy does not know where the hand is at the start frame, and the video follows its path; "
            "give --trajectory FILE (absolute, its last row the present), or start from an episode"
        )
    layout = info.choose_layout(known.layout)
    assert info.ego is not None and info.state is not None, "a model without them is refused"
    rate, statistics = info.ego.rate(layout), reader.statistics(layout)
    if spec.has_trajectory:
        check_times(known, info.state.rate(layout))
    check_values(known.rows(0, int((known.times <= TIME_TOLERANCE).sum())), statistics)
    frames = spec.frames or max(1, int(info.state.horizon / info.state.rate(layout) * rate + 1e-6))
    sight = (info.state.states - 1) / info.state.rate(layout)  # seconds between the frames that a policy looks at
    earlier = int((known.times < -TIME_TOLERANCE).sum())
    past = joined(known.rows(0, earlier), start) if earlier else start
    before = past_of(known, rate, reader.window * info.temporal_stride)
    hand = HandHistory(start if before is None else joined(before, start), statistics.form)
    context = reader.context(layout, frames, rate, sight)
    return Inputs(reader.observation, layout, rate, frames, context, past=past, hand=hand, truth="Recorded")


def _inverse(spec: RolloutSpec, settings: EgoSettings, info: ModelInfo) -> Inputs:
    seen = spec.start if spec.start.frame is not None else replace(spec.start, frame=0)
    reader = _open(spec, settings, info, seen)
    observation = reader.observation
    known = reader.known(last=False)
    layout = info.choose_layout(known.layout if known is not None else spec.layout)
    assert info.state is not None, "a model without it is refused"
    rate = info.state.rate(layout)
    most = observation.ahead(rate)
    if most < 1:
        rule = f"has no two frames {1 / rate:.3g} s apart from frame {observation.frame} on; give a longer video"
        raise InputError(f"{observation.name} {rule}")
    frames = spec.frames or most
    if frames > most:
        raise InputError(f"frames={frames} is more than {observation.name} has at {rate:g} per second; nearest: {most}")
    if frames > MOST_STEPS:
        rule = f"{MOST_STEPS} are explained at once; say how many with --frames, and from where with CLIP@FRAME"
        raise InputError(f"{observation.name} has {frames} steps and no more than {rule}")
    start = state_at_start(known)
    if spec.has_trajectory and start is not None:
        check_values(start, reader.statistics(layout))
    check_uncut(observation, layout)
    context = Context(np.zeros((0, *observation.size, 3), np.uint8), reader.text, (), spec.seed)
    return Inputs(observation, layout, rate, frames, context, start=start)


def check_uncut(observation: Observation, layout: str) -> None:
    """Refuses places that are told as shares of images which the model sees but a part of.

    Raises:
        InputError: the layout is in shares of images, and the frames are cut.
    """
    if observation.cut and _in_shares(layout):
        ratio = "{1}:{0}".format(*observation.size)
        rule = f"{layout} is in shares of whole images; give a start of the aspect ratio {ratio}"
        raise InputError(f"{observation.name} would be cut to the shape of the model's frames, and {rule}")


def warn_of_other_shape(video: str | PathLike[str], observation: Observation) -> None:
    """Logs where boxes of a video's hands are told of a start of another shape, in which they are stretched."""
    from vgen.sources.hands.footage import looked_at, same_shape

    (seen,) = looked_at([Path(video)])
    if not same_shape((seen.height, seen.width), observation.size):
        shapes = f"{seen.height}x{seen.width}, the start is shown as {{}}x{{}}".format(*observation.size)
        logger.warning("%s is of %s: its boxes are shares of the image, and are stretched with it", video, shapes)


def _in_shares(layout: str) -> bool:
    """Whether a layout tells places as shares of images."""
    kind = LAYOUTS[layout]
    return len(kind.place(kind.bodies[0])[0]) == 2
