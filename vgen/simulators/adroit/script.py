"""What a scripted task of the Adroit hand has: its environment, its hand, and the motions that do it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vgen.simulators.adroit.hand import JOINT_COST, OPEN, SHUT, SOFT, Aim, Hand, Postures
from vgen.simulators.adroit.settings import FPS
from vgen.simulators.counterfactual import Workspace
from vgen.simulators.looks import View
from vgen.simulators.paths import glide, wandering

SUBSTEPS = 10  # of 2 ms per control step
TREMOR = 0.2  # metres, deviation of a path from the straight way per noise level


@dataclass(frozen=True)
class Motion:
    """What the hand should do for T steps.

    path: [T, 3], where the palm's point should be, metres.
    grip: [T], how far the fingers are shut, 0 to 1.
    steady: [T], 1 where nothing may disturb the hand, 0 elsewhere.
    joints: [T, N], the joints of arm and wrist that lead the palm there.
    """

    path: np.ndarray
    grip: np.ndarray
    steady: np.ndarray
    joints: np.ndarray

    def rested(self, steps: int) -> Motion:
        """The same with further steps at its end, in which the hand stays."""
        return Motion(*(np.concatenate([part, np.repeat(part[-1:], steps, axis=0)]) for part in vars(self).values()))

    def then(self, other: Motion) -> Motion:
        """This motion and another one after it."""
        return Motion(*(np.concatenate(parts) for parts in zip(vars(self).values(), vars(other).values(), strict=True)))

    def last(self, steps: int) -> Motion:
        """Its last steps alone."""
        return Motion(*(part[len(part) - steps :] for part in vars(self).values()))


class Script(ABC):
    """One task: makes its environment and says how the hand moves in it.

    Attributes:
        name: of the task.
        postures: of the fingers, by grip.
        pull: stiffness and damping of the arm about its path.
        arm: names out of which the joints are that follow it.
        cameras: name to view, the first person's first.
        workspace: where the hand can go, and is in view.
        env, hand: the environment, at FPS control steps per second, and its hand.
    """

    name: ClassVar[str]
    postures: ClassVar[Postures] = (OPEN, SHUT)
    pull: ClassVar[tuple[float, float]] = SOFT
    arm: ClassVar[Sequence[str]] = tuple(JOINT_COST)
    cameras: ClassVar[Mapping[str, View | str]]
    workspace: ClassVar[Workspace]

    def __init__(self) -> None:
        self.env = self._make_env()
        self.env.frame_skip = SUBSTEPS
        assert round(1 / self.env.dt) == FPS, f"one control step takes {self.env.dt} s"
        self.hand = Hand(self.env.model, self.env.data, self.env.dt, self.postures, self.pull, self.arm)

    @abstractmethod
    def _make_env(self) -> Any:
        """The environment of gymnasium-robotics."""

    @abstractmethod
    def motions(self, rng: np.random.Generator, level: float, after: int) -> Iterator[Motion]:
        """How the task is done, drawn by `rng`; each motion is planned when the one before has been made.

        Args:
            rng: draws speeds, detours, pauses and tremor.
            level: of the noise; the tremor is in proportion to it.
            after: steps in which the hand rests when it is done.
        """

    @abstractmethod
    def thing(self) -> np.ndarray:
        """Where the thing is that the hand moves: [7], position in metres and quaternion (w first), in the world."""

    @abstractmethod
    def goal(self) -> np.ndarray:
        """Where something is to be in the end: [3], metres."""

    def is_kept(self, thing: np.ndarray, goal: np.ndarray) -> bool:
        """Whether what was reached is still so, with the thing [7] where it is at the end of an episode."""
        return True

    @abstractmethod
    def sentence(self, goal: np.ndarray) -> str:
        """What is done, in plain English."""

    def free_aim(self, start: np.ndarray) -> Aim:
        """How the palm goes along a path that is not the script's, from joints [N]."""
        return Aim(posture=start)

    def actuators(self) -> list[str]:
        """What its actuators are called, and the joints that they move."""
        model = self.env.model
        return [model.actuator(i).name.removeprefix("A_") for i in range(model.nu)]

    def _body(self, name: str) -> np.ndarray:
        body = self.env.data.body(name)
        return np.concatenate([body.xpos, body.xquat])

    def _moved(
        self, start: np.ndarray, path: np.ndarray, grip: np.ndarray | float, steady: float, aim: Aim | None = None
    ) -> Motion:
        """The motion along a path [T, 3] of the palm's point, or of the aim's tool, from joints [N]."""
        joints = self.hand.reach(path, start, aim)
        palm = np.stack([self.hand.pose(each)[0] for each in joints])
        grip = np.broadcast_to(np.asarray(grip, dtype=float), len(path))
        return Motion(palm, grip, np.full(len(path), steady), joints)

    def _detour(
        self, rng: np.random.Generator, palm: np.ndarray, to: np.ndarray, speed: float, level: float
    ) -> np.ndarray:
        """A way [T, 3] to a point, now and then over another one, with a tremor in proportion to the noise level."""
        box = self.workspace
        points = [rng.uniform(box.low, box.high)] if rng.random() < 0.4 else []
        way = [palm[None]]
        for point in (*points, to):
            start = way[-1][-1]
            steps = max(8, round(float(np.linalg.norm(point - start)) / (speed * rng.uniform(0.8, 1.25)) * FPS))
            way.append(glide(start, point, steps))
            if rng.random() < 0.2:
                way.append(np.repeat(point[None], int(rng.integers(4, 20)), axis=0))
        return shaken(rng, np.concatenate(way), level)


def shaken(rng: np.random.Generator, path: np.ndarray, level: float, calm: np.ndarray | float = 0.0) -> np.ndarray:
    """A path [T, 3] with a slow tremor in proportion to the noise level, gone at both ends and where it is calm."""
    steps = len(path)
    ends = np.minimum(np.arange(steps), np.arange(steps)[::-1]) / 16
    share = np.minimum(ends, 1 - calm).clip(0, 1)
    trembling: np.ndarray = path + wandering(rng, TREMOR * level, steps) * share[:, None]
    return trembling


def eased(steps: int) -> np.ndarray:
    """Shares of a way, [steps], that start and end at rest, without the start."""
    return glide(np.zeros(3), np.ones(3), steps)[:, 0]


def named(joints: Sequence[str], angle: float, fingers: Sequence[str] = ("FF", "MF", "RF", "LF")) -> dict[str, float]:
    """The same angle for joints of several fingers."""
    return {f"{finger}{joint}": angle for finger in fingers for joint in joints}
