"""The two protocols that every metric follows."""

import math
from typing import Protocol

import torch
from torch import Tensor


class SampleMetric(Protocol):
    """A number for each video of a batch, from that video and its truth alone."""

    def __call__(self, prediction: Tensor, truth: Tensor, /) -> Tensor:
        """
        Args:
            prediction: Video `[B, 3, T, H, W]` in [-1, 1].
            truth: Video of the same shape.

        Returns:
            `[B]`; nan where the metric is not defined for a sample.
        """


class SetMetric(Protocol):
    """One number for a whole set, seen batch by batch."""

    def update(self, prediction: Tensor, truth: Tensor, **context: Tensor) -> None:
        """Takes in a batch of videos `[B, 3, T, H, W]` in [-1, 1]."""

    def compute(self) -> float:
        """The value over everything seen so far; nan before the first update."""


class SampleMean:
    """A `SetMetric`: the mean of a `SampleMetric` over a set, without the samples for which it is not defined (nan)."""

    def __init__(self, metric: SampleMetric) -> None:
        self.metric = metric
        self.values: list[float] = []

    def update(self, prediction: Tensor, truth: Tensor, **context: Tensor) -> None:
        """Appends the batch's values; `context` (such as `mask`) goes to the metric by name."""
        self.values.extend(self.metric(prediction, truth, **context).tolist())

    def compute(self) -> float:
        """The mean of the defined values, nan when there are none."""
        return torch.tensor(self.values, dtype=torch.float64).nanmean().item() if self.values else math.nan
