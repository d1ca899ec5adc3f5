"""How sure a difference of means is: intervals by the bootstrap (Efron, "Bootstrap methods", Ann. Stat. 1979).

Clips are drawn and not cases: the cases of one clip rise and fall together, and drawn apart they would make intervals
that are too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 2000
SEED = 0
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """Of two means over the same cases.

    Attributes:
        mean: The second mean less the first.
        low, high: Ends of the interval; nan where there are fewer than two clips.
        cases, clips: That it stands on.
    """

    mean: float
    low: float
    high: float
    cases: int
    clips: int

    @property
    def is_sure(self) -> bool:
        """Whether 0 lies outside of the interval."""
        return self.low > 0 or self.high < 0


def difference(one: Sequence[float], other: Sequence[float], clips: Sequence[str]) -> Difference:
    """The mean of `other - one` with its interval, the same at every call.

    Args:
        one, other: values of the same cases, one or more.
        clips: what each case was cut from.
    """
    apart = np.asarray(other, np.float64) - np.asarray(one, np.float64)
    names, of_clip = np.unique(np.asarray(clips), return_inverse=True)
    sums, counts = np.bincount(of_clip, apart), np.bincount(of_clip)
    ends = (float("nan"), float("nan"))
    if len(names) > 1:
        drawn = np.random.default_rng(SEED).integers(len(names), size=(DRAWS, len(names)))
        means = sums[drawn].sum(1) / counts[drawn].sum(1)
        ends = tuple(np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist())
    return Difference(float(apart.mean()), *ends, len(apart), len(names))
