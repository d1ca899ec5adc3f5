"""Training the canvas: flow matching on target tokens, with in-context conditions (VideoCanvas, section 4)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vgen.train.objectives.base import by_noise
from vgen.train.objectives.canvases import CanvasBatch, CanvasConfig
from vgen.train.objectives.video import VideoObjective


class CanvasObjective(VideoObjective[CanvasBatch]):
    """Velocity matching: z_s = (1-s)·z + s·ε, the model predicts ε - z on the target; conditions are clean."""

    Config = CanvasConfig

    def batch(self, step: int, part: int, parts: int, progress: float) -> CanvasBatch:
        """Clips of one bucket, and the pixels that are given of them."""
        return self.canvases.batch(step, part, parts)

    def tokens(self, batch: CanvasBatch) -> int:
        """How many tokens the targets and conditions are."""
        return self.canvases.tokens(batch)

    def forward(self, batch: CanvasBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss [B] at random diffusion times, and the losses of each band of noise."""
        loss, time = self.canvases.random_loss(batch)
        return loss, by_noise(loss, time)

    @torch.no_grad()
    def validate(self, rank: int, world: int, after_batch: Callable[[], None]) -> dict[str, float]:
        """The loss on held-out clips at fixed noise, diffusion times and conditions."""
        return self.canvases.validate(rank, world, after_batch)
