"""Numbers as waves of several lengths, from which a small network learns fine detail fast (NeRF, equation 4)."""

import math

import torch
from torch import Tensor


def fourier_features(values: Tensor, octaves: int) -> Tensor:
    """[..., D] to [..., 2·octaves·D]: sin and cos of π/2·2^k·value for k = 0 .. octaves - 1."""
    frequencies = math.pi / 2 * 2.0 ** torch.arange(octaves, device=values.device)
    angles = (values.unsqueeze(-1) * frequencies.to(values)).flatten(-2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
