"""Sequence parallelism: the tokens of one sample over several ranks, by DeepSpeed's Ulysses (arXiv 2309.14509).

Each rank of a sequence group holds an equal run of the tokens, whatever segments they belong to. All that a block does
to one token stays on its rank, cross-attention to the text too; for self-attention an all-to-all gives each rank all
tokens of a share of the heads. Every parameter is used on the rank's own tokens alone, so a rank has one part of the
gradient; it is scaled so that the mean over ranks, which every data-parallel engine takes, is the gradient of the
whole. The engine therefore needs to know nothing of the groups. (DeepSpeed 0.19 can be told of them, and then ZeRO 0
to 2 take the sum over a group, but ZeRO 3 the mean.)

deepspeed is imported where it is needed: without sequence parallelism nothing here asks for it.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch import Tensor
from torch.nn import functional

from vgen.backbone.attention import project, rotate
from vgen.backbone.rope import Rotation
from vgen.errors import InputError

if TYPE_CHECKING:
    from diffusers.models.transformers.transformer_wan import WanAttention


def join_sequence_group(size: int, heads: int) -> dist.ProcessGroup:
    """Puts every `size` neighbouring ranks into one sequence group; called on all ranks together.

    Args:
        size: ranks that share the tokens of a sample.
        heads: attention heads of the model.

    Returns:
        the group of this rank.

    Raises:
        InputError: `size` does not divide both the heads and the ranks.
    """
    ranks = dist.get_world_size()
    common = math.gcd(heads, ranks)
    if common % size:
        legal = [n for n in range(1, common + 1) if common % n == 0]
        nearest = min(legal, key=lambda n: abs(n - size))
        raise InputError(
            f"sequence_parallel_size={size} must divide the {heads} attention heads and the {ranks} ranks;"
            f" nearest: {nearest}"
        )
    return _group(size)


@functools.cache  # made once in a process, for all models in it
def _group(size: int) -> dist.ProcessGroup:
    from deepspeed.runtime.sequence_parallel import parallel_state_sp

    parallel_state_sp.initialize_sequence_parallel(size)
    group: dist.ProcessGroup = parallel_state_sp.get_sequence_parallel_group()
    return group


@dataclass(frozen=True)
class TokenSplit:
    """Which of the tokens of all segments this rank holds. Without a group: all of them.

    Where the tokens do not divide evenly, the last ranks hold some empty ones at the end, of the last segment. They
    are dropped before self-attention and before the output, so they change no result and no gradient.

    Attributes:
        whole: tokens of each segment, on all ranks together.
        group: the ranks that share them, or None.
    """

    whole: list[int]
    group: dist.ProcessGroup | None = None

    @property
    def size(self) -> int:
        """Ranks that share the tokens."""
        return dist.get_world_size(self.group) if self.group else 1

    @property
    def rank(self) -> int:
        """This rank among them."""
        return dist.get_rank(self.group) if self.group else 0

    @property
    def share(self) -> int:
        """Tokens per rank, the empty ones included."""
        return -(-sum(self.whole) // self.size)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each segment on this rank; their sum is `share`."""
        first, ends = self.rank * self.share, 0
        lengths: list[int] = []
        for length in self.whole:
            ends += length
            lengths.append(max(0, min(ends - first, self.share) - sum(lengths)))
        lengths[-1] += self.share - sum(lengths)
        return lengths

    def take(self, tokens: Tensor) -> Tensor:
        """This rank's tokens [B, share, D] of all [B, L, D]."""
        if self.group is None:
            return tokens
        empty = self.share * self.size - tokens.shape[1]
        return functional.pad(tokens, (0, 0, 0, empty)).narrow(1, self.rank * self.share, self.share)

    def join(self, tokens: Tensor) -> Tensor:
        """All tokens [B, L, D] from every rank's [B, share, D]. Gradients go to this rank's own, times the number of
        ranks; the others compute theirs."""
        if self.group is None:
            return tokens
        if tokens.requires_grad:
            tokens.register_hook(lambda gradient: gradient * self.size)  # type: ignore[no-untyped-call]  # torch's
        parts = [torch.empty_like(tokens, memory_format=torch.contiguous_format) for _ in range(self.size)]
        dist.all_gather(parts, tokens.detach().contiguous(), group=self.group)
        parts[self.rank] = tokens
        return torch.cat(parts, dim=1)[:, : sum(self.whole)]


class UlyssesProcessor:
    """Wan's self-attention (`WanAttnProcessor`) for tokens that are split over the ranks of a group.

    The rotation is that of all tokens: it is applied after the exchange, where a rank has all tokens.
    """

    _parallel_config = None  # of diffusers' own context parallelism, which is not used

    def __init__(self, group: dist.ProcessGroup, backend: str | None) -> None:
        from deepspeed.sequence.layer import DistributedAttention

        self._attention_backend = backend  # set_attention_backend of diffusers sets this
        # A compiled block breaks off here: traced, the exchange would lose its gradient without a word.
        exchange = DistributedAttention(self._attend, group, scatter_idx=2, gather_idx=1)
        self.exchange = torch.compiler.disable(exchange)  # type: ignore[no-untyped-call]  # torch's

    def __call__(
        self, attn: WanAttention, tokens: Tensor, text: None, attention_mask: None, rotation: Rotation
    ) -> Tensor:
        """Tokens [B, share, D] to tokens of the same shape; `rotation` has cos and sin of all L tokens."""
        query, key, value = project(attn, tokens)
        update: Tensor = self.exchange(query, key, value, 0, None, rotation).flatten(2)
        out, dropout = attn.to_out
        result: Tensor = dropout(out(update.type_as(query)))
        return result

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, rotation: Rotation) -> Tensor:
        """All tokens [B, size · share, heads of this rank, head width]; what lies past the rotation is empty."""
        length = rotation[0].shape[1]
        empty = query.shape[1] - length
        query, key, value = (x[:, :length] for x in (query, key, value))
        update = dispatch_attention_fn(
            rotate(query, rotation), rotate(key, rotation), value, backend=self._attention_backend
        )
        return functional.pad(update, (0, 0, 0, 0, 0, empty))
