"""KVD: how far apart two sets of videos are, by an estimate that does not depend on their number.

Unterthiner et al. (arXiv 1812.01717) compare features of I3D by the maximum mean discrepancy with a polynomial kernel,
beside FVD, which falls with the number of videos. The kernel and the unbiased estimate are those of the kernel
inception distance (Bińkowski et al., "Demystifying MMD GANs", arXiv 1801.01401, section 4): (a·b / D + 1)³. Where the
dot product is not divided by the number of features D, as in some implementations, values are far larger.
"""

import math

import torch
from torch import Tensor

KVD_NAME = "KVD, kernel (a·b / D + 1)³, unbiased, features as of FVD"
FEWEST = 2
"""Videos, below which a set has no pairs."""
DEGREE = 3


def kernel_distance(one: Tensor, other: Tensor) -> float:
    """The squared maximum mean discrepancy of two sets of features, unbiased.

    Args:
        one: `[N, D]`.
        other: `[M, D]`.

    Returns:
        0 on average for two sets of one kind, so that it may lie below 0; nan where a set holds fewer than two.
    """
    if min(len(one), len(other)) < FEWEST:
        return math.nan
    one, other = one.double(), other.double()
    across = _kernel(one, other).mean()
    return float(_mean_of_pairs(one) + _mean_of_pairs(other) - 2 * across)


def _mean_of_pairs(features: Tensor) -> Tensor:
    """The mean kernel of two different videos of one set."""
    count = len(features)
    kernel = _kernel(features, features)
    return (kernel.sum() - torch.trace(kernel)) / (count * (count - 1))


def _kernel(one: Tensor, other: Tensor) -> Tensor:
    return (one @ other.T / one.shape[1] + 1) ** DEGREE
