"""Self-attention where each condition attends to itself alone (`condition_attention: independent`).

No mask: the conditions' tokens ride in the batch dimension, and the targets' queries meet the keys of all. So the keys
and values of a condition depend neither on the noise nor on other conditions, and can be kept (cache.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import torch
from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn
from einops import rearrange
from torch import Tensor

from vgen.backbone.rope import Rotation
from vgen.backbone.rounding import HALF

if TYPE_CHECKING:
    from diffusers.models.transformers.transformer_wan import WanAttention

Heads = tuple[Tensor, ...]
KeysValues = tuple[Tensor, Tensor]  # each [B, L, heads, head width]; the keys are rotated
WRITTEN_OUT = "_native_math"  # the kernel that computes attention step by step
MOST_SCORES = 2**25  # of a call that is written out: training keeps 6 bytes of each, in every block
Runs = tuple[tuple[int, int], ...]  # (conditions, tokens of each), for neighbouring conditions of equal length


def runs_of(lengths: Sequence[int]) -> Runs:
    """Neighbouring conditions of equal length, which can ride in the batch dimension together.

    Args:
        lengths: tokens of every condition, in order.
    """
    return tuple((len(list(group)), length) for length, group in groupby(lengths))


class JointProcessor:
    """Wan's self-attention (`WanAttnProcessor`), where every token attends to every token."""

    _parallel_config = None  # of diffusers' own context parallelism, which is not used

    def __init__(self, backend: str | None = None) -> None:
        self._attention_backend = backend  # set_attention_backend of diffusers sets this

    def __call__(
        self, attn: WanAttention, tokens: Tensor, text: None, attention_mask: Tensor | None, rotation: Rotation
    ) -> Tensor:
        """Tokens [B, L, D] to their update of the same shape; see `IndependentProcessor`."""
        query, key, value = project(attn, tokens)
        heads = rotate(query, rotation), rotate(key, rotation), value
        mask, backend = over_queries(attention_mask), self._attention_backend
        update = attend(heads, mask, backend).flatten(2).type_as(tokens)
        out, dropout = attn.to_out
        result: Tensor = dropout(out(update))
        return result


class IndependentProcessor:
    """Wan's self-attention (`WanAttnProcessor`) for [conditions, targets], with or without remembered conditions."""

    _parallel_config = None  # of diffusers' own context parallelism, which is not used

    def __init__(self, backend: str | None = None) -> None:
        self._attention_backend = backend  # set_attention_backend of diffusers sets this

    def __call__(
        self,
        attn: WanAttention,
        tokens: Tensor,
        text: None,
        attention_mask: Tensor | None,
        rotation: Rotation,
        runs: Runs,
        memory: KeysValues | None = None,
    ) -> tuple[Tensor, KeysValues]:
        """Tokens [B, L, D], conditions first, to their update of the same shape and the keys and values of all.

        Args:
            attention_mask: bool, which tokens are read, [B, M + L] of M remembered ones and these; None where all are.
            rotation: cos and sin of the L tokens.
            runs: how the conditions' tokens part into conditions; what follows them is targets.
            memory: keys and values of conditions that are not among the tokens, which targets attend to as well.
        """
        query, key, value = project(attn, tokens)
        query, key = rotate(query, rotation), rotate(key, rotation)
        parts, start = [], 0
        held = 0 if memory is None else memory[0].shape[1]
        for count, length in runs:
            span = slice(start, start + count * length)
            mask = None if attention_mask is None else attention_mask[:, held:][:, span]
            parts.append(self._alone((query[:, span], key[:, span], value[:, span]), count, mask))
            start = span.stop
        if start < tokens.shape[1]:
            known = [memory] if memory is not None else []
            keys, values = (torch.cat(x, dim=1) for x in zip(*known, (key, value), strict=True))
            parts.append(self._attend((query[:, start:], keys, values), attention_mask))
        update = torch.cat(parts, dim=1).flatten(2).type_as(tokens)
        out, dropout = attn.to_out
        return dropout(out(update)), (key, value)

    def _alone(self, heads: Heads, count: int, mask: Tensor | None) -> Tensor:
        riding = tuple(rearrange(x, "b (k n) h d -> (b k) n h d", k=count) for x in heads)
        mask = None if mask is None else rearrange(mask, "b (k n) -> (b k) n", k=count)
        return rearrange(self._attend(riding, mask), "(b k) n h d -> b (k n) h d", k=count)

    def _attend(self, heads: Heads, mask: Tensor | None) -> Tensor:
        return attend(heads, over_queries(mask), self._attention_backend)


def attend(heads: Heads, mask: Tensor | None, backend: str | None) -> Tensor:
    """Query, key and value [B, L, heads, head width] to what the queries read, by a kernel of diffusers.

    On a CPU the mathematics of `WRITTEN_OUT` is written out: torch's own looks for queries that may read nothing, which
    costs nearly as much as the softmax, and here there are none (pruning.py). Of more than `MOST_SCORES` the fused
    kernel takes its place, which keeps none of them for the backward pass and takes up to twice as long.

    Args:
        mask: bool, broadcast over [B, heads, L, L], True where a key is read; None: everywhere.
        backend: the kernel's name; None: the chosen one of diffusers.
    """
    query, key, value = heads
    written_out = query.device.type == "cpu" and getattr(backend, "value", backend) == WRITTEN_OUT
    if written_out and query[..., 0].numel() * key.shape[1] > MOST_SCORES:
        written_out, backend = False, AttentionBackendName.NATIVE
    if not written_out:
        update: Tensor = dispatch_attention_fn(query, key, value, attn_mask=mask, backend=backend)
        return update
    query, key, value = (x.transpose(1, 2) for x in heads)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    read: Tensor = scores.softmax(dim=-1) @ value
    return read.transpose(1, 2)


def over_queries(mask: Tensor | None) -> Tensor | None:
    """Of keys bool [B, L] that are read, the mask [B, 1, 1, L] of all heads and queries."""
    return None if mask is None else mask[:, None, None]


def project(attn: WanAttention, tokens: Tensor) -> Heads:
    """Query, key and value [B, L, heads, head width] of Wan's self-attention, before their rotation."""
    projected = attn.norm_q(attn.to_q(tokens)), attn.norm_k(attn.to_k(tokens)), attn.to_v(tokens)
    return tuple(x.unflatten(2, (attn.heads, -1)) for x in projected)


def rotate(heads: Tensor, rotation: Rotation) -> Tensor:
    """Rotary embedding of [B, L, heads, head width] in Wan's layout: neighbouring channels are a pair."""
    cos, sin = (table[..., 0::2] for table in rotation)
    if heads.dtype in HALF:  # of two passes in float32, and rounded once
        turned = torch.view_as_complex(torch.unflatten(heads.float(), -1, (-1, 2))) * torch.complex(cos, sin)
        return torch.view_as_real(turned).flatten(-2).type_as(heads)
    even, odd = torch.unflatten(heads, -1, (-1, 2)).unbind(-1)
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2).type_as(heads)
