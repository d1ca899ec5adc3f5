"""Adroit's door: the hand turns the handle, pulls the door ajar, and pushes it open from behind its edge."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from gymnasium_robotics.envs.adroit_hand.adroit_door import AdroitHandDoorEnv
from scipy.spatial.transform import Rotation, Slerp

from vgen.simulators.adroit.hand import OPEN, SHUT, STIFF, Aim
from vgen.simulators.adroit.script import Motion, Script, eased, named
from vgen.simulators.counterfactual import Workspace
from vgen.simulators.looks import View
from vgen.simulators.paths import glide

HOOK = OPEN | named(["J2"], 1.35) | named(["J1"], 0.35) | named(["J0"], 0.25)  # fingers behind the handle
HELD_AT = np.array([0.0, 0.03, -0.03])  # from the handle's middle to the palm's point that holds it, metres
ABOVE = np.array([0.0, 0.0, 0.1])
TURNED, AJAR, WIDE = 1.5, 0.72, 1.5  # radians: of the handle; of the door when it is pulled, and pushed, open
HINGE = np.array([0.6, 0.0, 0.0])  # from the frame to the hinge's axis
EDGE = np.array([-0.56, 0.0, 0.0])  # from the hinge's axis to the door's free edge, in the door's axes
LATCH = np.array([-0.46, 0.0, -0.025])
BEHIND = np.array([0.03, 0.09, 0.0])  # from that edge to the palm's point that pushes
BACK = np.array([0.02, -0.17, 0.0])  # from the handle, so that the hand is clear of it
LOW = 0.15  # metres above the table: under the handle's bolt
OPENED = 1.35  # radians of the door that count as open
EASY = 0.05  # of the usual pull to the posture, where the palm's turn is told


class Door(Script):
    """Reads where the handle is; what it does then follows from how far the door has come."""

    name = "door"
    postures = (OPEN, HOOK, SHUT)
    pull = STIFF
    cameras: ClassVar[Mapping[str, View | str]] = {
        "first_person": View(90, -42, 1.12, np.array([0.1, 0.0, 0.18]), fovy=45),
        "third_person": View(135, -25, 1.1, np.array([0.0, 0.05, 0.2]), fovy=45),
    }
    workspace = Workspace(np.array([-0.15, -0.25, 0.12]), np.array([0.2, -0.05, 0.3]), 0.016)

    def _make_env(self) -> Any:
        return AdroitHandDoorEnv()

    def thing(self) -> np.ndarray:
        """Where the handle is, whose turn tells door and handle."""
        return self._body("latch")

    def goal(self) -> np.ndarray:
        """Where the handle's axis is when the door is open."""
        return self._point(OPENED, LATCH)

    def sentence(self, goal: np.ndarray) -> str:
        """The same for each."""
        return "open the door"

    def motions(self, rng: np.random.Generator, level: float, after: int) -> Iterator[Motion]:
        """To the handle; turn and pull it; around the edge, and push."""
        pace = rng.uniform(0.75, 1.15)  # steps, as a share of the usual
        hand, along = self.hand, rng.uniform(0.12, 0.14)
        start, plain = hand.joints(), hand.pose(np.zeros(len(hand.joints())))[1]
        palm, turn = hand.pose(start)
        over, _ = self._grasp(0.0, 0.0, along, plain)
        way = self._detour(rng, palm, over + ABOVE, 0.4 / pace, level)
        aim = Aim(turns=np.repeat(turn[None], len(way), axis=0), pull=EASY)
        yield self._moved(start, way, np.linspace(0, 0.5, len(way)), 0.0, aim)
        yield self._pull(along, plain, pace, rng.uniform(0.97, 1.05) * AJAR)
        yield self._push(plain, pace).rested(after)

    def _pull(self, along: float, plain: np.ndarray, pace: float, ajar: float) -> Motion:
        """Down on the handle, shut the fingers, turn, and pull."""
        legs = [  # steps, height over the handle, turn of the handle, of the door, grip: at the end of each
            (16, 0.0, 0.0, 0.0, 0.5),
            (14, 0.0, 0.0, 0.0, 1.0),
            (28, 0.0, TURNED, 0.0, 1.0),
            (68, 0.0, TURNED, ajar, 1.0),
        ]
        rows, before = [], np.array([1.0, 0.0, 0.0, 0.5])
        for steps, *ends in legs:
            share = eased(max(8, round(pace * steps)))[:, None]
            rows.append(before + share * (np.array(ends) - before))
            before = np.array(ends)
        table = np.concatenate(rows)
        poses = [self._grasp(handle, door, along, plain) for _, handle, door, _ in table]
        path = np.stack([point for point, _ in poses]) + table[:, :1] * ABOVE
        aim = Aim(turns=np.stack([turn for _, turn in poses]), pull=EASY)
        return self._moved(self.hand.joints(), path, table[:, 3], 1.0, aim)

    def _push(self, plain: np.ndarray, pace: float) -> Motion:
        """Let go, back, around the door's free edge, and push it open from behind."""
        door, start = float(self.env.data.joint("door_hinge").qpos[0]), self.hand.joints()
        palm, turn = self.hand.pose(start)
        edge = _lowered(self._point(door, EDGE))
        places = [palm, palm + BACK, edge + np.array([-0.13, -0.17, 0.0]), edge + np.array([-0.13, 0.08, 0.0])]
        steps = [round(pace * usual) for usual in (20, 24, 20)]
        ways = [glide(places[i], places[i + 1], count) for i, count in enumerate(steps)]
        angles = door + eased(round(pace * 60)) * (WIDE - door)
        sweep = np.stack([_lowered(self._point(angle, EDGE + BEHIND)) for angle in angles])
        share = np.minimum(1, np.arange(1, len(sweep) + 1) / 12)[:, None]  # from where it waits to the door's back
        path = np.concatenate([*ways, places[-1] + share * (sweep - places[-1])])
        tilted = Rotation.from_rotvec([0, 0.9, 0]).as_matrix() @ plain
        turning = Slerp([0, steps[0] + steps[1]], Rotation.from_matrix(np.stack([turn, tilted])))
        turns = turning(np.minimum(np.arange(len(path)), steps[0] + steps[1])).as_matrix()
        grip = 1 - np.minimum(1, np.arange(1, len(path) + 1) / steps[0])
        return self._moved(start, path, grip, 1.0, Aim(turns=turns, pull=EASY))

    def _point(self, door: float, point: np.ndarray) -> np.ndarray:
        """A point [3] of the door, told from its hinge, in the world when the door is open by so many radians."""
        hinge = np.array(self.env.model.body("frame").pos) + HINGE
        at: np.ndarray = hinge + Rotation.from_rotvec([0, 0, door]).apply(point)
        return at

    def _grasp(self, handle: float, door: float, along: float, plain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the palm's point is, [3], and how the palm is turned, [3, 3], when it holds the handle so turned."""
        opened = Rotation.from_rotvec([0, 0, door])
        lever = opened * Rotation.from_rotvec([0, handle, 0])
        axis = self._point(door, LATCH)
        middle = axis + lever.apply([along, -0.15, 0])
        rolled = opened * Rotation.from_rotvec([0, min(handle, 1.4), 0])
        forward, under = np.array([0, HELD_AT[1], 0]), np.array([0, 0, HELD_AT[2]])
        turned: np.ndarray = rolled.as_matrix() @ plain
        return middle + forward + rolled.apply(under), turned


def _lowered(point: np.ndarray) -> np.ndarray:
    return np.array([point[0], point[1], LOW])
