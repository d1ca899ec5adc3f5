"""How far made videos look from true ones: the section `perceptual`.

ST-LPIPS is that of the frame at each horizon, alone; FVD that of the frames from the start to the horizon, of all cases
together, and falls with their number. The codec's frames are rebuilt at the horizons alone, so that it has no FVD.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor

from ego_suite.forward import mean
from ego_suite.play import METHODS, Played
from vgen.metrics import FrechetDistance, SampleMetric
from vgen.metrics.i3d import SHORTEST

HORIZONS = (8, 16, 32, 64)


class Looks:
    """A watcher that compares what videos look like.

    Args:
        distance: ST-LPIPS of videos; None: it is not installed.
        network: what FVD compares of videos; None: no FVD.
    """

    def __init__(self, distance: SampleMetric | None, network: Callable[[Tensor], Tensor] | None) -> None:
        self._distance, self._network = distance, network
        self._values: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._sets: dict[int, dict[str, FrechetDistance]] = defaultdict(dict)
        self._counts: dict[int, int] = defaultdict(int)

    def __call__(self, played: Played) -> None:
        """Compares a batch."""
        for horizon in (each for each in HORIZONS if each <= played.cases[0].reach):
            self._counts[horizon] += len(played.cases)
            if self._distance is not None:
                truth = played.truth[:, :, horizon : horizon + 1]
                for method, video in played.videos.items():
                    found = self._distance(video[:, :, horizon : horizon + 1], truth)
                    self._values[horizon][method] += found.tolist()
            if self._network is not None and horizon + 1 >= SHORTEST:
                self._add_sets(played, horizon, self._network)

    def _add_sets(self, played: Played, horizon: int, network: Callable[[Tensor], Tensor]) -> None:
        with torch.no_grad():
            truth = torch.cat([network(clip) for clip in played.truth[:, :, : horizon + 1].split(1)])
            for method, video in played.videos.items():
                if method != "codec":
                    made = torch.cat([network(clip) for clip in video[:, :, : horizon + 1].split(1)])
                    self._sets[horizon].setdefault(method, FrechetDistance(network)).add(made, truth)

    def summary(self) -> dict:
        """{horizon: {"n", "st_lpips" and "fvd": by method}}; or why there is nothing."""
        if self._distance is None and self._network is None:
            return {"missing": "ST-LPIPS is not installed (pip install 'vgen[metrics]'), and --fvd is not asked for"}
        found = {}
        for horizon, count in sorted(self._counts.items()):
            values, sets = self._values[horizon], self._sets[horizon]
            found[str(horizon)] = {
                "n": count,
                "st_lpips": {method: mean(values[method]) for method in METHODS if method in values},
                "fvd": {method: sets[method].compute() for method in METHODS if method in sets},
            }
        return found
