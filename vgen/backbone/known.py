"""What the transformer is told beside the noise, and the velocity that follows from it, guided or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from vgen.backbone.cache import ConditionCache
from vgen.backbone.conditioning import Conditioning
from vgen.backbone.segments import Segment, target
from vgen.backbone.transformer import BlockAdapter, VideoTransformer

Velocity = Callable[[Tensor, Tensor], Tensor]
"""Of noisy latents [B, C, F, h, w] at diffusion times [B] in [0, 1], the velocity ε - z, float32."""


@dataclass(frozen=True)
class Known:
    """All that the transformer is told of a batch beside the noise, the same at every step.

    Attributes:
        text: embeddings [B, Lt, D].
        conditions: those that are computed at every step.
        cache: those that are remembered.
        adapter: what acts on the tokens after each block.
    """

    text: Tensor
    conditions: Sequence[Segment] = ()
    cache: ConditionCache | None = None
    adapter: BlockAdapter | None = None

    @classmethod
    @torch.no_grad()
    def of_text(
        cls,
        transformer: VideoTransformer,
        text: Tensor,
        conditions: Sequence[Segment],
        cache: ConditionCache | None = None,
        attention_kwargs: dict[str, Any] | None = None,
        remember: bool = True,
    ) -> Self:
        """A text and conditions, which are computed here, once for all steps, where the model allows it.

        It does where its condition attention is independent. What is remembered takes 2 · blocks · B · L · width
        numbers for L tokens of conditions, for each text apart. In bfloat16 an image of 384x672 takes 186 MB with Wan
        2.1 1.3B and 826 MB with its 14B; one of 64 tokens takes 1 MB in float32 with 8 blocks of width 256.

        Args:
            cache: of conditions that are remembered already.
            attention_kwargs: as in diffusers (`scale` weighs a LoRA).
            remember: False leaves the conditions to every step, in less memory.
        """
        if not (conditions and remember and transformer.independent):
            return cls(text, conditions, cache)
        new = transformer.remember(conditions, text, attention_kwargs=attention_kwargs)
        return cls(text, cache=new if cache is None else ConditionCache.concatenate([cache, new]))


def velocity_of(
    transformer: VideoTransformer,
    known: Sequence[Known],
    guidance: float = 1.0,
    t: Tensor | None = None,
    attention_kwargs: dict[str, Any] | None = None,
    conditioning: Conditioning | None = None,
) -> Velocity:
    """The velocity under what is known.

    Args:
        known: c; and where there is a second, u, which lacks the text or the actions: the velocity is then that of
            classifier-free guidance, u + w·(c - u).
        guidance: w.
        t: [B, F] positions of the target; None: the latent grid.
        attention_kwargs: as in diffusers (`scale` weighs a LoRA).
        conditioning: how the noisy latents enter the transformer; its segments are told in `known`.
    """

    def one(known: Known, noisy: Segment) -> Tensor:
        segments = [*known.conditions, noisy]
        outputs: list[Tensor] = transformer(
            segments, known.text, attention_kwargs=attention_kwargs, adapter=known.adapter, cache=known.cache
        )
        return outputs[0].float()

    def velocity(latents: Tensor, time: Tensor) -> Tensor:
        noisy = target(latents if conditioning is None else conditioning.enter(latents), time, t)
        first, *others = (one(each, noisy) for each in known)
        return guided(first, others[0], guidance) if others else first

    return velocity


def guided(known: Tensor, without: Tensor, guidance: float) -> Tensor:
    """Classifier-free guidance u + w·(c - u)."""
    return without + guidance * (known - without)
