"""How near predicted actions come: the displacement error of the places that they lead to, beside two baselines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from vgen.ego.convert import to_absolute
from vgen.ego.normalise import Statistics
from vgen.metrics import body_places, constant_velocity
from vgen.train.objectives.state_data import StateEpisode


class Scores:
    """Scores of one validation.

    Args:
        episodes: where the truth is.
        statistics: by which actions were normalised.
        horizon: K, the most steps that count; an episode may end before.
    """

    def __init__(self, episodes: Sequence[StateEpisode], statistics: Statistics, horizon: int) -> None:
        self._episodes, self._statistics, self._horizon = episodes, statistics, horizon
        self._values: dict[str, list[float]] = defaultdict(list)

    def add_actions(self, question: str, places: Sequence[tuple[int, int]], actions: np.ndarray) -> None:
        """Scores predicted actions.

        Args:
            question: what they answer; the name of the score.
            places: of each sample the episode and its present frame.
            actions: [B, K, D], normalised.
        """
        for (number, present), predicted in zip(places, actions, strict=True):
            truth = self._episodes[number].absolute
            coming = truth.rows(present, min(present + self._horizon + 1, len(truth)))
            if not coming.valid[0] or not coming.valid[1:].any():
                continue
            steps = self._statistics.restore(predicted[: len(coming) - 1], coming.times[1:])
            answers = {
                question: body_places(to_absolute(steps, coming.rows(0, 1))),
                f"{question}_stay_put": np.repeat(body_places(coming)[:1], len(coming), axis=0),
                f"{question}_constant_velocity": constant_velocity(truth, present, len(coming)),
            }
            for name, answer in answers.items():
                errors = np.linalg.norm(answer - body_places(coming), axis=-1).mean(1)[1:][coming.valid[1:]]
                self._values[f"displacement/{name}"].append(errors.mean())
                self._values[f"final_displacement/{name}"].append(errors[-1])

    def add_texts(self, written: Sequence[str], truth: Sequence[str]) -> None:
        """Scores the texts of actions: right or wrong as a whole."""
        self._values["text_accuracy"] += [float(a == b.strip()) for a, b in zip(written, truth, strict=True)]

    def means(self) -> dict[str, float]:
        """The mean of each score."""
        return {name: float(np.mean(values)) for name, values in self._values.items()}


def spread(total: int, count: int) -> list[int]:
    """`count` numbers of `total` (fewer where there are fewer), spread evenly."""
    count = min(count, total)
    return [int(n) for n in (np.arange(count) + 0.5) * total / max(count, 1)]
