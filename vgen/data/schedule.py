"""Which clips are taken: of a batch, a pure function of its number, so that nothing has to be kept to resume; and some
of many."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np


class BucketSchedule:
    """Deals the clips of several buckets to ranks: at each step all ranks get the same bucket, chosen in proportion to
    its clips, and every clip comes once per epoch.

    Each bucket is an endless row of its clips, shuffled anew for every pass. A step takes the next
    `batch * world` of one bucket; rank r takes the r-th `batch` of them. Remainder rule: what is left of a bucket at
    the end of an epoch and does not fill a step opens its part of the next epoch; nothing is left out, and nothing
    comes twice before all else of its bucket has come once.

    Args:
        counts: the number of clips of each bucket, 1 or more.
        batch: clips per rank and step.
        seed: of all shuffles.
    """

    def __init__(self, counts: Sequence[int], batch: int, seed: int) -> None:
        assert counts and min(counts) > 0 and batch > 0, f"{counts} clips in batches of {batch}"
        self.counts, self.batch, self.seed = np.asarray(counts, dtype=np.int64), batch, seed
        self._steps = lru_cache(maxsize=4)(self._steps_of_epoch)
        self._order = lru_cache(maxsize=4 * len(counts))(self._shuffled)

    def __reduce__(self) -> tuple[Any, ...]:
        return BucketSchedule, (self.counts.tolist(), self.batch, self.seed)

    def steps_before(self, epoch: int, world: int) -> int:
        """The number of steps before an epoch begins."""
        return int(self._dealt(epoch, world).sum())

    def bucket(self, index: int, world: int) -> int:
        """The bucket of step `index`."""
        return self._place(index, world)[0]

    def rows(self, index: int, rank: int, world: int) -> tuple[int, list[int]]:
        """The bucket of step `index`, and which of its clips (0 .. count - 1) a rank gets."""
        bucket, turn = self._place(index, world)
        first = (turn * world + rank) * self.batch
        return bucket, [self._row(bucket, place) for place in range(first, first + self.batch)]

    def _row(self, bucket: int, place: int) -> int:
        """The clip that comes up at `place` (0, 1, 2 ... without end) in the row of a bucket."""
        turn, within = divmod(place, int(self.counts[bucket]))
        return int(self._order(bucket, turn)[within])

    def _place(self, index: int, world: int) -> tuple[int, int]:
        """The bucket of a step, and how many steps it had before."""
        if len(self.counts) == 1:
            return 0, index
        epoch = self._epoch(index, world)
        within = index - self.steps_before(epoch, world)
        steps = self._steps(epoch, world)
        bucket = int(steps[within])
        return bucket, int(self._dealt(epoch, world)[bucket]) + int((steps[:within] == bucket).sum())

    def _epoch(self, index: int, world: int) -> int:
        epoch = index * self.batch * world // int(self.counts.sum())  # never past the one that is looked for
        while self.steps_before(epoch + 1, world) <= index:
            epoch += 1
        return epoch

    def _dealt(self, epoch: int, world: int) -> np.ndarray:
        """The steps of each bucket before an epoch: as many as its clips fill."""
        return epoch * self.counts // (self.batch * world)

    def _steps_of_epoch(self, epoch: int, world: int) -> np.ndarray:
        steps = self._dealt(epoch + 1, world) - self._dealt(epoch, world)
        order = np.repeat(np.arange(len(self.counts)), steps)
        return np.random.default_rng((self.seed, epoch, world)).permutation(order)

    def _shuffled(self, bucket: int, turn: int) -> np.ndarray:
        return np.random.default_rng((self.seed, turn)).permutation(int(self.counts[bucket]))


def spread(total: int, count: int) -> list[int]:
    """`count` numbers of `total` (fewer where there are fewer), spread evenly."""
    count = min(count, total)
    return [int(n) for n in (np.arange(count) + 0.5) * total / max(count, 1)]
