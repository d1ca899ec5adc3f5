"""Does the end effector of a generated video follow the trajectory?

The tracker (tracker.py) locates it in the frame at each horizon. Its distance from where the trajectory commands it to
be is given in metres and as a share of the distance moved: mean error over mean straight distance between the commanded
places at the start and at the horizon, so that a video that stands still scores about 1. `truth` is the same on real
frames of the same split, which the tracker has not seen: its own error; `codec` on the codec's reconstructions.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch

from ego_suite.cases import START
from ego_suite.forward import mean
from ego_suite.play import Played
from ego_suite.tracker import HandTracker
from vgen.trajectory.places import body_places

HORIZONS = (8, 16, 32, 64)


class Tracking:
    """A watcher that locates the end effector in every method's frames."""

    def __init__(self, tracker: HandTracker) -> None:
        self._tracker = tracker
        self._errors: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._moved: dict[int, list[float]] = defaultdict(list)

    def __call__(self, played: Played) -> None:
        """Measures a batch."""
        rows = [body_places(case.trajectory)[: START + HORIZONS[-1] + 1, 0] for case in played.cases]
        places = torch.from_numpy(np.stack(rows))
        for horizon in HORIZONS:
            if horizon > played.cases[0].reach:
                continue
            commanded, began = places[:, START + horizon], places[:, START]
            self._moved[horizon] += (commanded - began).norm(dim=1).tolist()
            for method, video in {"truth": played.truth, **played.videos}.items():
                located = self._tracker.locate(video[:, :, horizon])
                self._errors[horizon][method] += (located - commanded).norm(dim=1).tolist()

    def summary(self) -> dict:
        """{"own_error_m": on real frames, "horizons": of each horizon {"n", "moved_m", "methods": method ->
        {"error_m", "share"}}}."""
        own = [error for errors in self._errors.values() for error in errors["truth"]]
        return {"own_error_m": mean(own), "horizons": {str(h): self._at(h) for h in sorted(self._moved)}}

    def _at(self, horizon: int) -> dict:
        moved = mean(self._moved[horizon])
        errors = {method: mean(values) for method, values in self._errors[horizon].items()}
        rows = {m: {"error_m": error, "share": error / moved if moved else float("nan")} for m, error in errors.items()}
        return {"n": len(self._moved[horizon]), "moved_m": moved, "methods": rows}
