"""A completed case, as every measure takes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from torch import Tensor

from vgen.canvas.placed import PlacedCanvas
from vgen.media.pixels import to_unit


class Named(Protocol):
    """A case of a bench, as far as measures look at it."""

    @property
    def name(self) -> str: ...  # noqa: D102 (as are the others, by the class)
    @property
    def group(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Completed:
    """One case with the video that a model made of it.

    Attributes:
        case: Of the bench.
        video: What was made, uint8 `[T, H, W, 3]`.
        truth: What was to be made, of the same shape; None where the bench has none, as of unrelated scenes.
        given: What lies where on the canvas.
        fps: Frames per second of the video.
    """

    case: Named
    video: np.ndarray
    truth: np.ndarray | None
    given: PlacedCanvas
    fps: float

    @property
    def prompt(self) -> str:
        """What the video was to show; may be empty."""
        return self.given.prompt

    @cached_property
    def made(self) -> Tensor:
        """The video as metrics take it, `[1, 3, T, H, W]` in [-1, 1]."""
        return batch_of_one(self.video)

    @cached_property
    def true(self) -> Tensor | None:
        """The truth as metrics take it, `[1, 3, T, H, W]` in [-1, 1]."""
        return None if self.truth is None else batch_of_one(self.truth)


Measure = Callable[[Completed], dict[str, float]]
"""Values of one case by the names of `meanings.MEANINGS`; a value that is not defined for a case is not among them."""


def batch_of_one(video: np.ndarray) -> Tensor:
    """uint8 `[T, H, W, 3]` as metrics take it, `[1, 3, T, H, W]` in [-1, 1]."""
    return to_unit(video).permute(3, 0, 1, 2)[None]
