"""Scores of the model, of baselines and of the codec, kept per clip."""

from __future__ import annotations

from collections import defaultdict

from torch import Tensor

from canvas_suite.tasks import Given
from vgen.metrics import SampleMean, SampleMetric, moving_psnr, psnr, ssim

METRICS: dict[str, SampleMetric] = {"psnr": psnr, "psnr_moving": moving_psnr, "ssim": ssim}


class TaskScores:
    """Averages by method and metric, filled batch by batch."""

    def __init__(self) -> None:
        self._averages: dict[str, dict[str, SampleMean]] = defaultdict(dict)

    def whole(self, method: str, prediction: Tensor, truth: Tensor) -> None:
        """Scores videos `[B, 3, T, H, W]` by every one of `METRICS`."""
        for name, metric in METRICS.items():
            self._average(method, name, metric).update(prediction, truth)

    def fidelity(self, method: str, prediction: Tensor, truth: Tensor, given: Given) -> None:
        """Scores the given pixels at the given frames alone, as `psnr_given`."""
        self._average(method, "psnr_given", psnr).update(prediction, truth, mask=given.region(truth.shape[2]))

    def means(self) -> dict[str, dict[str, float]]:
        """method -> metric -> mean over the clips."""
        return {method: {name: a.compute() for name, a in row.items()} for method, row in self._averages.items()}

    def per_clip(self) -> dict[str, dict[str, list[float]]]:
        """method -> metric -> one value per clip, in the order of the clips."""
        return {method: {name: a.values for name, a in row.items()} for method, row in self._averages.items()}

    def _average(self, method: str, name: str, metric: SampleMetric) -> SampleMean:
        return self._averages[method].setdefault(name, SampleMean(metric))
