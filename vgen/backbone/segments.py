"""Segments: the runs of tokens that enter the backbone. What is known is a condition, what is unknown is a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Role = Literal["condition", "target"]


@dataclass(frozen=True)
class Segment:
    """Latent frames with their places in time, their diffusion time and their role.

    Attributes:
        latent: [B, C, F, h, w], normalised.
        t: [B, F] float64, temporal positions in latent units; they need not be integers, sorted or distinct.
        time: [B] diffusion time in [0, 1]: 0 is clean, 1 is noise.
        role: a condition is read only; for a target the backbone predicts a velocity.
    """

    latent: Tensor
    t: Tensor
    time: Tensor
    role: Role

    def __post_init__(self) -> None:
        batch, _, frames, _, _ = self.latent.shape
        assert self.t.shape == (batch, frames), f"positions {tuple(self.t.shape)} for latent {tuple(self.latent.shape)}"
        assert self.time.shape == (batch,), f"diffusion time {tuple(self.time.shape)} for a batch of {batch}"


def condition(latent: Tensor, t: Tensor) -> Segment:
    """A condition: clean latent frames [B, C, K, h, w] at positions t [B, K], at diffusion time 0."""
    return Segment(latent, t, torch.zeros(len(latent), device=latent.device), "condition")


def target(latent: Tensor, time: Tensor) -> Segment:
    """A target on the latent grid: noisy latent [B, C, F, h, w] whose frame k lies at t = k, at diffusion time [B]."""
    batch, _, frames, _, _ = latent.shape
    grid = torch.arange(frames, device=latent.device, dtype=torch.float64)
    return Segment(latent, grid.expand(batch, frames), time, "target")
