"""The three modes of a rollout: from what was read to files in a folder. The model is loaded here."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import torch

from vgen.backbone.codec import WanCodec, load_vae
from vgen.ego.pipeline import EgoPipeline
from vgen.ego.rollout import RolloutSettings
from vgen.ego.world import EgoWorld
from vgen.inference.ego.frames import Policy, follow, in_parts, whole_steps
from vgen.inference.ego.inputs import Inputs
from vgen.inference.ego.outside import StartFrame, tell_outside, tell_strange_texts
from vgen.inference.ego.report import contact_sheet, draw_over, recorded_frames, sheet_frames
from vgen.inference.ego.spec import RolloutSpec
from vgen.inference.output import write_frames
from vgen.inference.record import RunResult
from vgen.inference.settings import EgoSettings
from vgen.media.video import VideoFile
from vgen.models import STATE, TrainingRange, component_folder, resolve
from vgen.state.model import StateModel
from vgen.state.predict import explanations
from vgen.trajectory.convert import to_absolute
from vgen.trajectory.layouts import Layout
from vgen.trajectory.rotations import to_columns
from vgen.trajectory.trajectory import Trajectory


@dataclass(frozen=True)
class RolloutResult(RunResult):
    """What came out of a rollout.

    Attributes:
        mode: that was asked for.
        layout, form: of the trajectory.
        rate: frames, or of `inverse` steps, per second.
        frames: of future, without the start frame, or of `inverse` steps.
        text: what is done, as it was given or as the episode says; "" where nothing is known.
        texts: of the action, as a policy wrote them, one for each of its turns.
        spread: of `inverse`: how far the path of each body at its end differs between several explanations that were
            drawn, of which the trajectory is the mean: the standard deviation of a draw, in the layout's unit of place.
            0 where the model draws one explanation alone.
        trajectory_sha256: of the values and times of the trajectory.
        start_codec_psnr: what the codec alone holds of the start frame, in dB: the video begins no better.
    """

    mode: str
    layout: str
    form: str
    rate: float
    frames: int
    text: str
    texts: list[str]
    spread: dict[str, float]
    trajectory_sha256: str
    start_codec_psnr: float


def roll_out(
    spec: RolloutSpec, settings: EgoSettings, inputs: Inputs, folder: Path, out: str | PathLike[str]
) -> RolloutResult:
    """video.mp4 and what goes with it, of the modes that make one.

    Args:
        spec, settings: of the run.
        inputs: what was read for it.
        folder: to write in.
        out: where the folder goes; a rollout that is stopped leaves its frames beside it.
    """
    began, seconds, policy = time.perf_counter(), {}, None
    pipe = settings.load(EgoPipeline)
    pipe.set_progress_bar_config(disable=True)
    rollout = RolloutSettings(settings.advance, settings.window, settings.steps, settings.guidance)
    world = EgoWorld(pipe, inputs.layout, rollout)
    if spec.mode == "policy":
        state = StateModel.from_pretrained(component_folder(resolve(settings.model), STATE), pipe.codec)
        policy = Policy(state.to(pipe._execution_device), world, inputs.context, inputs.past, inputs.hand)
    seconds["load"] = time.perf_counter() - began
    start = StartFrame.of(pipe.codec, inputs.context.history[-1])
    trained, pipe.trained = pipe.trained, None  # it is said here, and with more than a world by itself would say
    tell_outside(pipe.label, trained, inputs, settings.advance, start)
    made = whole_steps(inputs.frames, settings.advance)
    chunks = policy.play(made) if policy else follow(world, inputs.context, inputs.actions)
    parts = in_parts(chunks, inputs.context.history[-1:], inputs.frames, seconds)
    goals = {frame: pixels for pixels, _, frame in inputs.context.goals}
    shown, fps = sheet_frames(inputs.frames + 1, goals), spec.fps or inputs.rate
    kept, digest = write_frames(parts, folder / "video.mp4", fps, set(shown), inputs.frames + 1, stopped=out)
    if policy:
        seconds["policy"] = policy.seconds
        tell_strange_texts(pipe.label, trained, policy.texts)
    trajectory = _from_start(policy.hand.rows, inputs.frames + 1) if policy else inputs.actions.trajectory
    drawing = time.perf_counter()
    drawn = draw_over(VideoFile(folder / "video.mp4").read, inputs, trajectory, folder, fps, shown)
    sections = [("Predicted", kept), *recorded_frames(inputs, shown), ("Trajectory", drawn)]
    contact_sheet(folder / "contact_sheet.png", inputs.context.text, sections, inputs.rate, goals)
    seconds |= {"draw": time.perf_counter() - drawing, "all": time.perf_counter() - began}
    return _result(spec, inputs, trajectory, seconds, start.psnr, digest, policy.texts if policy else [])


def explain(spec: RolloutSpec, settings: EgoSettings, inputs: Inputs, folder: Path) -> RolloutResult:
    """The trajectory of a video, drawn over it; arguments as of `roll_out`."""
    began, seconds = time.perf_counter(), {}
    model, device = resolve(settings.model), "cuda" if torch.cuda.is_available() else "cpu"
    vae = load_vae(component_folder(model, "vae")).to(device)
    codec = WanCodec(vae)
    state = StateModel.from_pretrained(component_folder(model, STATE), codec).to(device)
    seconds["load"] = time.perf_counter() - began
    frames = inputs.observation.frames(0, inputs.frames, inputs.rate)
    start = StartFrame.of(codec, frames[0])
    tell_outside(settings.model, TrainingRange.read(model, settings.model), inputs, None, start)
    asking, generator = time.perf_counter(), torch.Generator().manual_seed(spec.seed)
    trajectory, drawn = explanations(state, inputs.layout, frames, inputs.start, inputs.context.text, generator)
    spread = path_spread(drawn, inputs.start)
    seconds["inverse"] = time.perf_counter() - asking
    shown, fps = sheet_frames(inputs.frames + 1), spec.fps or inputs.rate
    overlaid = draw_over(lambda numbers: frames[list(numbers)], inputs, trajectory, folder, fps, shown)
    title = inputs.context.text or inputs.observation.name
    sections = [("Video", {number: frames[number] for number in shown}), ("Trajectory", overlaid)]
    contact_sheet(folder / "contact_sheet.png", title, sections, inputs.rate, {})
    seconds["all"] = time.perf_counter() - began
    return _result(spec, inputs, trajectory, seconds, start.psnr, spread=spread)


def path_spread(drawn: Sequence[Trajectory], start: Trajectory | None) -> dict[str, float]:
    """How far apart several explanations of one video end, for each body.

    Args:
        drawn: of one layout, in delta form.
        start: one absolute row, the state that they begin with; None: an upright one at the origin.

    Returns:
        The standard deviation of the place where a path ends, over all axes together: the root of the mean squared
        distance from the mean place, with n - 1, in the layout's unit of place.
    """
    start = start or _upright(drawn[0].spec)
    spread = {}
    for body in start.spec.bodies:
        columns = start.spec.place(body)
        ends = np.array([to_absolute(each, start).values[-1, columns].mean(0, np.float64) for each in drawn])
        spread[body] = float(np.sqrt(((ends - ends.mean(0)) ** 2).sum() / max(1, len(ends) - 1)))
    return spread


def _upright(layout: Layout) -> Trajectory:
    """A state at the origin, with nothing turned."""
    values = np.zeros((1, layout.width))
    for part, where in layout.slices():
        if part.type in ("pose", "rotation"):
            values[:, where] = to_columns(np.eye(4)[None], len(part.columns))
    return Trajectory(values, np.zeros(1), None, layout.name)


def _result(
    spec: RolloutSpec,
    inputs: Inputs,
    trajectory: Trajectory,
    seconds: Mapping[str, float],
    held: float,
    digest: str = "",
    texts: Sequence[str] = (),
    spread: Mapping[str, float] | None = None,
) -> RolloutResult:
    """Sums up."""
    content = trajectory.values.tobytes() + trajectory.times.tobytes()
    return RolloutResult(
        {stage: round(took, 3) for stage, took in seconds.items()},
        digest,
        spec.mode,
        inputs.layout,
        trajectory.form,
        inputs.rate,
        inputs.frames,
        inputs.context.text,
        list(texts),
        dict(spread or {}),
        hashlib.sha256(content).hexdigest(),
        round(held, 3),
    )


def _from_start(rows: Trajectory, count: int) -> Trajectory:
    """So many rows, from that of the start frame on."""
    first = int(np.searchsorted(rows.times, -1e-6))
    return rows.rows(first, first + count)
