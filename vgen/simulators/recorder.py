"""Records one task of a simulator: a simulated episode, or a group of branches, becomes what a dataset holds."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import numpy as np

from vgen.simulators.counterfactual import BRANCH_FRAME, SimulatedEpisode
from vgen.simulators.looks import Look, View, draw_look

if TYPE_CHECKING:  # it needs mujoco
    from vgen.simulators.cameras import FrameRenderer

EVERY = 12  # steps of an episode between those at which the hand must be in view
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
    def _hand_points(self, episode: Simulated) -> np.ndarray:
        """What must stay in view: points of the hand, [T, ..., 3], metres, in the world's frame."""

    @abstractmethod
    def _recorded(self, episode: Simulated, seed: int, **extra: object) -> RecordedEpisode:
        """What is recorded of a simulated episode, seen under the look that the renderer has now."""

    def simulate(
        self, seed: int, max_steps: int, counterfactuals: int, look: int = 0, cameras: Sequence[str] = ()
    ) -> list[RecordedEpisode]:
        """The expert's episode, or a group of `counterfactuals` branches; empty without success.

        Args:
            seed: of the scene and of how the expert moves.
            max_steps: longest episode.
            counterfactuals: branches of a group; 0 for the expert's episode alone.
            look: 0 for the simulator's own look; another number names one that is drawn for this seed.
            cameras: that must have the hand in view under the look.
        """
        if counterfactuals:
            group = self._simulate_branches(seed, max_steps, counterfactuals)
        else:
            alone = self._simulate(seed, max_steps)
            group = [] if alone is None else [("expert", alone)]
        if not group:
            return []
        self._renderer.dress(self._look(seed, look, cameras, [episode for _, episode in group]))
        if not counterfactuals:
            return [self._recorded(group[0][1], seed, look=look)]
        name = f"{self._task}-{seed}" + (f"-look{look}" if look else "")
        return [
            self._recorded(episode, seed, look=look, group=name, branch=i, trajectory=kind, branch_frame=BRANCH_FRAME)
            for i, (kind, episode) in enumerate(group)
        ]

    def _look(self, seed: int, look: int, cameras: Sequence[str], group: Sequence[Simulated]) -> Look:
        """A look of a seed, in which the hand is in view of the cameras as much as in the plain look, or all of it."""
        renderer = self._renderer
        if not look:
            return renderer.plain
        free = [camera for camera in cameras if renderer.is_free(camera)]
        states = np.concatenate([episode.physics[::EVERY] for episode in group])
        points = np.concatenate([self._hand_points(episode)[::EVERY] for episode in group])

        def shown(view: View) -> np.ndarray:
            renderer.look_from(view)
            return np.array([renderer.shown(states, points, camera) for camera in free])

        least = shown(renderer.plain.view)
        rng = np.random.default_rng([zlib.crc32(self._task.encode()), seed, look])
        return draw_look(rng, renderer.plain, lambda view: bool((shown(view) >= least).all()))

    def render(self, episode: RecordedEpisode, camera: str) -> np.ndarray:
        """The frames of an episode of the latest `simulate`: uint8 [T, size, size, 3]."""
        return self._renderer.render(episode.physics, camera)

    def close(self) -> None:
        """Free the drawing context."""
        self._renderer.close()
