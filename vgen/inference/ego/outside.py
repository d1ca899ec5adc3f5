"""What of a rollout lies outside of what a model was trained on, in one line."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from vgen.backbone.codec import Codec
from vgen.inference.ego.inputs import Inputs
from vgen.inference.ego.trajectories import state_at_start
from vgen.media.pixels import to_unit
from vgen.metrics.pixels import psnr
from vgen.models import TrainingRange
from vgen.models.outside import (
    Held,
    advance_outside,
    hand_outside,
    outside_line,
    pictures_outside,
    place_outside,
    scene_outside,
    speed_outside,
    strange_words,
    words_outside,
)
from vgen.models.picture_probe import latent_looks, means_of
from vgen.trajectory.places import body_speeds, joint_place, known_rows
from vgen.trajectory.trajectory import Trajectory

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StartFrame:
    """What the codec makes of a start frame in image mode.

    Attributes:
        psnr: of the frame after encoder and decoder, in dB.
        looks: of its latent, see `latent_looks`.
    """

    psnr: float
    looks: np.ndarray

    @classmethod
    def of(cls, codec: Codec, frame: np.ndarray) -> Self:
        """Of a frame uint8 [H, W, 3]."""
        picture = to_unit(torch.from_numpy(frame)).permute(2, 0, 1)[None]
        latent = codec.encode_image(picture)
        made = codec.decode(latent).cpu()
        looks = latent_looks(latent[:, :, 0].float().cpu().numpy())[0]
        return cls(psnr(made, picture[:, :, None]).item(), looks)


def tell_outside(
    model: str, trained: TrainingRange | None, inputs: Inputs, advance: int | None, start: StartFrame
) -> None:
    """Logs what lies outside, where anything does and the model's folder says what it was trained on.

    Args:
        model: as the line is to name it.
        trained: what it was trained on.
        inputs: of the rollout.
        advance: frames that are made at once; None where none are made.
        start: what the codec makes of the start frame.
    """
    if trained is None:
        return
    picture = pictures_outside(trained, [(inputs.observation.name, Held(start.psnr))])
    told = _told(inputs)
    found = [
        "" if advance is None else advance_outside(trained, advance),
        picture or scene_outside(trained, inputs.layout, start.looks),  # the latent of a strange picture tells nothing
        *_trajectory_outside(trained, told),
        "" if picture else _apart(trained, told, start.looks),
        words_outside(trained, inputs.context.text),
    ]
    if line := outside_line(model, found):
        logger.warning("%s", line)


def tell_strange_texts(model: str, trained: TrainingRange | None, texts: Sequence[str]) -> None:
    """Logs which texts of a policy are no sentences of its training, as far as the words of its captions tell.

    Args:
        model: as the line is to name it.
        trained: what it was trained on.
        texts: as the policy wrote them.
    """
    if trained is None:
        return
    for text in dict.fromkeys(texts):
        if words := strange_words(trained, text):
            logger.warning('the text "%s" is no sentence that %s was trained on: no caption has %s', text, model, words)


def _told(inputs: Inputs) -> Trajectory | None:
    """What is told of the hand: where it goes, where it has been, or where it is."""
    return inputs.actions.trajectory if inputs.actions is not None else inputs.past or inputs.start


def _trajectory_outside(trained: TrainingRange, told: Trajectory | None) -> list[str]:
    """Where an absolute trajectory begins, and how fast it is."""
    if told is None or told.form != "absolute":
        return []
    start, names = state_at_start(told), told.spec.names
    seen = [] if start is None else [body for body in told.spec.bodies if known_rows(start, body)[0]]
    columns = sorted({column for body in seen for point in told.spec.place(body) for column in point})
    places = {} if start is None else {names[column]: float(start.values[0, column]) for column in columns}
    speeds = {body: float(found.max()) for body in told.spec.bodies if len(found := body_speeds(told, body))}
    return [
        place_outside(trained, told.layout, places),
        speed_outside(trained, told.layout, speeds, _unit(told)),
    ]


def _apart(trained: TrainingRange, told: Trajectory | None, looks: np.ndarray) -> str:
    """How far the start of a trajectory is from the hand in a picture of its own scenes; where all hands are seen."""
    start = state_at_start(told)
    if start is None or scene_outside(trained, start.layout, looks):
        return ""
    if not all(known_rows(start, body)[0] for body in start.spec.bodies):
        return ""
    return hand_outside(trained, start.layout, means_of(looks), joint_place(start, 0), _unit(start))


def _unit(trajectory: Trajectory) -> str:
    """Of places; in an image, they are shares of its sides."""
    column = trajectory.spec.place(trajectory.spec.bodies[0])[0][0]
    return "m" if trajectory.spec.columns[column].unit == "m" else "widths"
