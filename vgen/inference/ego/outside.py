"""What of a rollout lies outside of what a model was trained on, in one line."""

from __future__ import annotations

import logging

import numpy as np
import torch

from vgen.backbone.codec import Codec
from vgen.backbone.encoding import rebuild
from vgen.inference.ego.inputs import Inputs
from vgen.inference.ego.trajectories import state_at_start
from vgen.media.pixels import to_unit
from vgen.metrics.pixels import psnr
from vgen.models import TrainingRange
from vgen.models.outside import (
    Held,
    advance_outside,
    outside_line,
    pictures_outside,
    place_outside,
    speed_outside,
    words_outside,
)
from vgen.trajectory.places import body_speeds
from vgen.trajectory.trajectory import Trajectory

logger = logging.getLogger(__name__)


def codec_holds(codec: Codec, frame: np.ndarray) -> float:
    """PSNR in dB of a frame uint8 [H, W, 3] that went through the codec in image mode."""
    picture = to_unit(torch.from_numpy(frame)).permute(2, 0, 1)[None]
    made = rebuild(codec, picture, torch.ones_like(picture[:, :1]))
    return psnr(made[:, :, None], picture[:, :, None]).item()


def tell_outside(model: str, trained: TrainingRange | None, inputs: Inputs, advance: int | None, held: float) -> None:
    """Logs what lies outside, where anything does and the model's folder says what it was trained on.

    Args:
        model: as the line is to name it.
        trained: what it was trained on.
        inputs: of the rollout.
        advance: frames that are made at once; None where none are made.
        held: PSNR in dB of the start frame after the codec.
    """
    if trained is None:
        return
    found = [
        "" if advance is None else advance_outside(trained, advance),
        pictures_outside(trained, {inputs.observation.name: Held(held)}),
        *_trajectory_outside(trained, _told(inputs)),
        words_outside(trained, inputs.context.text),
    ]
    if line := outside_line(model, found):
        logger.warning("%s", line)


def _told(inputs: Inputs) -> Trajectory | None:
    """What is told of the hand: where it goes, where it has been, or where it is."""
    return inputs.actions.trajectory if inputs.actions is not None else inputs.past or inputs.start


def _trajectory_outside(trained: TrainingRange, told: Trajectory | None) -> list[str]:
    """Where an absolute trajectory begins, and how fast it is."""
    if told is None or told.form != "absolute":
        return []
    start, names = state_at_start(told), told.spec.names
    columns = sorted({c for body in told.spec.bodies for point in told.spec.place(body) for c in point})
    places = {} if start is None else {names[column]: float(start.values[0, column]) for column in columns}
    speeds = {body: float(found.max()) for body in told.spec.bodies if len(found := body_speeds(told, body))}
    unit = told.spec.columns[columns[0]].unit
    return [
        place_outside(trained, told.layout, places),
        speed_outside(trained, told.layout, speeds, "m" if unit == "m" else "widths"),
    ]
