"""Adroit's ball: the hand picks it up and carries it to another place."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from gymnasium_robotics.envs.adroit_hand.adroit_relocate import AdroitHandRelocateEnv

from vgen.simulators.adroit.hand import Aim
from vgen.simulators.adroit.script import Motion, Script, shaken
from vgen.simulators.adroit.settings import FPS, relocation
from vgen.simulators.counterfactual import Workspace
from vgen.simulators.looks import View
from vgen.simulators.paths import glide

SPEEDS = (0.25, 0.6)  # metres per second, mean over a stretch of the path
HELD_AT = np.array([0.0, -0.021, 0.003])  # from the ball's centre to the palm's point that holds it best
NEAR = 0.1  # metres from the goal, at most, in the end
LONGEST = 200  # steps


class Relocate(Script):
    """Reads where ball and goal are, and carries the one to the other, within LONGEST steps."""

    name = "relocate"
    cameras: ClassVar[Mapping[str, View | str]] = {
        "first_person": View(90, -55, 0.85, np.array([-0.02, 0.05, 0.12]), fovy=45),
        "third_person": View(145, -30, 1.2, np.array([0.0, 0.0, 0.1]), fovy=45),
    }
    workspace = Workspace(np.array([-0.2, -0.2, 0.08]), np.array([0.2, 0.2, 0.3]), 0.016)

    def _make_env(self) -> Any:
        return AdroitHandRelocateEnv()

    def thing(self) -> np.ndarray:
        """Where the ball is."""
        return self._body("Object")

    def goal(self) -> np.ndarray:
        """Where the ball is to be held."""
        return np.array(self.env.data.site_xpos[self.env.target_obj_site_id])

    def is_kept(self, thing: np.ndarray, goal: np.ndarray) -> bool:
        """Whether the ball is near its goal."""
        return float(np.linalg.norm(thing[:3] - goal)) < NEAR

    def sentence(self, goal: np.ndarray) -> str:
        """Where the ball lies when an episode begins, and where it goes."""
        return relocation(np.array(self.env.model.body_pos[self.env.obj_body_id]), goal)

    def free_aim(self, start: np.ndarray) -> Aim:
        """The posture of all zeros, which the arm's slides allow everywhere."""
        return Aim()

    def motions(self, rng: np.random.Generator, level: float, after: int) -> Iterator[Motion]:
        """One: over the ball, down, shut the fingers, up, and to the goal, with detours and pauses."""
        path, grip, steady = self._plan(rng)
        if len(path) > LONGEST:
            return
        calm = np.convolve(steady, np.ones(31) / 16, mode="same")
        path = shaken(rng, path, level, calm)
        path, grip, steady = (
            np.concatenate([part, np.repeat(part[-1:], after, axis=0)]) for part in (path, grip, steady)
        )
        yield Motion(path, grip, steady, self.hand.reach(path, self.hand.joints()))

    def _plan(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        palm, ball, goal = self.hand.palm(), self.thing()[:3], self.goal()
        low, high = self.workspace.low, self.workspace.high
        speed, at = rng.uniform(*SPEEDS), ball + HELD_AT
        detour = [rng.uniform(low, high)] if rng.random() < 0.4 else []
        above = at + rng.uniform((-0.03, -0.03, 0.06), (0.03, 0.03, 0.14))
        lifted = at + rng.uniform((-0.03, -0.03, 0.05), (0.03, 0.03, 0.12))
        carried = [rng.uniform(low, high)] if rng.random() < 0.3 else []
        path, grip, steady = [palm[None]], [np.zeros(1)], [np.zeros(1)]

        def move(to: np.ndarray, shut: float, calm: float, least: int) -> None:
            distance = np.linalg.norm(to - path[-1][-1])
            steps = max(least, round(distance / (speed * rng.uniform(0.8, 1.25)) * FPS))
            path.append(glide(path[-1][-1], to, steps))
            grip.append(np.linspace(grip[-1][-1], shut, steps + 1)[1:])
            steady.append(np.full(steps, calm))

        def pause(chance: float) -> None:
            if rng.random() < chance:
                move(path[-1][-1], grip[-1][-1], steady[-1][-1], int(rng.integers(4, 20)))

        for point in (*detour, above):
            move(point, 0.0, 0.0, 8)
            pause(0.2)
        move(at, 0.0, 1.0, 10)
        move(at, 1.0, 1.0, int(rng.integers(10, 18)))
        move(lifted, 1.0, 1.0, 12)
        for point in (*carried, goal + HELD_AT):
            pause(0.2)
            move(point, 1.0, 0.0, 8)
        move(path[-1][-1], 1.0, 0.0, 8)
        return np.concatenate(path), np.concatenate(grip), np.concatenate(steady)
