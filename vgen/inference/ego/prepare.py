"""From a question to all that a model needs to answer it; what can be refused is refused here, before it is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from vgen.backbone.shapes import check_advance
from vgen.errors import InputError
from vgen.inference.ego.drive import (
    Drive,
    Led,
    check_frames,
    drive_by,
    drive_by_steps,
    future_of,
    joined,
    past_of,
    read_known,
    state_at_start,
    tell_of_gap,
)
from vgen.inference.ego.question import STATE_COLUMN, Question
from vgen.inference.ego.settings import Settings
from vgen.inference.ego.view import View, open_view
from vgen.inference.settings import check_settings
from vgen.media.pixels import to_uint8
from vgen.media.placing import PlacedFrame, composite, place_all
from vgen.models import ModelInfo
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import LAYOUTS, TIME_TOLERANCE, Trajectory
from vgen.trajectory.units import check_times, check_values

MOST_STEPS = 10_000  # of a video that is explained: its frames are held in memory

Goal = tuple[np.ndarray, np.ndarray, float]  # as `EgoWorld.reset` takes it


@dataclass(frozen=True)
class Scene:
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
class Prepared:
    """A question with all that it names read and checked.

    Attributes:
        info: of the model.
        view: what is seen.
        layout: of the trajectory.
        rate: frames, or of `inverse` steps, per second.
        frames: of the future, or of `inverse` steps.
        scene: what a rollout begins with; its history of `inverse` is empty.
        drive: of `forward`.
        known: of `policy` and `inverse`, the absolute trajectory that the start frame is a part of.
        truth: what the frames that are recorded after the start frame show.
    """

    info: ModelInfo
    view: View
    layout: str
    rate: float
    frames: int
    scene: Scene
    drive: Drive | None = None
    known: Trajectory | None = None
    truth: str = ""


@dataclass(frozen=True)
class _Ground:
    """What goals are patches of: the future, start frame included."""

    frames: int
    height: int
    width: int
    fps: float


def prepare(question: Question, settings: Settings) -> Prepared:
    """Reads and checks all that a question names.

    Raises:
        InputError: a file cannot be used, the model cannot answer the question, or the machine cannot do it.
    """
    check_settings(settings)
    info = ModelInfo.read(settings.model, question.parts)
    check_advance(settings.advance, info.temporal_stride)
    begin = question.start
    if question.mode == "inverse" and begin.frame is None:
        begin = replace(begin, frame=0)
    size, given = (info.height, info.width), question.source is not None
    own = (None, STATE_COLUMN) if given else (question.layout, question.column)
    view = open_view(begin, size, *own, needed=not given)
    answer = {"forward": _forward, "policy": _policy, "inverse": _inverse}[question.mode]
    prepared = answer(question, settings, info, view)
    _check_whole(view, prepared.layout)
    return prepared


def _forward(question: Question, settings: Settings, info: ModelInfo, view: View) -> Prepared:
    known = view.recorded
    if question.source is not None:
        known = read_known(question.source, question.at, state_at_start(view.recorded))
    layout = info.choose_layout(known.layout)
    rate, statistics = info.ego.rate(layout), Statistics.from_json(info.statistics_of(layout))
    if question.source is not None:
        check_times(known, rate)
    frames = check_frames(question.frames, known, rate)
    scene = _scene(question, settings, info, view, frames, rate)
    own = "Truth" if question.source is None and not question.edits else "Recorded, under another trajectory"
    if known.form != "absolute":
        if question.edits:
            raise InputError(f"edit={question.edits[0]}: the trajectory is {known.form}; give it in absolute form")
        drive = drive_by_steps(known, statistics.form, rate, frames)
        check_values(drive.actions, statistics)
        return Prepared(info, view, layout, rate, frames, scene, drive, truth=own)
    future = future_of(known, rate, frames, question.edits)
    check_values(future, statistics)
    tell_of_gap(future, state_at_start(view.recorded), statistics)
    past = _past(known, view, layout, rate, _reach(settings, info))
    return Prepared(info, view, layout, rate, frames, scene, drive_by(future, past, statistics.form), truth=own)


def _policy(question: Question, settings: Settings, info: ModelInfo, view: View) -> Prepared:
    known = _start_known(question, view, last=True)
    if state_at_start(known) is None:
        raise InputError(
            "mode=policy does not know where the hand is at the start frame, and the video follows its path; "
            "give --trajectory FILE (absolute, its last row the present), or start from an episode"
        )
    layout = info.choose_layout(known.layout)
    rate = info.ego.rate(layout)
    if question.source is not None:
        check_times(known, info.state.rate(layout))
    past = known.rows(0, int((known.times <= TIME_TOLERANCE).sum()))
    check_values(past, Statistics.from_json(info.statistics_of(layout)))
    horizon = info.state.horizon / info.state.rate(layout)
    frames = question.frames or max(1, int(horizon * rate + 1e-6))
    scene = _scene(question, settings, info, view, frames, rate, _sight(info, layout))
    return Prepared(info, view, layout, rate, frames, scene, known=known, truth="Recorded")


def _inverse(question: Question, settings: Settings, info: ModelInfo, view: View) -> Prepared:
    known = _start_known(question, view, last=False)
    layout = info.choose_layout(known.layout if known is not None else question.layout)
    rate = info.state.rate(layout)
    most = view.ahead(rate)
    if most < 1:
        rule = f"has no two frames {1 / rate:.3g} s apart from frame {view.frame} on; give a longer video"
        raise InputError(f"{view.name} {rule}")
    frames = question.frames or most
    if frames > most:
        raise InputError(f"frames={frames} is more than {view.name} has at {rate:g} per second; nearest: {most}")
    if frames > MOST_STEPS:
        rule = f"{MOST_STEPS} are explained at once; say how many with --frames, and from where with CLIP@FRAME"
        raise InputError(f"{view.name} has {frames} steps and no more than {rule}")
    start = state_at_start(known)
    if question.source is not None and start is not None:
        check_values(start, Statistics.from_json(info.statistics_of(layout)))
    scene = Scene(np.zeros((0, *view.size, 3), np.uint8), _text(question, view), (), question.seed)
    return Prepared(info, view, layout, rate, frames, scene, known=known)


def _check_whole(view: View, layout: str) -> None:
    """Refuses places that are told as shares of images which the model sees but a part of."""
    kind = LAYOUTS[layout]
    if view.cut and len(kind.place(kind.bodies[0])[0]) == 2:
        ratio = "{1}:{0}".format(*view.size)
        rule = f"{layout} is in shares of whole images; give a start of the aspect ratio {ratio}"
        raise InputError(f"{view.name} would be cut to the shape of the model's frames, and {rule}")


def led_by(prepared: Prepared, settings: Settings) -> tuple[Trajectory, Led]:
    """What a policy is told of: the trajectory up to the start frame, and the same at the rate of the video."""
    start, rate = state_at_start(prepared.known), prepared.rate
    earlier = prepared.known.times < -TIME_TOLERANCE
    past = joined(prepared.known.rows(0, int(earlier.sum())), start) if earlier.any() else start
    before = past_of(prepared.known, rate, _reach(settings, prepared.info))
    form = prepared.info.statistics_of(prepared.layout)["form"]
    return past, Led(start if before is None else joined(before, start), form)


def _start_known(question: Question, view: View, last: bool) -> Trajectory | None:
    """The absolute trajectory of which the start frame is a part: that of the file, or of the episode."""
    if question.source is None:
        return view.recorded
    known = read_known(question.source, question.at, state_at_start(view.recorded), last)
    if known.form != "absolute":
        raise InputError(f"{question.trajectory} is {known.form}; where the hand is takes an absolute trajectory")
    return known


def _past(known: Trajectory, view: View, layout: str, rate: float, most: int) -> Trajectory | None:
    """What led to the start frame: of the trajectory itself, otherwise of the episode."""
    past = past_of(known, rate, most)
    if past is None and view.recorded is not None and view.recorded.layout == layout:
        past = past_of(view.recorded, rate, most)
    return past


def _scene(
    question: Question,
    settings: Settings,
    info: ModelInfo,
    view: View,
    frames: int,
    rate: float,
    sight: float = 0.0,
) -> Scene:
    """What a rollout begins with; its history goes back as far as the window, or some seconds, if further."""
    spacing = min(settings.advance, info.temporal_stride)
    most = max((_window(settings, info) - 1) * spacing, int(np.ceil(sight * rate - 1e-6))) + 1
    history = view.frames(1 - view.back(rate, most), 0, rate)
    goals = _goals(question, _Ground(frames + 1, *view.size, rate), info.temporal_stride)
    return Scene(history, _text(question, view), goals, question.seed)


def _goals(question: Question, ground: _Ground, stride: int) -> Sequence[Goal]:
    """Every goal as an image, a mask and a frame."""
    placed = composite(place_all(question.goals, ground, stride))
    for goal in placed:
        if not isinstance(goal, PlacedFrame):
            raise InputError(f"goal {goal.name}: as=clip is for a canvas; a rollout takes it frame by frame, as=frames")
        if goal.frame == 0:
            raise InputError(f"goal {goal.name} lies at frame 0, which is the start frame; nearest: 1")
    return [(_pixels(goal.pixels), goal.mask[0].numpy(), goal.frame) for goal in placed]


def _pixels(image: Tensor) -> np.ndarray:
    return to_uint8(image).permute(1, 2, 0).contiguous().numpy()


def _sight(info: ModelInfo, layout: str) -> float:
    """Seconds between the first and the last of the frames that a policy looks at."""
    return (info.state.states - 1) / info.state.rate(layout)


def _text(question: Question, view: View) -> str:
    return view.text if question.text is None else question.text


def _reach(settings: Settings, info: ModelInfo) -> int:
    """How many rows before the start frame a rollout reads."""
    return _window(settings, info) * info.temporal_stride


def _window(settings: Settings, info: ModelInfo) -> int:
    return settings.window or info.ego.history
