"""Forward dynamics: how near is the predicted frame to the true one, at each horizon?

The score at horizon h is that of the frame h after the start, alone. PSNR and SSIM are means over the cases that reach
it. Moving pixels are those whose range over the true frames 0 .. h exceeds 0.2 of [-1, 1] in some channel; a case in
which none does has no such score.
"""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np

from ego_suite.play import METHODS, Played
from vgen.metrics import moving_pixels, psnr, ssim

METRICS = ("psnr", "ssim", "psnr_moving")


class ForwardScores:
    """A watcher that scores every method at every horizon."""

    def __init__(self) -> None:
        self.names: dict[int, list[str]] = defaultdict(list)
        self._values: dict[tuple[int, str, str], list[float]] = defaultdict(list)

    def __call__(self, played: Played) -> None:
        """Scores a batch."""
        for horizon in played.cases[0].horizons:
            self.names[horizon] += [case.name for case in played.cases]
            moving = moving_pixels(played.truth[:, :, : horizon + 1])
            truth = played.truth[:, :, horizon : horizon + 1]
            for method, video in played.videos.items():
                frame = video[:, :, horizon : horizon + 1]
                found = {"psnr": psnr(frame, truth), "ssim": ssim(frame, truth)}
                found["psnr_moving"] = psnr(frame, truth, moving)
                for metric, values in found.items():
                    self._values[horizon, method, metric] += values.tolist()

    def summary(self) -> dict:
        """For each horizon: {"n", "n_moving", "means": method -> metric -> mean, "cases", "per_case"}."""
        return {str(horizon): self._at(horizon) for horizon in sorted(self.names)}

    def _at(self, horizon: int) -> dict:
        methods = [method for method in METHODS if (horizon, method, METRICS[0]) in self._values]
        kept = {m: {metric: self._values[horizon, m, metric] for metric in METRICS} for m in methods}
        return {
            "n": len(self.names[horizon]),
            "n_moving": int(np.isfinite(kept[methods[0]]["psnr_moving"]).sum()),
            "means": {m: {metric: mean(values) for metric, values in row.items()} for m, row in kept.items()},
            "cases": self.names[horizon],
            "per_case": kept,
        }


def mean(values: list[float]) -> float:
    """The mean of the values that are defined; nan where none is."""
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan
