"""Fourier features: numbers as sines and cosines of several wavelengths, of which a network learns fine detail fast."""

import math

import torch
from torch import Tensor


def fourier_features(values: Tensor, octaves: int) -> Tensor:
    """Sines and cosines of π/2·2^k·value, k = 0 .. octaves - 1: [..., D] to [..., 2·octaves·D] (NeRF, equation 4)."""
    frequencies = math.pi / 2 * 2.0 ** torch.arange(octaves, device=values.device)
    angles = (values.unsqueeze(-1) * frequencies.to(values)).flatten(-2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
