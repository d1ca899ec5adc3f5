"""What the simulators' stages share: an episode or a group of branches becomes takes, and a studio films them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np

from vgen.simulators.cameras import Studio
from vgen.simulators.counterfactual import BRANCH_FRAME
from vgen.simulators.recording import Take

Rollout = TypeVar("Rollout")


class FilmedStage(ABC, Generic[Rollout]):
    """A `vgen.simulators.recording.Stage` but for the simulator itself."""

    def __init__(self, task: str, studio: Studio) -> None:
        self._task, self._studio = task, studio

    @abstractmethod
    def _roll_out(self, seed: int, max_steps: int) -> Rollout | None:
        """The expert's episode; None without success."""

    @abstractmethod
    def _branches(self, seed: int, max_steps: int, count: int) -> Sequence[tuple[str, Rollout]]:
        """A group of so many branches and what each does, the expert's first; empty without success."""

    @abstractmethod
    def _take(self, rollout: Rollout, seed: int, **group: object) -> Take:
        """What is recorded of a rollout."""

    def play(self, seed: int, max_steps: int, counterfactuals: int) -> list[Take]:
        """The expert's episode, or a group of `counterfactuals` branches; empty without success."""
        if counterfactuals:
            name = f"{self._task}-{seed}"
            return [
                self._take(rollout, seed, group=name, branch=i, trajectory=kind, branch_frame=BRANCH_FRAME)
                for i, (kind, rollout) in enumerate(self._branches(seed, max_steps, counterfactuals))
            ]
        rollout = self._roll_out(seed, max_steps)
        return [] if rollout is None else [self._take(rollout, seed)]

    def film(self, take: Take, camera: str) -> np.ndarray:
        """The frames of a take: uint8 [T, size, size, 3]."""
        return self._studio.film(take.physics, camera)

    def close(self) -> None:
        """Free the drawing context."""
        self._studio.close()
