"""Adroit's pen: the hand, which lies still, turns it with its fingers until its tip points where it should."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from gymnasium_robotics.envs.adroit_hand.adroit_pen import AdroitHandPenEnv

from vgen.simulators.adroit.pen_turns import ENDS, POSTURES
from vgen.simulators.adroit.script import Motion, Script
from vgen.simulators.adroit.settings import pen_turn
from vgen.simulators.cameras import HIDDEN_GROUP, physics, restore
from vgen.simulators.counterfactual import Workspace
from vgen.simulators.looks import View

STEPS = 18  # of one posture to the next, of which the fingers move for two thirds
HELD = 15  # steps, the last ones, in which the pen must stay as it should be
REST = 21  # steps after the last posture is asked for
DROPPED = 0.15  # metres above the table
TRIES, NEAREST = 24, 2  # variations that are tried, of the known turns that end the nearest
LEAST, MOST = 0.02, 0.2  # by how much, as a share of a joint's range, the first and the last of them vary


class Pen(Script):
    """Tries variations of known turns in the simulator itself, goes back, and makes the first that holds."""

    name = "pen"
    arm = ()
    postures = ({}, {})
    cameras: ClassVar[Mapping[str, View | str]] = {
        "first_person": View(90, -50, 0.5, np.array([0.0, -0.2, 0.25]), fovy=45),
        "third_person": View(145, -30, 0.6, np.array([0.0, -0.2, 0.25]), fovy=45),
    }
    workspace = Workspace(np.full(3, -1.0), np.full(3, 1.0), 0.0)

    def _make_env(self) -> Any:
        env = AdroitHandPenEnv()
        shown_goal = env.model.geom_bodyid == env.model.body("target").id
        env.model.geom_group[shown_goal] = HIDDEN_GROUP
        return env

    def thing(self) -> np.ndarray:
        """Where the pen is."""
        return self._body("Object")

    def goal(self) -> np.ndarray:
        """Where the pen's tip is to point: a unit vector."""
        data = self.env.data
        way = data.site("target_top").xpos - data.site("target_bottom").xpos
        return np.array(way / np.linalg.norm(way))

    def sentence(self, goal: np.ndarray) -> str:
        """Where the tip is to point."""
        return pen_turn(goal)

    def motions(self, rng: np.random.Generator, level: float, after: int) -> Iterator[Motion]:
        """One: three postures of the fingers, and then rest. None where no variation holds."""
        model, data = self.env.model, self.env.data
        start = physics(model, data)
        nearest = np.argsort(-ENDS @ self.goal())[:NEAREST]
        for varied in np.linspace(LEAST, MOST, TRIES):
            low, high = model.actuator_ctrlrange.T
            postures = POSTURES[rng.choice(nearest)] + varied * (high - low) * rng.standard_normal((3, len(low)))
            self.hand.take([np.zeros(len(low)), *np.clip(postures, low, high)])
            motion = self._turning(rng.uniform(0.9, 1.15))
            holds = self._holds(motion)
            restore(model, data, start)
            if holds:
                yield motion.rested(after)
                return

    def _turning(self, pace: float) -> Motion:
        """Through the postures that the hand has taken up, one after the other."""
        steps = round(pace * STEPS)
        third = np.minimum(1, 1.5 * np.arange(steps) / steps)
        grip = np.concatenate([(third + i) / 3 for i in range(3)] + [np.ones(REST)])
        palm = np.repeat(self.hand.palm()[None], len(grip), axis=0)
        return Motion(palm, grip, np.ones(len(grip)), np.zeros((len(grip), 0)))

    def _holds(self, motion: Motion) -> bool:
        """Whether the pen is as it should be in each of a motion's last steps."""
        waited = len(motion.grip) - HELD
        for k, grip in enumerate(motion.grip):
            _, _, _, _, info = self.env.step(self.hand.action(motion.joints[:3], grip))
            if self.thing()[2] < DROPPED or (k >= waited and not info["success"]):
                return False
        return True
