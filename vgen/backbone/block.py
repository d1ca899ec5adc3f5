"""A block of the transformer over segments, each with a diffusion time of its own."""

from __future__ import annotations

from collections.abc import Sequence

from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from torch import Tensor

from vgen.backbone.attention import KeysValues, Runs
from vgen.backbone.rope import Rotation
from vgen.backbone.rounding import gate, gated, modulate, modulated, rounds


class SegmentBlock(WanTransformerBlock):
    """Wan's block, modulated per segment: [B, 6, D] for each run of tokens, never [B, L, 6, D]."""

    def forward(
        self,
        tokens: Tensor,
        text: Tensor,
        modulations: Sequence[Tensor],
        lengths: Sequence[int],
        rotation: Rotation,
        runs: Runs | None = None,
        memory: KeysValues | None = None,
        readable: Tensor | None = None,
    ) -> tuple[Tensor, KeysValues | None]:
        """Tokens [B, L, D] of all segments, one after another, to tokens of the same shape.

        Args:
            text: text states [B, Lt, D].
            modulations: for each segment, the projected diffusion time [B, 6, D].
            lengths: the tokens of each segment; their sum is L.
            rotation: cos and sin of all tokens, also of those on other ranks where the sequence is split.
            runs: under independent condition attention, how the first tokens part into conditions; else None.
            memory: keys and values of remembered conditions, where there are any.
            readable: bool, which tokens are read, those that are remembered first; None where all are.

        Returns:
            the tokens and, under independent condition attention, their keys and values.
        """
        parts = [(self.scale_shift_table + m.float()).chunk(6, dim=1) for m in modulations]
        attend_shift, attend_scale, attend_gate, feed_shift, feed_scale, feed_gate = zip(*parts, strict=True)

        if rounds(tokens):  # the same, rounded after each pass
            read = modulated(self.norm1(tokens), attend_scale, attend_shift, lengths)
            update, heads = self._attend(read, rotation, runs, memory, readable)
            tokens = gated(tokens, update, attend_gate, lengths)
            tokens = tokens + self.attn2(self.norm2(tokens), text, None, None)
            read = modulated(self.norm3(tokens), feed_scale, feed_shift, lengths)
            return gated(tokens, self.ffn(read), feed_gate, lengths), heads

        read = modulate(self.norm1(tokens.float()), attend_scale, attend_shift, lengths).type_as(tokens)
        update, heads = self._attend(read, rotation, runs, memory, readable)
        tokens = (tokens.float() + gate(update, attend_gate, lengths)).type_as(tokens)

        read = self.norm2(tokens.float()).type_as(tokens)
        tokens = tokens + self.attn2(read, text, None, None)

        read = modulate(self.norm3(tokens.float()), feed_scale, feed_shift, lengths).type_as(tokens)
        update = self.ffn(read)
        return (tokens.float() + gate(update.float(), feed_gate, lengths)).type_as(tokens), heads

    def _attend(
        self, tokens: Tensor, rotation: Rotation, runs: Runs | None, memory: KeysValues | None, readable: Tensor | None
    ) -> tuple[Tensor, KeysValues | None]:
        if runs is None:
            return self.attn1(tokens, None, readable, rotation), None
        update, heads = self.attn1(tokens, None, readable, rotation, runs=runs, memory=memory)
        return update, heads
