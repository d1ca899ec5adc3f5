"""The shared video transformer: diffusers' Wan, taking segments at continuous positions instead of one video."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from diffusers.utils import apply_lora_scale
from einops import rearrange
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from vgen.backbone.parallel import TokenSplit, UlyssesProcessor, join_sequence_group
from vgen.backbone.rope import Rotation, rotary_embedding
from vgen.backbone.segments import Segment

TIMESTEPS = 1000  # Wan counts diffusion time in 0..1000


class SegmentBlock(WanTransformerBlock):
    """Wan's block, modulated per segment: [B, 6, D] for each run of tokens, never [B, L, 6, D]."""

    def forward(
        self,
        tokens: Tensor,
        text: Tensor,
        modulations: Sequence[Tensor],
        lengths: Sequence[int],
        rotation: Rotation,
    ) -> Tensor:
        """Tokens [B, L, D] of all segments, one after another, to tokens of the same shape.

        Args:
            text: text states [B, Lt, D].
            modulations: for each segment, the projected diffusion time [B, 6, D].
            lengths: the tokens of each segment; their sum is L.
            rotation: cos and sin of all tokens, also of those on other ranks where the sequence is split.
        """
        parts = [(self.scale_shift_table + m.float()).chunk(6, dim=1) for m in modulations]
        attend_shift, attend_scale, attend_gate, feed_shift, feed_scale, feed_gate = zip(*parts, strict=True)

        normed = modulate(self.norm1(tokens.float()), attend_scale, attend_shift, lengths).type_as(tokens)
        update = self.attn1(normed, None, None, rotation)
        tokens = (tokens.float() + gate(update, attend_gate, lengths)).type_as(tokens)

        normed = self.norm2(tokens.float()).type_as(tokens)
        tokens = tokens + self.attn2(normed, text, None, None)

        normed = modulate(self.norm3(tokens.float()), feed_scale, feed_shift, lengths).type_as(tokens)
        update = self.ffn(normed)
        return (tokens.float() + gate(update.float(), feed_gate, lengths)).type_as(tokens)


