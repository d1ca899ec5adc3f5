"""Scores of the model, of baselines and of the codec, kept per clip."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from canvas_suite.tasks import Given
from vgen.metrics import SampleMean, SampleMetric, frechet_distance, moving_psnr, psnr, ssim

METRICS: dict[str, SampleMetric] = {"psnr": psnr, "psnr_moving": moving_psnr, "ssim": ssim}
LESS_IS_BETTER = ("st_lpips", "fvd")


class TaskScores:
    """Averages by method and metric, filled batch by batch, and the features that FVD compares.

    Args:
        metrics: Of a video and its truth, by name.
    """

    def __init__(self, metrics: Mapping[str, SampleMetric] = METRICS) -> None:
        self.metrics = metrics
        self._averages: dict[str, dict[str, SampleMean]] = defaultdict(dict)
        self._features: dict[str, list[tuple[Tensor, Tensor]]] = defaultdict(list)

    def whole(self, method: str, prediction: Tensor, truth: Tensor) -> None:
        """Scores videos `[B, 3, T, H, W]` by every one of the metrics."""
        for name, metric in self.metrics.items():
            self._average(method, name, metric).update(prediction, truth)

    def features(self, method: str, prediction: Tensor, truth: Tensor) -> None:
        """Takes in features `[B, D]` of videos and of their truths, for FVD."""
        self._features[method].append((prediction, truth))

    def fidelity(self, method: str, prediction: Tensor, truth: Tensor, given: Given) -> None:
        """Scores the given pixels at the given frames alone, as `psnr_given`."""
        self._average(method, "psnr_given", psnr).update(prediction, truth, mask=given.region(truth.shape[2]))

    def means(self) -> dict[str, dict[str, float]]:
        """method -> metric -> mean over the clips; FVD, which is of all clips at once, stands among them."""
        means = {method: {name: a.compute() for name, a in row.items()} for method, row in self._averages.items()}
        for method, pairs in self._features.items():
            means[method]["fvd"] = frechet_distance(*(torch.cat(features) for features in zip(*pairs, strict=True)))
        return means

    def per_clip(self) -> dict[str, dict[str, list[float]]]:
        """method -> metric -> one value per clip, in the order of the clips."""
        return {method: {name: a.values for name, a in row.items()} for method, row in self._averages.items()}

    def _average(self, method: str, name: str, metric: SampleMetric) -> SampleMean:
        return self._averages[method].setdefault(name, SampleMean(metric))


def of_seeds(per_clip: dict[str, dict[str, list[float]]], methods: Sequence[str]) -> dict[str, dict[str, float]]:
    """How several completions of each clip do: the mean over them all, and the mean over the clips' best ones, where
    each metric picks its own.

    Args:
        per_clip: of `TaskScores.per_clip`.
        methods: the completions, one a seed.

    Returns:
        "mean" and "best" -> metric -> value.
    """
    shared = [name for name in per_clip[methods[0]] if all(name in per_clip[method] for method in methods)]
    values = {name: torch.tensor([per_clip[method][name] for method in methods]) for name in shared}
    means = {name: of_clips.nanmean().item() for name, of_clips in values.items()}
    best = {
        name: (of_clips.amin(0) if name in LESS_IS_BETTER else of_clips.amax(0)).nanmean().item()
        for name, of_clips in values.items()
    }
    return {"mean": means, "best": best}
