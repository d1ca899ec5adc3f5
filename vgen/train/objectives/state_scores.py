"""How near predicted actions come: the displacement error of the places that they lead to, beside two baselines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vgen.trajectory.convert import to_absolute
from vgen.trajectory.places import body_places, constant_velocity
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import Trajectory


class Future(NamedTuple):
    """What follows a frame of an episode: its absolute trajectory, and the row of the present."""

    trajectory: Trajectory
    present: int

    def coming(self, count: int) -> Trajectory | None:
        """The present row and up to `count` after it; None where there is nothing to compare with."""
        rows = self.trajectory.rows(self.present, min(self.present + count + 1, len(self.trajectory)))
        return rows if rows.valid[0] and rows.valid[1:].any() else None


class Scores:
    """Scores of one validation, by name."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = defaultdict(list)

    def add_actions(self, name: str, truth: Sequence[Future], actions: np.ndarray, statistics: Statistics) -> None:
        """Scores predicted actions.

        Args:
            name: of what is scored, such as position4/policy.
            truth: what came, B futures.
            actions: [B, K, D], normalised by `statistics`; K steps count, or as many as the episode has.
        """
        for future, predicted in zip(truth, actions, strict=True):
            coming = future.coming(len(predicted))
            if coming is not None:
                steps = statistics.restore(predicted[: len(coming) - 1], coming.times[1:])
                self._add(name, body_places(to_absolute(steps, coming.rows(0, 1))), coming)

    def add_baselines(self, name: str, truth: Sequence[Future], count: int) -> None:
        """Scores what needs no model on as many steps: staying put, and constant velocity."""
        for future in truth:
            coming = future.coming(count)
            if coming is not None:
                still = np.repeat(body_places(coming)[:1], len(coming), axis=0)
                self._add(f"{name}_stay_put", still, coming)
                straight = constant_velocity(future.trajectory, future.present, len(coming))
                self._add(f"{name}_constant_velocity", straight, coming)

    def add_texts(self, written: Sequence[str], truth: Sequence[str]) -> None:
        """Scores the texts of actions: right or wrong as a whole."""
        self._values["text_accuracy"] += [float(a == b.strip()) for a, b in zip(written, truth, strict=True)]

    def means(self) -> dict[str, float]:
        """The mean of each score."""
        return {name: float(np.mean(values)) for name, values in self._values.items()}

    def _add(self, name: str, places: np.ndarray, coming: Trajectory) -> None:
        errors = np.linalg.norm(places - body_places(coming), axis=-1).mean(1)[1:][coming.valid[1:]]
        self._values[f"displacement/{name}"].append(errors.mean())
        self._values[f"final_displacement/{name}"].append(errors[-1])
