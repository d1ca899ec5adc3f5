"""Token sequences that a state model reads: put together from parts, of which some have nothing in places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class TokenSequence(NamedTuple):
    """Tokens [B, L, W], and bool [B, L] where there is something."""

    tokens: Tensor
    valid: Tensor


def joined(parts: Sequence[TokenSequence]) -> TokenSequence:
    """The parts, one after another, in the type of the last."""
    dtype = parts[-1].tokens.dtype
    tokens = torch.cat([part.tokens.to(dtype) for part in parts], 1)
    return TokenSequence(tokens, torch.cat([part.valid for part in parts], 1))


def positions_of(valid: Tensor) -> Tensor:
    """Positions [B, L] that count only what is there: padding moves nothing."""
    return (valid.long().cumsum(1) - 1).clamp(min=0)