class VideoTransformer(WanTransformer3DModel):
    """`WanTransformer3DModel` over segments, with the same parameters under the same names.

    Every Wan text-to-video checkpoint and LoRA loads; a saved model loads in diffusers. With one target segment and
    no condition, it computes what the Wan model computes.
    """

    _no_split_modules: ClassVar[list[str]] = ["SegmentBlock"]
    _repeated_blocks: ClassVar[list[str]] = ["SegmentBlock"]

    @functools.wraps(WanTransformer3DModel.__init__)  # the configuration is Wan's own, and read off this signature
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        c = self.config
        width = c.num_attention_heads * c.attention_head_dim
        self.blocks = nn.ModuleList(
            SegmentBlock(
                width,
                c.ffn_dim,
                c.num_attention_heads,
                c.qk_norm,
                c.cross_attn_norm,
                c.eps,
                c.added_kv_proj_dim,
            )
            for _ in range(c.num_layers)
        )
        self.sequence_group: ProcessGroup | None = None

    def split_sequence(self, size: int) -> None:
        """From now on, every `size` neighbouring ranks share the tokens of a sample, and call `forward` together with
        the same arguments; each returns the whole result. The gradient is the mean over ranks (parallel.py).

        Raises:
            InputError: `size` does not divide both the attention heads and the ranks.
        """
        self.sequence_group = join_sequence_group(size, self.config.num_attention_heads)
        for block in self.blocks:
            backend = block.attn1.processor._attention_backend
            block.attn1.set_processor(UlyssesProcessor(self.sequence_group, backend))

    @apply_lora_scale("attention_kwargs")
    def forward(
        self,
        segments: Sequence[Segment],
        text: Tensor,
        attention_kwargs: dict[str, Any] | None = None,
    ) -> list[Tensor]:
        """Velocity ε - z of every target segment.

        Args:
            segments: conditions and targets, in the order in which their tokens enter; every token attends to all.
            text: text embeddings [B, Lt, text_dim].
            attention_kwargs: as in diffusers (`scale` weighs a LoRA).

        Returns:
            for each target, a tensor of the shape of its latent. The outputs of conditions are dropped by exact count.
        """
        tokens = torch.cat([self._embed(segment) for segment in segments], dim=1)
        rotations = [self._rotation(segment) for segment in segments]
        rotation = tuple(torch.cat(parts, dim=1) for parts in zip(*rotations, strict=True))
        times, modulations, states = self._modulation(segments, text)

        split = TokenSplit([cos.shape[1] for cos, _ in rotations], self.sequence_group)
        tokens, lengths = split.take(tokens), split.lengths
        for block in self.blocks:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                tokens = self._gradient_checkpointing_func(block, tokens, states, modulations, lengths, rotation)
            else:
                tokens = block(tokens, states, modulations, lengths, rotation)

        tokens = split.join(self._head(tokens, times, lengths))

        ends = zip(segments, tokens.split(split.whole, dim=1), strict=True)
        return [self._unpatchify(part, segment) for segment, part in ends if segment.role == "target"]

    def _embed(self, segment: Segment) -> Tensor:
        return rearrange(
            self.patch_embedding(segment.latent.to(self.dtype)),
            "b d f h w -> b (f h w) d",
        ).contiguous()

    def _rotation(self, segment: Segment) -> Rotation:
        depth, height, width = self.config.patch_size
        assert depth == 1, "positions are per latent frame, so a token spans one"
        *_, h, w = segment.latent.shape
        return rotary_embedding(segment.t, h // height, w // width, self.config.attention_head_dim)

    def _modulation(self, segments: Sequence[Segment], text: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Of each segment, the embedded diffusion time [B, D] and its projection [B, 6, D]; and the text states."""
        times, modulations = [], []
        embedder = self.condition_embedder
        for segment in segments:
            frequencies = embedder.timesteps_proj(segment.time * TIMESTEPS)
            time = embedder.time_embedder(frequencies.to(embedder.time_embedder.linear_1.weight.dtype)).type_as(text)
            times.append(time)
            modulations.append(
                rearrange(
                    embedder.time_proj(embedder.act_fn(time)),
                    "b (six d) -> b six d",
                    six=6,
                )
            )
        return times, modulations, embedder.text_embedder(text)

    def _head(self, tokens: Tensor, times: Sequence[Tensor], lengths: Sequence[int]) -> Tensor:
        parts = [(self.scale_shift_table + time.unsqueeze(1)).chunk(2, dim=1) for time in times]
        shifts, scales = zip(*parts, strict=True)
        return self.proj_out(modulate(self.norm_out(tokens.float()), scales, shifts, lengths).type_as(tokens))

    def _unpatchify(self, tokens: Tensor, segment: Segment) -> Tensor:
        _, height, width = self.config.patch_size
        *_, frames, h, w = segment.latent.shape
        grid = {"f": frames, "h": h // height, "w": w // width, "p": height, "q": width}
        return rearrange(tokens, "b (f h w) (p q c) -> b c f (h p) (w q)", **grid)


def modulate(
    tokens: Tensor,
    scales: Sequence[Tensor],
    shifts: Sequence[Tensor],
    lengths: Sequence[int],
) -> Tensor:
    """x·(1 + scale) + shift, with [B, 1, D] of its own for each segment of [B, L, D]."""
    parts = zip(tokens.split(list(lengths), dim=1), scales, shifts, strict=True)
    return torch.cat([part * (1 + scale) + shift for part, scale, shift in parts], dim=1)


def gate(tokens: Tensor, gates: Sequence[Tensor], lengths: Sequence[int]) -> Tensor:
    """x·gate, with [B, 1, D] of its own for each segment of [B, L, D]."""
    return torch.cat(
        [part * g for part, g in zip(tokens.split(list(lengths), dim=1), gates, strict=True)],
        dim=1,
    )
