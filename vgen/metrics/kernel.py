"""KVD: how far apart two sets of videos are, by an estimate that does not depend on their number.

Unterthiner et al. (arXiv 1812.01717) compare features of I3D by the maximum mean discrepancy with a polynomial kernel,
beside FVD, which falls with the number of videos. The kernel and the unbiased estimate are those of the kernel
inception distance (Bińkowski et al., "Demystifying MMD GANs", arXiv 1801.01401, section 4): (a·b / D + 1)³. Where the
dot product is not divided by the number of features D, as in some implementations, values are far larger.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

KVD_NAME = "KVD, kernel (a·b / D + 1)³, unbiased, features as of FVD"
DEGREE = 3


def kernel_distance(one: Tensor, other: Tensor, clips: tuple[Sequence[str], Sequence[str]] | None = None) -> float:
    """The squared maximum mean discrepancy of two sets of features, unbiased.

    Args:
        one: `[N, D]`.
        other: `[M, D]`.
        clips: of which clip each video of the sets is, N and M names, where a clip may be in both: as it is, and
            completed. Two videos of one clip are not independent, and count nowhere, as a video beside itself does not
            (Gretton et al., "A Kernel Two-Sample Test", JMLR 13, 2012, lemma 6): the estimate would be far below 0.

    Returns:
        0 on average for two sets of one kind, so that it may lie below 0; nan where no two videos are left of a pair.
    """
    names = clips or ([f"one {n}" for n in range(len(one))], [f"other {n}" for n in range(len(other))])
    one, other = one.double(), other.double()
    sides = (one, names[0]), (other, names[1])
    within = [_mean_apart(*side, *side) for side in sides]
    return sum(within) - 2 * _mean_apart(*sides[0], *sides[1])


def _mean_apart(one: Tensor, names: Sequence[str], other: Tensor, others: Sequence[str]) -> float:
    """The mean kernel of two videos that are of different clips."""
    apart = torch.tensor([[name != another for another in others] for name in names], dtype=torch.bool)
    return float(_kernel(one, other)[apart].mean()) if apart.any() else math.nan


def _kernel(one: Tensor, other: Tensor) -> Tensor:
    return (one @ other.T / one.shape[1] + 1) ** DEGREE
