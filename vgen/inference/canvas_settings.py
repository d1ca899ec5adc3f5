"""How a canvas is completed: the settings of a run, and its frames as they come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from vgen import checks
from vgen.canvas.extend import MAX_TOTAL, extend, loop
from vgen.canvas.spec import Canvas
from vgen.errors import InputError
from vgen.inference.settings import RunSettings

if TYPE_CHECKING:
    from vgen.canvas.pipeline import CanvasOutput, CanvasPipeline
    from vgen.canvas.placed import PlacedCanvas


@dataclass(frozen=True)
class Settings(RunSettings):
    """All but the canvas that decides on a video; what `tools/infer.py` takes. The guidance is that of the text.

    Attributes:
        extend_to: Frames of the whole video, made segment by segment; None is one pass over the canvas.
        loop: Closes the extended video on its beginning.

    Raises:
        InputError: a value breaks its rule.
    """

    extend_to: int | None = None
    loop: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.extend_to is not None:
            checks.whole("extend-to", self.extend_to, 1, MAX_TOTAL)
        if self.loop and self.extend_to is None:
            raise InputError("loop=True needs extend-to; or put one image at frames 0 and -1 of the canvas")


def generate(
    pipe: CanvasPipeline, placed: PlacedCanvas, settings: Settings, timings: dict[str, float]
) -> Iterator[np.ndarray]:
    """The frames of the whole video, as they come: uint8 `[t, H, W, 3]`, in one piece or segment by segment.

    Args:
        pipe: As `vgen.inference.settings.load_pipeline` returns it.
        placed: What to complete; the seed of its canvas makes the noise.
        settings: Steps, guidance, length.
        timings: The seconds of each stage are added to it.
    """

    canvas = placed.canvas

    def complete(part: Canvas, *, generator: torch.Generator | None = None) -> CanvasOutput:
        numbers = {"num_inference_steps": settings.steps, "guidance_scale": settings.guidance}
        output = pipe(placed if part is canvas else part, generator=generator, **numbers)
        for stage, seconds in output.timings.items():
            timings[stage] = timings.get(stage, 0.0) + seconds
        return output

    generator = torch.Generator().manual_seed(canvas.seed)
    if settings.extend_to is None:
        return iter([complete(canvas, generator=generator).video])
    lengthen = loop if settings.loop else extend
    return lengthen(complete, canvas, settings.extend_to, generator=generator)
