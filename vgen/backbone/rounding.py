"""Normalisation, modulation and gates of tokens, in float32 or, in one pass each, in half precision.

Wan computes these in float32 and rounds the result to the type of the tokens. Under autocast, where products are
rounded anyway, rounding after each pass moves far fewer bytes, and bytes are what most of a block's time goes into on a
GPU. Every pass still computes in float32 inside.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers.models.normalization import FP32LayerNorm
from torch import Tensor, nn

HALF = (torch.bfloat16, torch.float16)


def rounds(tokens: Tensor) -> bool:
    """Whether tokens are to be rounded after each pass: under autocast, where they are of half precision."""
    return tokens.dtype in HALF and torch.is_autocast_enabled(tokens.device.type)


def modulate(
    tokens: Tensor,
    scales: Sequence[Tensor],
    shifts: Sequence[Tensor],
    lengths: Sequence[int],
) -> Tensor:
    """x·(1 + scale) + shift, with [B, 1, D] of its own for each segment of [B, L, D]."""
    parts = zip(torch.split(tokens, list(lengths), dim=1), scales, shifts, strict=True)
    return torch.cat([part * (1 + scale) + shift for part, scale, shift in parts], dim=1)


def gate(tokens: Tensor, gates: Sequence[Tensor], lengths: Sequence[int]) -> Tensor:
    """x·gate, with [B, 1, D] of its own for each segment of [B, L, D]."""
    parts = zip(torch.split(tokens, list(lengths), dim=1), gates, strict=True)
    return torch.cat([part * own for part, own in parts], dim=1)


def modulated(tokens: Tensor, scales: Sequence[Tensor], shifts: Sequence[Tensor], lengths: Sequence[int]) -> Tensor:
    """What `modulate` gives, in the tokens' own type."""
    parts = zip(torch.split(tokens, list(lengths), dim=1), scales, shifts, strict=True)
    kind = tokens.dtype
    return _joined([torch.addcmul(shift.to(kind), part, (1 + scale).to(kind)) for part, scale, shift in parts])


def gated(tokens: Tensor, update: Tensor, gates: Sequence[Tensor], lengths: Sequence[int]) -> Tensor:
    """x + update·gate, as of `gate`, in the tokens' own type."""
    parts = zip(*(torch.split(x, list(lengths), dim=1) for x in (tokens, update)), gates, strict=True)
    return _joined([torch.addcmul(part, more.to(part.dtype), own.to(part.dtype)) for part, more, own in parts])


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)


class RoundingNorm(nn.RMSNorm):
    """`RMSNorm` with the same weights, whose result is of its input's type under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        """x [..., D]."""
        if not rounds(x):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return F.rms_norm(x, self.normalized_shape, _like(self.weight, x), self.eps)


class RoundingLayerNorm(FP32LayerNorm):
    """Wan's layer norm with the same weights, whose result is of its input's type under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        """x [..., D]."""
        if not rounds(x):
            plain: Tensor = super().forward(x)
            return plain
        with torch.autocast(x.device.type, enabled=False):
            return F.layer_norm(x, self.normalized_shape, _like(self.weight, x), _like(self.bias, x), self.eps)


def _like(weight: Tensor | None, x: Tensor) -> Tensor | None:
    return None if weight is None else weight.to(x.dtype)


def let_round(block: nn.Module) -> None:
    """Gives the norms of a block these classes; their weights keep their names."""
    for module in block.modules():
        if type(module) is nn.RMSNorm:
            module.__class__ = RoundingNorm
        elif type(module) is FP32LayerNorm:
            module.__class__ = RoundingLayerNorm
