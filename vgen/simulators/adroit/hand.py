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

import mujoco
import numpy as np

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
JOINT_COST = np.array([1, 1, 1, 0.5, 4, 4, 8, 4])  # of leaving the posture: ARTx y z, ARRx y z, WRJ1, WRJ0
STIFFNESS, DAMPING = 200.0, 25.0  # of the arm about its path: accelerations per radian (metre) and per radian/s
OPEN = {"THJ4": 0.3}  # joint angles; the others are 0
SHUT = {"THJ4": 0.9, "THJ3": 0.8, "THJ1": -0.18, "THJ0": -0.4, "LFJ4": 0.3}
SHUT |= {
    f"{finger}J{i}": angle for finger in ("FF", "MF", "RF", "LF") for i, angle in {2: 1.5, 1: 1.35, 0: 1.2}.items()
}


class Hand:
    """The hand of Adroit's relocation environment, whose arm has six joints and the wrist two.

    Args:
        model, data: of the environment.
        step: seconds per control step.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, step: float) -> None:
        self.model, self.data, self._step = model, data, step
        self._scratch = mujoco.MjData(model)
        self._bodies = [model.body(name).id for name in JOINT_BODIES]
        self._tips = [model.site(name).id for name in TIP_SITES]
        self._grasp = model.site("S_grasp").id
        self._arm = len(JOINT_COST)
        self._limits = model.jnt_range[: self._arm].T
        fingers = [model.joint(int(joint)).name for joint in model.actuator_trnid[self._arm :, 0]]
        self._open = np.array([OPEN.get(name, 0.0) for name in fingers])
        self._shut = np.array([SHUT.get(name, 0.0) for name in fingers])
        ends = model.actuator_ctrlrange
        self._middle, self._half = ends.mean(axis=1), (ends[:, 1] - ends[:, 0]) / 2

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
        """The arm's and wrist's joints now: [8], metres and radians."""
        return np.array(self.data.qpos[: self._arm])

    def reach(self, path: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Inverse kinematics: the joints of arm and wrist that lead the palm along a path.

        Args:
            path: [T, 3], metres, in the world's frame.
            start: joints [8] to search from.

        Returns:
            [T, 8], within the joints' limits; out of reach is as near as they come.
        """
        joints, solved = start, []
        for point in path:
            for _ in range(REACH_STEPS):
                joints = self._nearer(joints, point)
            solved.append(joints)
        return np.stack(solved)

    def _nearer(self, joints: np.ndarray, point: np.ndarray) -> np.ndarray:
        """A step of damped least squares with a pull to the posture of all zeros; joints at their limits stay there."""
        self._scratch.qpos[: self._arm] = joints
        mujoco.mj_kinematics(self.model, self._scratch)
        mujoco.mj_comPos(self.model, self._scratch)
        jacobian = np.zeros((3, self.model.nv))
        mujoco.mj_jacSite(self.model, self._scratch, jacobian, None, self._grasp)
        error, pull = point - self._scratch.site_xpos[self._grasp], POSTURE_PULL * JOINT_COST
        free = np.ones(self._arm, dtype=bool)
        for _ in range(2):
            columns = jacobian[:, : self._arm][:, free]
            left = columns.T @ columns + np.diag(pull[free] + REACH_DAMPING)
            step = np.zeros(self._arm)
            step[free] = np.linalg.solve(left, columns.T @ error - pull[free] * joints[free])
            moved: np.ndarray = np.clip(joints + step, *self._limits)
            free = moved == joints + step
        return moved

    def action(self, joints: np.ndarray, grip: float) -> np.ndarray:
        """The action that follows the joints of arm and wrist, by computed torque, with the fingers at `grip`.

        Args:
            joints: [3, 8]: where they should be now, and one and two control steps ahead.
            grip: 0 open to 1 shut.

        Returns:
            float32 [30], in [-1, 1]: one position per actuator, scaled to its range, as the environment takes it.
        """
        control = np.concatenate([self._follow(joints), self._open + grip * (self._shut - self._open)])
        scaled: np.ndarray = np.clip((control - self._middle) / self._half, -1, 1)
        return scaled.astype(np.float32)

    def _follow(self, joints: np.ndarray) -> np.ndarray:
        """Actuator positions [8] whose forces accelerate the arm along its path, against gravity and friction."""
        model, data, arm = self.model, self.data, slice(self._arm)
        speed, bend = (joints[1] - joints[0]) / self._step, (joints[2] - 2 * joints[1] + joints[0]) / self._step**2
        acceleration = np.zeros(model.nv)
        acceleration[arm] = bend + STIFFNESS * (joints[0] - data.qpos[arm]) + DAMPING * (speed - data.qvel[arm])
        force = np.zeros(model.nv)
        mujoco.mj_mulM(model, data, force, acceleration)
        force += data.qfrc_bias - data.qfrc_passive
        gain, spring = model.actuator_gainprm[arm, 0], -model.actuator_biasprm[arm, 1]  # force = gain u - spring q
        positions: np.ndarray = (force[arm] + spring * data.qpos[arm]) / gain
        return positions
