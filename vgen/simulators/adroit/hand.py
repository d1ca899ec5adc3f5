"""The Adroit hand in MuJoCo: where its keypoints are, and the actions that lead its palm along a path.

Keypoints come in MediaPipe's order. A joint is the origin of the body that turns in it, a tip is the model's own site:

| MediaPipe | Adroit |
| --- | --- |
| 0 wrist | body `wrist` |
| 1 thumb CMC, 2 MCP, 3 IP, 4 tip | bodies `thbase`, `thmiddle`, `thdistal`, site `S_thtip` |
| 5 index MCP, 6 PIP, 7 DIP, 8 tip | bodies `ffproximal`, `ffmiddle`, `ffdistal`, site `S_fftip` |
| 9-12 middle | the same of `mf` |
| 13-16 ring | the same of `rf` |
| 17-20 little | the same of `lf` |

It is a right hand. In the frame of its wrist, z points along the fingers, y out of the back of the hand and x to the
thumb.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

FINGERS = ("ff", "mf", "rf", "lf")
JOINT_BODIES = ["wrist", "thbase", "thmiddle", "thdistal"]
JOINT_BODIES += [finger + part for finger in FINGERS for part in ("proximal", "middle", "distal")]
TIP_SITES = ("S_thtip", *(f"S_{finger}tip" for finger in FINGERS))
LAYOUT = "adroit_hand"
_JOINTS = ["wrist", *(f"{name}_{i}" for name in ("thumb", "index", "middle", "ring", "little") for i in range(1, 5))]
LAYOUT_NAMES = [f"wrist_{axis}" for axis in "xyz"]
LAYOUT_NAMES += [f"wrist_r{row}{column}" for column in (1, 2) for row in (1, 2, 3)]  # of its rotation matrix
LAYOUT_NAMES += [f"right_{joint}_{axis}" for joint in _JOINTS for axis in "xyz"]

REACH_STEPS = 8  # of inverse kinematics per point of a path; each point starts from the one before
REACH_DAMPING, POSTURE_PULL = 1e-3, 2e-3  # square metres per squared joint step, and per squared angle off the posture
JOINT_COST = {"ARTx": 1, "ARTy": 1, "ARTz": 1, "ARRx": 0.5, "ARRy": 4, "ARRz": 4, "WRJ1": 8, "WRJ0": 4}
"""Of leaving the posture, of the joints of arm and wrist; a task has some of them."""
TURN_WEIGHT = 0.06  # metres that are worth a radian between the palm and how it should be turned
SOFT, STIFF = (200.0, 25.0), (600.0, 45.0)  # of the arm about its path: accelerations per radian (metre), per radian/s
OPEN = {"THJ4": 0.3}  # joint angles; the others are 0
SHUT = {"THJ4": 0.9, "THJ3": 0.8, "THJ1": -0.18, "THJ0": -0.4, "LFJ4": 0.3}
SHUT |= {
    f"{finger}J{i}": angle for finger in ("FF", "MF", "RF", "LF") for i, angle in {2: 1.5, 1: 1.35, 0: 1.2}.items()
}


Postures = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Aim:
    """What else than a path inverse kinematics is to follow.

    turns: [T, 3, 3], how the palm is to be turned to the world's frame; None leaves that open.
    tool: [3], from the palm's point to the point that follows the path, in the palm's axes, metres.
    posture: joints [N] that are pulled to; None for all zeros.
    pull: how strongly; 1 is usual.
    """

    turns: np.ndarray | None = None
    tool: np.ndarray = field(default_factory=lambda: np.zeros(3))
    posture: np.ndarray | None = None
    pull: float = 1.0


class Hand:
    """The hand of an Adroit environment, whose arm has up to six joints and the wrist two: N joints follow a path.

    Args:
        model, data: of the environment.
        step: seconds per control step.
        postures: joint angles of the fingers, from grip 0 at even distances to grip 1; those not named are 0.
        pull: stiffness and damping of the arm about its path.
        arm: names out of which those joints are; the others are taken through the postures.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        step: float,
        postures: Postures = (OPEN, SHUT),
        pull: tuple[float, float] = SOFT,
        arm: Sequence[str] = tuple(JOINT_COST),
    ) -> None:
        self.model, self.data, self._step = model, data, step
        self._stiffness, self._damping = pull
        self._scratch = mujoco.MjData(model)
        self._bodies = [model.body(name).id for name in JOINT_BODIES]
        self._tips = [model.site(name).id for name in TIP_SITES]
        self._grasp, self._palm = model.site("S_grasp").id, model.body("palm").id
        led = [model.joint(i).name for i in range(len(JOINT_COST))]
        self._cost = np.array([JOINT_COST[name] for name in led if name in arm])
        self._arm = len(self._cost)
        self._limits = model.jnt_range[: self._arm].T
        fingers = [model.joint(int(joint)).name for joint in model.actuator_trnid[self._arm :, 0]]
        self._postures = [np.array([posture.get(name, 0.0) for name in fingers]) for posture in postures]
        ends = model.actuator_ctrlrange
        self._middle, self._half = ends.mean(axis=1), (ends[:, 1] - ends[:, 0]) / 2

    def take(self, postures: Sequence[np.ndarray]) -> None:
        """Let grips from 0 to 1 lead through other postures: joint angles [M - N], in the actuators' order."""
        self._postures = list(postures)

    def settle(self) -> None:
        """Bring all that follows from joint positions and velocities up to them; a step leaves it 2 ms behind."""
        mujoco.mj_fwdPosition(self.model, self.data)
        mujoco.mj_fwdVelocity(self.model, self.data)

    def state(self) -> np.ndarray:
        """The hand now, in the columns LAYOUT_NAMES: float32 [72], metres, in the world's frame."""
        joints, tips = self.data.xpos[self._bodies], self.data.site_xpos[self._tips]
        fingers = np.concatenate([joints[1:].reshape(5, 3, 3), tips[:, None]], axis=1).reshape(20, 3)
        rotation = self.data.xmat[self._bodies[0]].reshape(3, 3)
        parts = (joints[0], rotation[:, 0], rotation[:, 1], joints[0], fingers.ravel())
        return np.concatenate(parts).astype(np.float32)

    def palm(self) -> np.ndarray:
        """The point under the palm where things are held, now: [3], metres, in the world's frame."""
        return np.array(self.data.site_xpos[self._grasp])

    def joints(self) -> np.ndarray:
        """The arm's and wrist's joints now: [N], metres and radians."""
        return np.array(self.data.qpos[: self._arm])

    def reach(self, path: np.ndarray, start: np.ndarray, aim: Aim | None = None) -> np.ndarray:
        """Inverse kinematics: the joints of arm and wrist that lead the palm along a path.

        Args:
            path: [T, 3], metres, in the world's frame.
            start: joints [N] to search from.
            aim: what else the palm is to do.

        Returns:
            [T, N], within the joints' limits; out of reach is as near as they come.
        """
        aim = aim or Aim()
        joints, solved = start, []
        for k, point in enumerate(path):
            for _ in range(REACH_STEPS):
                joints = self._nearer(joints, point, None if aim.turns is None else aim.turns[k], aim)
            solved.append(joints)
        return np.stack(solved)

    def pose(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where joints [N] put the palm's point, [3], and how they turn the palm, [3, 3] to the world's frame."""
        self._scratch.qpos[: self._arm] = joints
        mujoco.mj_kinematics(self.model, self._scratch)
        mujoco.mj_comPos(self.model, self._scratch)
        turn = self._scratch.xmat[self._palm].reshape(3, 3).copy()
        return self._scratch.site_xpos[self._grasp].copy(), turn

    def carried(self, point: np.ndarray) -> np.ndarray:
        """A point [3] of the world as it lies in the hand now: from the palm's point, in the palm's axes, metres."""
        turn = self.data.xmat[self._palm].reshape(3, 3)
        return np.array(turn.T @ (point - self.data.site_xpos[self._grasp]))

    def _nearer(self, joints: np.ndarray, point: np.ndarray, turn: np.ndarray | None, aim: Aim) -> np.ndarray:
        """A step of damped least squares with a pull to the posture; joints at their limits stay there."""
        at, turned = self.pose(joints)
        away = turned @ aim.tool
        jacobian, spin = np.zeros((3, self.model.nv)), np.zeros((3, self.model.nv))
        mujoco.mj_jac(self.model, self._scratch, jacobian, spin, at + away, self._palm)
        error, pull = point - (at + away), aim.pull * POSTURE_PULL * self._cost
        if turn is not None:
            jacobian = np.concatenate([jacobian, TURN_WEIGHT * spin])
            error = np.concatenate([error, TURN_WEIGHT * Rotation.from_matrix(turn @ turned.T).as_rotvec()])
        off = joints if aim.posture is None else joints - aim.posture
        free = np.ones(self._arm, dtype=bool)
        for _ in range(2):
            columns = jacobian[:, : self._arm][:, free]
            left = columns.T @ columns + np.diag(pull[free] + REACH_DAMPING)
            step = np.zeros(self._arm)
            step[free] = np.linalg.solve(left, columns.T @ error - pull[free] * off[free])
            moved: np.ndarray = np.clip(joints + step, *self._limits)
            free = moved == joints + step
        return moved

    def action(self, joints: np.ndarray, grip: float) -> np.ndarray:
        """The action that follows the joints of arm and wrist, by computed torque, with the fingers at `grip`.

        Args:
            joints: [3, N]: where they should be now, and one and two control steps ahead.
            grip: 0 open to 1 shut.

        Returns:
            float32 [N + 22], in [-1, 1]: one position per actuator, scaled to its range, as the environment takes it.
        """
        control = np.concatenate([self._follow(joints), self._fingers(grip)])
        scaled: np.ndarray = np.clip((control - self._middle) / self._half, -1, 1)
        return scaled.astype(np.float32)

    def _fingers(self, grip: float) -> np.ndarray:
        """Joint angles [22] between the two postures that a grip lies between."""
        at = grip * (len(self._postures) - 1)
        before = min(int(at), len(self._postures) - 2)
        low, high = self._postures[before : before + 2]
        between: np.ndarray = low + (at - before) * (high - low)
        return between

    def _follow(self, joints: np.ndarray) -> np.ndarray:
        """Actuator positions [N] whose forces accelerate the arm along its path, against gravity and friction."""
        model, data, arm = self.model, self.data, slice(self._arm)
        speed, bend = (joints[1] - joints[0]) / self._step, (joints[2] - 2 * joints[1] + joints[0]) / self._step**2
        acceleration = np.zeros(model.nv)
        acceleration[arm] = (
            bend + self._stiffness * (joints[0] - data.qpos[arm]) + self._damping * (speed - data.qvel[arm])
        )
        force = np.zeros(model.nv)
        mujoco.mj_mulM(model, data, force, acceleration)
        force += data.qfrc_bias - data.qfrc_passive
        gain, spring = model.actuator_gainprm[arm, 0], -model.actuator_biasprm[arm, 1]  # force = gain u - spring q
        positions: np.ndarray = (force[arm] + spring * data.qpos[arm]) / gain
        return positions
