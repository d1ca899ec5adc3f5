"""How near a video is to the one that it was to be."""

from __future__ import annotations

import math

from bench_measures.completed import Completed, Measure
from vgen.metrics import SampleMetric, moving_psnr, psnr, ssim

METRICS: dict[str, SampleMetric] = {"psnr": psnr, "psnr_moving": moving_psnr, "ssim": ssim}


def against_truth(completed: Completed) -> dict[str, float]:
    """PSNR, that of what moves, and SSIM, each as `vgen.metrics` defines it; nothing where there is no truth."""
    return _values(completed, METRICS)


def of_metric(name: str, metric: SampleMetric) -> Measure:
    """A measure of one metric, by its name."""
    return lambda completed: _values(completed, {name: metric})


def _values(completed: Completed, metrics: dict[str, SampleMetric]) -> dict[str, float]:
    if completed.true is None:
        return {}
    values = {name: metric(completed.made, completed.true).item() for name, metric in metrics.items()}
    return {name: value for name, value in values.items() if not math.isnan(value)}
