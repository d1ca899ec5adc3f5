"""What the backbone remembers of conditions: their keys and values in every block.

Only under independent condition attention, where they depend on the condition, its position and the text alone. So
they are computed once for all steps of denoising, and a rollout goes on with those of its latest frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vgen.backbone.attention import KeysValues
from vgen.backbone.pruning import joined


@dataclass(frozen=True)
class ConditionCache:
    """Keys and values of K conditions. `VideoTransformer.remember` makes it; nothing changes in place.

    Conditions read the text, so each text (and the empty one of classifier-free guidance) needs a cache of its own.

    Attributes:
        blocks: of each block, keys and values, each [B, L, heads, head width]; the keys are rotated to their positions.
        t: [B, K] float64, the position of each condition in latent units; of a clip, that of its last frame.
        lengths: the tokens of each condition; their sum is L.
        readable: bool [B, L], which tokens are read, where conditions were pruned together (pruning.py); None: all.
    """

    blocks: tuple[KeysValues, ...]
    t: Tensor
    lengths: tuple[int, ...]
    readable: Tensor | None = None

    def __post_init__(self) -> None:
        assert all(x.shape[1] == sum(self.lengths) for block in self.blocks for x in block)
        assert self.t.shape == (len(self.blocks[0][0]), len(self.lengths))

    def __len__(self) -> int:
        """The number of conditions."""
        return len(self.lengths)

    @staticmethod
    def concatenate(caches: Sequence[ConditionCache]) -> ConditionCache:
        """The conditions of several caches of one batch, in order: a history and a goal image, say."""
        keys = caches[0].blocks[0][0]
        readable = joined(
            [cache.readable for cache in caches], [(len(keys), sum(c.lengths)) for c in caches], keys.device
        )
        blocks = (zip(*parts, strict=True) for parts in zip(*(cache.blocks for cache in caches), strict=True))
        return ConditionCache(
            tuple((torch.cat(k, dim=1), torch.cat(v, dim=1)) for k, v in blocks),
            torch.cat([cache.t for cache in caches], dim=1),
            tuple(length for cache in caches for length in cache.lengths),
            readable,
        )
