"""Cross-attention in time: queries and keys stand at times, and a mask says what each query sees.

Times enter as rotary angles at their real values, so only their differences count and no length of the horizon is
built in; they are pixel frames, evaluated in float64.
"""

from __future__ import annotations

import torch
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from vgen.backbone.attention import KeysValues, rotate
from vgen.backbone.rope import Rotation
from vgen.backbone.rounding import RoundingNorm

SAME_TIME = 1e-6  # pixel frames: N·(τ/N) may miss τ by less


def not_later(times: Tensor, present: Tensor) -> Tensor:
    """Which of `times` [B, K] are not later than each of `present` [B, Q]: bool [B, Q, K], the causal mask."""
    return times.unsqueeze(1) <= present.unsqueeze(2) + SAME_TIME


def rotation_at(times: Tensor, head_width: int) -> Rotation:
    """cos and sin, float32 [B, K, 1, head_width], of times [B, K] in pixel frames."""
    tables = get_1d_rotary_pos_embed(
        head_width, times.double().flatten(), use_real=True, repeat_interleave_real=True, freqs_dtype=torch.float64
    )
    return tuple(table.view(*times.shape, 1, head_width) for table in tables)


class TimedAttention(nn.Module):
    """Multi-head cross-attention, in which a query that sees nothing gets exactly zero: no bias is anywhere.

    There is no key to turn to instead of what is seen: with one, an attention that begins from nothing learned at once
    to look away from the actions, and never came back.

    Args:
        query_width, context_width: channels of what asks and of what is asked.
        width: channels of all heads together.
        heads: their number; width / heads is even.
        recent: whether, to begin with, the heads prefer what is recent, each within another span (as in ALiBi, but the
            slopes are learned). Otherwise a query begins with the mean of all that it sees.
    """

    def __init__(self, query_width: int, context_width: int, width: int, heads: int, recent: bool = False) -> None:
        super().__init__()
        self.slopes = nn.Parameter(2.0 ** -torch.arange(heads)) if recent else None
        self.head_width = width // heads
        self.to_q = nn.Linear(query_width, width, bias=False)
        self.to_k = nn.Linear(context_width, width, bias=False)
        self.to_v = nn.Linear(context_width, width, bias=False)
        self.norm_q = RoundingNorm(self.head_width)
        self.norm_k = RoundingNorm(self.head_width)
        self.to_out = nn.Linear(width, query_width, bias=False)

    def keys_values(self, context: Tensor, rotation: Rotation | None) -> KeysValues:
        """Keys and values of a context [B, K, C], each [B, K, heads, head width]; without a rotation it has no time."""
        key = self.norm_k(self._heads(self.to_k(context)))
        return key if rotation is None else rotate(key, rotation), self._heads(self.to_v(context))

    def read_causally(self, queries: Tensor, times: Tensor, context: Tensor, when: Tensor) -> Tensor:
        """What queries [B, Q, D] at some times [B, Q] read of a context [B, K, C] at others [B, K]: nothing later."""
        heads = self.keys_values(context, rotation_at(when, self.head_width))
        read: Tensor = self(queries, rotation_at(times, self.head_width), heads, not_later(when, times))
        return read

    def forward(
        self,
        queries: Tensor,
        rotation: Rotation | None,
        context: KeysValues,
        visible: Tensor,
        age: Tensor | None = None,
        gain: Tensor | None = None,
    ) -> Tensor:
        """What the queries [B, Q, D] read of the context, of the same shape.

        Args:
            rotation: of the queries' times; None where the context stands at no time.
            context: keys and values.
            visible: bool [B, Q, K].
            age: how long ago each key was, pixel frames [B, Q, K]; of an attention that prefers what is recent.
            gain: [Q, width], by which what is read is multiplied before it goes out.
        """
        query = self.norm_q(self._heads(self.to_q(queries)))
        query = query if rotation is None else rotate(query, rotation)
        key, value = context
        sees = visible.any(2, keepdim=True)
        mask = (visible | ~sees).unsqueeze(1)  # a softmax over nothing is not a number
        if self.slopes is not None:
            assert age is not None, "an attention that prefers what is recent is told how long ago each key was"
            fading = self.slopes.view(-1, 1, 1) * age.unsqueeze(1).type_as(self.slopes)
            mask = torch.where(mask, -fading, -torch.inf).type_as(query)
        query, key, value = (each.transpose(1, 2) for each in (query, key, value))
        update = functional.scaled_dot_product_attention(query, key, value, mask)
        update = rearrange(update, "b h q d -> b q (h d)") * sees
        return self.to_out(update if gain is None else update * gain)

    def _heads(self, projected: Tensor) -> Tensor:
        return torch.unflatten(projected, -1, (-1, self.head_width))
