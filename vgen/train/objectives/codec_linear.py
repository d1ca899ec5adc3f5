"""A codec from nothing that starts as the best linear code: its encoder learns that code, and its decoder reads it.

The two learn apart then, each from what it is to see in the end, rather than from what the other makes meanwhile. All
channels are in use from the first step on; a codec that begins otherwise leaves some unused for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from vgen.errors import InputError
from vgen.metrics import LinearCode


@dataclass
class LinearStart:
    """What latents are to be at the start.

    Attributes:
        code: the best linear code of training clips.
        deviation: of each of its numbers over them, [C, 1, 1, 1]; latents have a deviation of 1.
    """

    code: LinearCode
    deviation: Tensor

    @classmethod
    def of(cls, videos: Sequence[Tensor], vae: AutoencoderKLWan) -> LinearStart:
        """Of videos [B, 3, 1 + N·k, H, W] in [-1, 1], for the latents of a VAE."""
        config = vae.config
        code = LinearCode.fit(videos, config.z_dim, config.scale_factor_spatial, config.scale_factor_temporal)
        numbers = torch.cat([code.encode(video).transpose(0, 1).flatten(1) for video in videos], 1)
        return cls(code, numbers.std(1).clamp(min=1e-6).view(-1, 1, 1, 1))

    def to(self, device: torch.device) -> LinearStart:
        """The same on a device."""
        self.code, self.deviation = self.code.to(device), self.deviation.to(device)
        return self

    def latent(self, video: Tensor) -> Tensor:
        """The latent [B, C, 1 + k, h, w] that a video is to have."""
        return self.code.encode(video) / self.deviation


def check_linear_start(share: float, vae: AutoencoderKLWan) -> None:
    """InputError unless a VAE's latents can begin so, for a share of a run."""
    name = f"objective.linear_start={share:g}"
    if not 0 <= share <= 1:
        raise InputError(f"{name} is a share of the run; nearest: {min(max(share, 0), 1):g}")
    most = 3 * vae.config.scale_factor_spatial**2
    if share and vae.config.z_dim > most:
        raise InputError(
            f"{name}: z_dim={vae.config.z_dim} is more than the {most} numbers of a block; nearest: {most}"
        )
