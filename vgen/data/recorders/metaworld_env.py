"""Meta-World simulation: seeded environments, noisy experts and headless cameras."""

import os
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vgen.errors import InputError

os.environ.setdefault("MUJOCO_GL", "egl")  # read by mujoco when it is imported

try:
    import mujoco
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    from metaworld.policies import ENV_POLICY_MAP
    from metaworld.policies.policy import Policy
    from metaworld.sawyer_xyz_env import SawyerXYZEnv
except ImportError as error:
    raise InputError(
        f"recording Meta-World needs its package ({error}); install it with: pip install metaworld"
    ) from error

FPS = 80  # one frame per control step of 5 x 2.5 ms
STATE_NAMES = ["x", "y", "z", "gripper"]
ACTION_NAMES = ["dx", "dy", "dz", "gripper"]
POSE_NAMES = ["x", "y", "z", "qw", "qx", "qy", "qz"]

NOISE_LEVELS = (0.0, 0.15, 0.4)  # of the largest action, one of them per episode
NOISE_MEMORY = 0.9  # correlation between the noise of two consecutive actions
ATTEMPTS = 8
STEPS_AFTER_SUCCESS = 6

FREE_CAMERAS = {
    "first_person": {"lookat": (0.0, 0.65, 0.1), "distance": 0.85, "azimuth": 90, "elevation": -42},
    "third_person": {"lookat": (0.0, 0.55, 0.1), "distance": 1.3, "azimuth": 135, "elevation": -30},
}
MODEL_CAMERAS = {"eye_in_hand": "gripperPOV"}
HIDDEN_GROUP = 5  # a geometry group that MuJoCo leaves out by default


@dataclass(frozen=True)
class Rollout:
    """One successful episode of T steps; row k is what was before action k.

    state: float32 [T, 4], hand position x, y, z in metres in the world frame and gripper opening (0 shut, 1 open).
    action: float32 [T, 4], in [-1, 1]: hand displacement in units of 1 cm, and gripper effort (1 shuts).
    qpos, mocap: the simulator's joint positions and control-body positions, from which each frame is drawn.
    noise: noise level that the expert's actions were disturbed with.
    """

    state: np.ndarray
    action: np.ndarray
    qpos: np.ndarray
    mocap: np.ndarray
    noise: float


def make_env(task: str) -> SawyerXYZEnv:
    """Make a Meta-World environment whose layout follows `env.seed` and whose experts see the goal."""
    env = ALL_V3_ENVIRONMENTS[task]()
    env._partially_observable = False
    del env.sawyer_observation_space  # cached for the hidden goal; its bounds would clip the goal to zero
    env._freeze_rand_vec = False
    env.seeded_rand_vec = True
    env._set_task_called = True
    assert round(1 / env.dt) == FPS, f"one control step of {task} takes {env.dt} s"
    return env


def roll_out(env: SawyerXYZEnv, task: str, seed: int, max_steps: int) -> Rollout | None:
    """Simulate the episode of (task, seed) with its noisy expert until shortly after success.

    A failed attempt is followed by another with a new layout and less noise; the last ones have none.

    Returns:
        The first attempt that succeeds within `max_steps` steps, or None where none of them does.
    """
    rng = np.random.default_rng([zlib.crc32(task.encode()), seed])
    level = float(rng.choice(NOISE_LEVELS))
    for attempt in range(ATTEMPTS):
        noise = level * max(0.0, 1 - 2 * attempt / ATTEMPTS)
        env.seed(int(rng.integers(2**31)))
        rollout = _attempt(env, ENV_POLICY_MAP[task](), _noise(rng, noise, max_steps), noise)
        if rollout is not None:
            return rollout
    return None


def _noise(rng: np.random.Generator, level: float, steps: int) -> np.ndarray:
    """Temporally correlated noise [steps, 4] that comes and goes; the gripper is left alone."""
    white = rng.standard_normal((steps, 4)) * np.sqrt(1 - NOISE_MEMORY**2)
    noise = np.zeros((steps, 4))
    for k in range(1, steps):
        noise[k] = NOISE_MEMORY * noise[k - 1] + white[k]
    present = noise[:, 3:] > 0
    noise[:, 3] = 0.0
    return level * present * noise


