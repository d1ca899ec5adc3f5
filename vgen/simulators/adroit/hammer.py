"""Adroit's hammer: the hand picks it up and hammers a nail into a board."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from gymnasium_robotics.envs.adroit_hand.adroit_hammer import AdroitHandHammerEnv
from scipy.spatial.transform import Rotation

from vgen.simulators.adroit.hand import STIFF, Aim
from vgen.simulators.adroit.script import Motion, Script, named
from vgen.simulators.counterfactual import Workspace
from vgen.simulators.looks import View
from vgen.simulators.paths import glide

THUMB = {"THJ4": -0.2, "THJ3": 1.2, "THJ2": 0.03, "THJ1": -0.21, "THJ0": -1.01}
BENT = {name: 0.8 * angle for name, angle in THUMB.items()} | {"THJ4": -0.2, "LFJ4": 0.17}
BENT |= named(["J2"], 0.16) | named(["J1"], 0.48) | named(["J0"], 0.65)  # the tips go around the handle first
HELD = THUMB | {"LFJ4": 0.21} | named(["J2"], 1.05) | named(["J1"], 0.6) | named(["J0"], 0.81)
HELD_AT = np.array([-0.011, -0.01, -0.019])  # from the handle's middle to the palm's point that holds it, metres
ABOVE = np.array([0.0, 0.0, 0.05])
YAW = 0.26  # radians between palm and handle
BLOWS = 6  # at most
DRIVEN = 0.01  # metres between the nail and its goal, at most, in the end
EASY, EASIER = 0.05, 0.02  # of the usual pull to the posture


class Hammer(Script):
    """Reads where hammer and nail are; each blow follows from how the hammer lies in the hand and where the nail is."""

    name = "hammer"
    postures = ({"THJ4": -0.2}, BENT, HELD)
    pull = STIFF
    cameras: ClassVar[Mapping[str, View | str]] = {
        "first_person": View(90, -50, 0.85, np.array([0.02, -0.05, 0.12]), fovy=45),
        "third_person": View(150, -25, 0.9, np.array([0.0, -0.1, 0.15]), fovy=45),
    }
    workspace = Workspace(np.array([-0.1, -0.22, 0.12]), np.array([0.1, -0.18, 0.25]), 0.016)

    def _make_env(self) -> Any:
        return AdroitHandHammerEnv()

    def thing(self) -> np.ndarray:
        """Where the hammer is."""
        return self._body("Object")

    def goal(self) -> np.ndarray:
        """Where the nail's head is to be."""
        return np.array(self.env.data.site("nail_goal").xpos)

    def sentence(self, goal: np.ndarray) -> str:
        """The same for each."""
        return "hammer the nail into the board"

    def motions(self, rng: np.random.Generator, level: float, after: int) -> Iterator[Motion]:
        """To the hammer; grasp and lift it; blows until the nail is in."""
        pace, back = rng.uniform(0.85, 1.2), rng.uniform(0.05, 0.075)
        held = self.thing()[:3] + HELD_AT + rng.uniform(-0.002, 0.002, 3)
        start = self.hand.joints()
        palm, turn = self.hand.pose(start)
        turn = Rotation.from_rotvec([0, 0, YAW]).as_matrix() @ turn
        way = self._detour(rng, palm, held + ABOVE, 0.3 / pace, level)
        motion = self._moved(start, way, 0.0, 0.0, Aim(turns=np.repeat(turn[None], len(way), axis=0), pull=EASY))
        yield motion
        motion = self._grasp(motion.joints[-1], held, turn, pace)
        yield motion
        for blow in range(BLOWS):
            motion = self._strike(motion.joints[-1], self._nail_axis(), back, round(pace * (16 if blow else 28)))
            yield motion
            motion = self._strike(motion.joints[-1], self._nail_axis(), -0.12, round(pace * 15))
            yield motion
            if self._is_driven():
                break
        yield motion.rested(max(after, 6)).last(max(after, 6))

    def _grasp(self, start: np.ndarray, held: np.ndarray, turn: np.ndarray, pace: float) -> Motion:
        """Down to the handle, shut the fingers around it, and lift it to the nail's height."""
        down, shut, up = (round(pace * steps) for steps in (12, 24, 24))
        palm = self.hand.pose(start)[0]
        lift = np.array([0.0, 0.0, max(0.05, self._nail()[2] - 0.04)])
        path = np.concatenate([glide(palm, held, down), np.repeat(held[None], shut, axis=0)])
        aim = Aim(turns=np.repeat(turn[None], len(path), axis=0), pull=EASY)
        grip = np.concatenate([np.zeros(down), np.linspace(0, 1, shut)])
        grasp = self._moved(start, path, grip, 1.0, aim)
        raised = glide(held, held + lift, up)
        lifted = self._moved(grasp.joints[-1], raised, 1.0, 1.0, Aim(posture=grasp.joints[-1], pull=EASY))
        return grasp.then(lifted)

    def _strike(self, start: np.ndarray, axis: np.ndarray, out: float, steps: int) -> Motion:
        """Lead the hammer's face, as it lies in the hand now, to so far out of the nail's head."""
        tool = self.hand.carried(np.array(self.env.data.site("tool").xpos))
        palm, turn = self.hand.pose(start)
        way = glide(palm + turn @ tool, self._nail() + out * axis, steps)
        return self._moved(start, way, 1.0, 1.0, Aim(tool=tool, posture=start / 2, pull=EASIER))

    def _nail(self) -> np.ndarray:
        return np.array(self.env.data.site("S_target").xpos)

    def _nail_axis(self) -> np.ndarray:
        """Out of the board: unit vector [3]."""
        axis: np.ndarray = self.env.data.body("nail_board").xmat.reshape(3, 3)[:, 2].copy()
        return axis

    def _is_driven(self) -> bool:
        return float(np.linalg.norm(self._nail() - self.goal())) < DRIVEN
