"""Records one task of a simulator: a simulated episode, or a group of branches, becomes what a dataset holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import numpy as np

from vgen.simulators.counterfactual import BRANCH_FRAME, SimulatedEpisode

if TYPE_CHECKING:  # it needs mujoco
    from vgen.simulators.cameras import FrameRenderer

Simulated = TypeVar("Simulated", bound=SimulatedEpisode)


@dataclass(frozen=True)
class RecordedEpisode:
    """One episode of T frames, before its frames are drawn.

    columns: float32 [T, D] by feature key; action k leads from row k to row k + 1.
    physics: [T, S], the simulator's state at each row, from which its frame is drawn.
    sentence: what is done.
    extra: what else `meta/episodes` says of it; plain values, of the same keys in every episode of a recording.
    """

    columns: Mapping[str, np.ndarray]
    physics: np.ndarray
    sentence: str
    extra: Mapping[str, object]


class TaskRecorder(ABC, Generic[Simulated]):
    """Records one task; each simulator has a subclass.

    Attributes:
        names: the columns' feature keys, and what each dimension is called.
        layouts: which trajectory layout the columns of a feature key have.
        robot_type: of the dataset.
    """

    names: ClassVar[Mapping[str, Sequence[str]]]
    layouts: ClassVar[Mapping[str, str]]
    robot_type: ClassVar[str]

    _task: str
    _renderer: FrameRenderer

    @abstractmethod
    def __init__(self, task: str, size: int) -> None:
        """Make the environment of a task, and a renderer of frames of `size` pixels a side."""

    @abstractmethod
    def _simulate(self, seed: int, max_steps: int) -> Simulated | None:
        """The expert's episode; None without success."""

    @abstractmethod
    def _simulate_branches(self, seed: int, max_steps: int, count: int) -> Sequence[tuple[str, Simulated]]:
        """A group of so many branches and what each does, the expert's first; empty without success."""

    @abstractmethod
    def _recorded(self, episode: Simulated, seed: int, **group: object) -> RecordedEpisode:
        """What is recorded of a simulated episode."""

    def simulate(self, seed: int, max_steps: int, counterfactuals: int) -> list[RecordedEpisode]:
        """The expert's episode, or a group of `counterfactuals` branches; empty without success."""
        if counterfactuals:
            name = f"{self._task}-{seed}"
            return [
                self._recorded(episode, seed, group=name, branch=i, trajectory=kind, branch_frame=BRANCH_FRAME)
                for i, (kind, episode) in enumerate(self._simulate_branches(seed, max_steps, counterfactuals))
            ]
        episode = self._simulate(seed, max_steps)
        return [] if episode is None else [self._recorded(episode, seed)]

    def render(self, episode: RecordedEpisode, camera: str) -> np.ndarray:
        """The frames of an episode that was simulated since the last reset: uint8 [T, size, size, 3]."""
        return self._renderer.render(episode.physics, camera)

    def close(self) -> None:
        """Free the drawing context."""
        self._renderer.close()