def _attempt(env: SawyerXYZEnv, expert: Policy, noise: np.ndarray, level: float) -> Rollout | None:
    observation, _ = env.reset()
    rows, left = [], None
    for disturbance in noise:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # experts ask for more than the largest action
            wanted = expert.get_action(observation)
        action = np.clip(np.clip(wanted, -1, 1) + disturbance, -1, 1).astype(np.float32)
        rows.append((observation[:4], action, env.data.qpos.copy(), env.data.mocap_pos.copy()))
        observation, _, _, _, info = env.step(action)
        if left is None and info["success"]:
            left = STEPS_AFTER_SUCCESS
        elif left is not None:
            left -= 1
        if left == 0:
            break
    if left is None:
        return None
    state, action, qpos, mocap = (np.stack(column) for column in zip(*rows, strict=True))
    return Rollout(state.astype(np.float32), action, qpos, mocap, level)


class Studio:
    """Draws frames of one environment from its cameras, as fast as software rendering allows.

    Args:
        env: an environment from `make_env`.
        size: height and width of the frames in pixels.
    """

    def __init__(self, env: SawyerXYZEnv, size: int) -> None:
        self.model, self.data = env.model, env.data
        quality = self.model.vis.quality
        quality.offsamples, quality.shadowsize = 0, 1024
        self._renderer = mujoco.Renderer(self.model, size, size)
        self._option = mujoco.MjvOption()
        self._option.sitegroup[:] = 0  # sites mark the goals
        self._groups = self.model.geom_group.copy()
        self._cameras = {name: _free_camera(**place) for name, place in FREE_CAMERAS.items()} | MODEL_CAMERAS

    def close(self) -> None:
        """Free the drawing context."""
        self._renderer.close()

    def film(self, rollout: Rollout, camera: str) -> np.ndarray:
        """Draw every frame of a rollout from one camera: uint8 [T, size, size, 3]."""
        images = []
        for _ in self._replay(rollout):
            self._aim(camera)
            images.append(self._renderer.render())
        return np.stack(images)

    def pose(self, rollout: Rollout, camera: str) -> np.ndarray:
        """Where a camera is at every frame of a rollout.

        Returns:
            float32 [T, 7]: position in metres, and the quaternion (w first) that turns camera axes (x right, y down,
            z forward) into world axes.
        """
        poses = []
        for _ in self._replay(rollout):
            position, axes = self._view(camera)
            quaternion = np.empty(4)
            mujoco.mju_mat2Quat(quaternion, axes.T.ravel())
            poses.append(np.concatenate([position, quaternion]))
        return np.stack(poses).astype(np.float32)

    def _replay(self, rollout: Rollout) -> Iterator[None]:
        """Put the simulator into each state of a rollout in turn."""
        for qpos, mocap in zip(rollout.qpos, rollout.mocap, strict=True):
            self.data.qpos[:], self.data.mocap_pos[:] = qpos, mocap
            mujoco.mj_kinematics(self.model, self.data)
            mujoco.mj_comPos(self.model, self.data)
            mujoco.mj_camlight(self.model, self.data)
            yield

    def _view(self, camera: str) -> tuple[np.ndarray, np.ndarray]:
        """Put a camera into the scene; its position [3] and its right, down and forward axes as rows [3, 3]."""
        self._renderer.update_scene(self.data, self._cameras[camera], self._option)
        left, right = self._renderer.scene.camera  # the two eyes of a stereo camera
        forward, up = left.forward.astype(np.float64), left.up.astype(np.float64)
        return (left.pos + right.pos) / 2.0, np.stack([np.cross(forward, up), -up, forward])

    def _aim(self, camera: str) -> None:
        """Prepare the scene for a camera, leaving out what lies outside its view: that halves the drawing time."""
        position, axes = self._view(camera)
        self.model.geom_group[:] = np.where(self._in_view(position, axes), self._groups, HIDDEN_GROUP)
        self._view(camera)
        self.model.geom_group[:] = self._groups
        flags = self._renderer.scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SHADOW] = flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0

    def _in_view(self, position: np.ndarray, axes: np.ndarray) -> np.ndarray:
        """Which geoms' bounding spheres touch the view pyramid: bool [geoms]. A plane has no sphere: always."""
        eye = self._renderer.scene.camera[0]
        slope = eye.frustum_top / eye.frustum_near
        x, y, z = axes @ (self.data.geom_xpos - position).T
        radius = self.model.geom_rbound
        reach = radius * np.hypot(1, slope)
        inside = (z > -radius) & (np.abs(x) - slope * z <= reach) & (np.abs(y) - slope * z <= reach)
        return inside | (radius == 0)


def _free_camera(
    lookat: tuple[float, float, float], distance: float, azimuth: float, elevation: float
) -> mujoco.MjvCamera:
    camera = mujoco.MjvCamera()
    camera.lookat[:] = lookat
    camera.distance, camera.azimuth, camera.elevation = distance, azimuth, elevation
    return camera
