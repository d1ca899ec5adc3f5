"""Segments: the runs of tokens that enter the backbone. What is known is a condition, what is unknown is a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Role = Literal["condition", "target"]


@dataclass(frozen=True)
class KeptTokens:
    """The tokens of a condition segment that are kept, where others are pruned.

    Attributes:
        index: int64 [B, L], where they stand among all tokens of the segment, condition after condition.
        lengths: how many of each condition; their sum is L.
        readable: bool [B, L], False for those that fill a condition up; None where there is none.
    """

    index: Tensor
    lengths: tuple[int, ...]
    readable: Tensor | None

    def take(self, tokens: Tensor) -> Tensor:
        """Those of all tokens [B, N, ...], as [B, L, ...]."""
        rows = torch.arange(len(self.index), device=self.index.device).unsqueeze(1)
        return tokens[rows, self.index]

    @property
    def alike(self) -> bool:
        """Whether they are the same of every video."""
        return bool((self.index == self.index[:1]).all())


@dataclass(frozen=True)
class Segment:
    """Latent frames with their places in time, their diffusion time and their role.

    Attributes:
        latent: [B, C, F, h, w], normalised.
        t: [B, F] float64, temporal positions in latent units; they need not be integers, sorted or distinct.
        time: [B] diffusion time in [0, 1]: 0 is clean, 1 is noise.
        role: a condition is read only; for a target the backbone predicts a velocity.
        clip: the frames of a condition belong together (they were encoded as one clip), so under independent
            condition attention they attend to one another. Otherwise each frame is a condition of its own.
        given: [B, F, h, w], of a condition the share of each latent pixel's pixels that is given; None: all of them.
        kept: of a condition, its tokens without those that are pruned (pruning.py); None: all of them.
    """

    latent: Tensor
    t: Tensor
    time: Tensor
    role: Role
    clip: bool = False
    given: Tensor | None = None
    kept: KeptTokens | None = None

    def __post_init__(self) -> None:
        batch, _, frames, _, _ = self.latent.shape
        assert self.t.shape == (batch, frames), f"positions {tuple(self.t.shape)} for latent {tuple(self.latent.shape)}"
        assert self.time.shape == (batch,), f"diffusion time {tuple(self.time.shape)} for a batch of {batch}"


@dataclass(frozen=True)
class Places:
    """Where tokens stand, as an adapter of the backbone's blocks is told.

    Attributes:
        frames: [B, F] float64, temporal positions of the latent frames in latent units.
        frame: [L], of each token the latent frame that it belongs to.
        target: [L] bool, whether a token is a target's.
        spot: [L, 2] float32, (y, x) of the middle of its patch as shares of the height and the width.
    """

    frames: Tensor
    frame: Tensor
    target: Tensor
    spot: Tensor

    @property
    def t(self) -> Tensor:
        """The temporal position of every token, [B, L] float64."""
        return self.frames[:, self.frame]


def condition(latent: Tensor, t: Tensor, clip: bool = False, given: Tensor | None = None) -> Segment:
    """A condition: clean latent frames [B, C, K, h, w] at positions t [B, K], at diffusion time 0.

    Args:
        clip: the K frames were encoded together as one clip; otherwise each was given alone.
        given: as of `Segment`.
    """
    return Segment(latent, t, torch.zeros(len(latent), device=latent.device), "condition", clip, given)


def target(latent: Tensor, time: Tensor, t: Tensor | None = None) -> Segment:
    """A target: noisy latent [B, C, F, h, w] at diffusion time [B], at positions t [B, F].

    Args:
        t: by default the latent grid, where frame k lies at t = k. Frame-by-frame prediction puts a single image-mode
            latent at t = τ/N.
    """
    batch, _, frames, _, _ = latent.shape
    if t is None:
        t = torch.arange(frames, device=latent.device, dtype=torch.float64).expand(batch, frames)
    return Segment(latent, t, time, "target")
