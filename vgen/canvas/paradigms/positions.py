"""In-context conditions, each a run of tokens of its own beside the target; paradigms differ in where they stand in
time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vgen.backbone.codec import Codec
from vgen.backbone.conditioning import Conditioning
from vgen.backbone.encoding import Given
from vgen.canvas.paradigms.paradigm import Shape


@dataclass(frozen=True)
class Positions:
    """Conditions in context, of which a rule says where they stand. Each latent of a clip has a position of its own.

    Attributes:
        place: from true positions t = τ/N, [B, K] float64 in the order in which they are given, and F of the target, to
            the positions that the model is told.
    """

    place: Callable[[Tensor, int], Tensor]

    def conditioning(self, codec: Codec, given: Sequence[Given], shape: Shape) -> Conditioning:
        """Segments beside the target; see `Paradigm`."""
        segments = [each.encode(codec) for each in given]
        if not segments:
            return Conditioning()
        positions = self.place(torch.cat([segment.t for segment in segments], dim=1), shape[2])
        parts = torch.split(positions, [segment.t.shape[1] for segment in segments], dim=1)
        return Conditioning([replace(segment, t=t) for segment, t in zip(segments, parts, strict=True)])

    def frames_beside(self, given: int, target: int) -> int:
        """All that are given; see `Paradigm`."""
        return given


def true_times(t: Tensor, frames: int) -> Tensor:
    """t = τ/N: temporal RoPE interpolation, the paper's own."""
    return t


def nearest_slots(t: Tensor, frames: int) -> Tensor:
    """t = round(τ/N), the latent slot that is nearest; half-way between two it is the later, whose window τ lies in."""
    return (t + 0.5).floor()


def behind_the_target(t: Tensor, frames: int) -> Tensor:
    """F, F + 1 ... in order of time: integer positions past the target's 0 ... F-1. Of those at one time, the first
    that is given comes first."""
    order = t.argsort(dim=1, stable=True)
    return frames + order.argsort(dim=1).to(t)


def nowhere(t: Tensor, frames: int) -> Tensor:
    """t = 0 for all: the model is not told when they are."""
    return torch.zeros_like(t)
