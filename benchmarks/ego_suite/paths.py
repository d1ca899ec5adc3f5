"""Errors of predicted trajectories over whole paths: ADE, the mean distance of all places from the true ones, and FDE,
that of the last place, by how many rows ahead the path goes."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from vgen.trajectory.places import body_places
from vgen.trajectory.trajectory import Trajectory

HORIZONS = (8, 16, 32, 64)


class PathErrors:
    """ADE and FDE of several methods at each horizon, in the unit of the layout, mean over bodies."""

    def __init__(self) -> None:
        self._ade: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._fde: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def add(self, horizon: int, truth: np.ndarray, methods: dict[str, list[np.ndarray]]) -> None:
        """One case.

        Args:
            horizon: rows of the paths.
            truth: places [horizon, bodies, 3], or 2 coordinates.
            methods: paths of that shape, of each method one or several, over which the mean is taken.
        """
        for method, paths in methods.items():
            far = np.array([np.linalg.norm(path - truth, axis=-1).mean(axis=1) for path in paths])
            self._ade[horizon][method].append(float(far.mean()))
            self._fde[horizon][method].append(float(far[:, -1].mean()))

    def summary(self) -> dict:
        """{"ade", "fde"}, each {horizon: {"n", mean by method}}."""
        return {"ade": _means(self._ade), "fde": _means(self._fde)}


def true_path(truth: Trajectory, present: int, horizon: int) -> np.ndarray | None:
    """The places of the rows after a present one; None where they are not all known."""
    stop = present + horizon + 1
    if stop > len(truth) or not truth.valid[present:stop].all():
        return None
    places: np.ndarray = body_places(truth)[present + 1 : stop]
    return places


def _means(rows: dict[int, dict[str, list[float]]]) -> dict[str, dict[str, float]]:
    return {
        str(horizon): {"n": len(next(iter(methods.values())))}
        | {method: float(np.mean(values)) for method, values in methods.items()}
        for horizon, methods in sorted(rows.items())
    }
