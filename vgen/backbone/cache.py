"""What the backbone remembers of conditions: their keys and values in every block.

Only under independent condition attention, where they depend on the condition, its position and the text alone. A
rollout's history is such a cache: new frames are appended, the oldest dropped, and the cost of a step does not grow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vgen.backbone.attention import KeysValues


@dataclass(frozen=True)
class ConditionCache:
    """Keys and values of K conditions, oldest first. `VideoTransformer.remember` makes it; nothing changes in place.

    Conditions read the text, so each text (and the empty one of classifier-free guidance) needs a cache of its own.

    Attributes:
        keys, values: [blocks, B, L, heads, head width]; the keys are rotated to their positions.
        t: [B, K] float64, the position of each condition in latent units; of a clip, that of its last frame.
        lengths: the tokens of each condition; their sum is L.
    """

    keys: Tensor
    values: Tensor
    t: Tensor
    lengths: tuple[int, ...]

    def __post_init__(self) -> None:
        assert self.keys.shape == self.values.shape and self.keys.shape[2] == sum(self.lengths)
        assert self.t.shape == (self.keys.shape[1], len(self.lengths))

    def __len__(self) -> int:
        """The number of conditions."""
        return len(self.lengths)

    def block(self, index: int) -> KeysValues:
        """Keys and values of one block, each [B, L, heads, head width]."""
        return self.keys[index], self.values[index]

    @staticmethod
    def concatenate(caches: Sequence[ConditionCache]) -> ConditionCache:
        """The conditions of several caches of one batch, in order: a history and a goal image, say."""
        return ConditionCache(
            torch.cat([cache.keys for cache in caches], dim=2),
            torch.cat([cache.values for cache in caches], dim=2),
            torch.cat([cache.t for cache in caches], dim=1),
            tuple(length for cache in caches for length in cache.lengths),
        )

    def append(self, newer: ConditionCache) -> ConditionCache:
        """These conditions, then newer ones."""
        return self.concatenate([self, newer])

    def drop_oldest(self, count: int = 1) -> ConditionCache:
        """Without the `count` oldest conditions; none are left where there are no more."""
        assert count >= 0, f"{count} conditions cannot be dropped"
        gone = sum(self.lengths[:count])
        return ConditionCache(self.keys[:, :, gone:], self.values[:, :, gone:], self.t[:, count:], self.lengths[count:])

    def window(self, count: int) -> ConditionCache:
        """The `count` newest conditions."""
        return self.drop_oldest(max(0, len(self) - count))
