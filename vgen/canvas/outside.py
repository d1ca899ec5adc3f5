"""What of a canvas lies outside of what a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping

from vgen.canvas.placed import PlacedCanvas
from vgen.canvas.report import PatchKey
from vgen.media.placing import DEFAULT_FPS, PlacedClip
from vgen.models import TrainingRange
from vgen.models.outside import (
    Held,
    kinds_outside,
    length_outside,
    pictures_outside,
    rate_outside,
    size_outside,
    words_outside,
)


def canvas_outside(
    trained: TrainingRange, placed: PlacedCanvas, codec: Mapping[PatchKey, Held] | None = None, example: str = ""
) -> list[str]:
    """Each thing that does, in a few words; see `vgen.models.outside.outside_line`.

    Args:
        trained: What the model was trained on.
        placed: The canvas. At the rate that stands where nobody says one, nothing is told of rates.
        codec: What `codec_psnr` says of its patches; None: nothing is told of pictures.
        example: A prompt under which pictures stay; "" is none.
    """
    canvas = placed.canvas
    found = [
        size_outside(trained, canvas.height, canvas.width),
        length_outside(trained, canvas.frames),
        rate_outside(trained, placed.fps) if placed.fps != DEFAULT_FPS else "",
        kinds_outside(trained, _kinds(trained, placed)),
        pictures_outside(trained, [(name, held) for (_, name), held in (codec or {}).items()]),
        words_outside(trained, placed.prompt, example),
    ]
    return [part for part in found if part]


def _kinds(trained: TrainingRange, placed: PlacedCanvas) -> dict[str, str]:
    """What is given, in words, by the kind of training that it takes."""
    if not placed.conditions:
        return {"text": "no patch"}
    kinds = {"clip": "as=clip"} if any(isinstance(each, PlacedClip) for each in placed.conditions) else {}
    if any(each.strength < 1 for each in placed.conditions):  # which no training draws
        kinds["strength"] = "strength below 1"
    if any((each.mask < 1).any() for each in placed.conditions):  # one frame of a region is a patch, and the reverse
        kinds["region" if "region" in (trained.conditions or ()) else "patches"] = "parts of frames"
    return kinds
