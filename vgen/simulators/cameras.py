"""Cameras without a screen: draws the states of a MuJoCo simulation, as fast as software rendering allows."""

from collections.abc import Iterator, Mapping

import mujoco
import numpy as np

HIDDEN_GROUP = 5  # a geometry group that MuJoCo leaves out by default
PHYSICS = mujoco.mjtState.mjSTATE_INTEGRATION  # all that the next step follows from, to the last bit


def physics(model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
    """The whole state of the simulation now: float64 [S]."""
    state = np.empty(mujoco.mj_stateSize(model, PHYSICS))
    mujoco.mj_getState(model, data, state, PHYSICS)
    return state


def restore(model: mujoco.MjModel, data: mujoco.MjData, state: np.ndarray) -> None:
    """Put the simulation back into a state that `physics` took, so that it goes on from there as it did."""
    mujoco.mj_setState(model, data, state, PHYSICS)
    mujoco.mj_forward(model, data)
    mujoco.mj_setState(model, data, state, PHYSICS)  # the solver's starting point, which mj_forward moved


class FrameRenderer:
    """Draws frames of one environment, and tells where its cameras are.

    Args:
        model, data: of the environment; drawing leaves `data` in the state that was drawn last.
        size: height and width of the frames in pixels.
        cameras: name to a free camera, or to the name of a camera of the model.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        size: int,
        cameras: Mapping[str, mujoco.MjvCamera | str],
    ) -> None:
        self.model, self.data = model, data
        quality = self.model.vis.quality
        quality.offsamples, quality.shadowsize = 0, 1024
        self._renderer = mujoco.Renderer(self.model, size, size)
        self._option = mujoco.MjvOption()
        self._option.sitegroup[:] = 0  # sites mark the goals
        self._groups = self.model.geom_group.copy()
        self._cameras = dict(cameras)

    def close(self) -> None:
        """Free the drawing context."""
        self._renderer.close()

    def render(self, states: np.ndarray, camera: str) -> np.ndarray:
        """Draw states [T, S] of `physics` from one camera: uint8 [T, size, size, 3]."""
        images = []
        for _ in self._replay(states):
            self._aim(camera)
            images.append(self._renderer.render())
        return np.stack(images)

    def camera_pose(self, states: np.ndarray, camera: str) -> np.ndarray:
        """Where a camera is in states [T, S] of `physics`.

        Returns:
            float32 [T, 7]: position in metres, and the quaternion (w first) that turns camera axes (x right, y down,
            z forward) into world axes.
        """
        poses = []
        for _ in self._replay(states):
            position, axes = self._view(camera)
            quaternion = np.empty(4)
            mujoco.mju_mat2Quat(quaternion, axes.T.ravel())
            poses.append(np.concatenate([position, quaternion]))
        return np.stack(poses).astype(np.float32)

    def _replay(self, states: np.ndarray) -> Iterator[None]:
        """Put the simulator into each state in turn."""
        for state in states:
            mujoco.mj_setState(self.model, self.data, state, PHYSICS)
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
        seen: np.ndarray = inside | (radius == 0)
        return seen


def free_camera(
    lookat: tuple[float, float, float], distance: float, azimuth: float, elevation: float
) -> mujoco.MjvCamera:
    """A camera at `distance` metres from the point `lookat`, its direction in degrees."""
    camera = mujoco.MjvCamera()
    camera.lookat[:] = lookat
    camera.distance, camera.azimuth, camera.elevation = distance, azimuth, elevation
    return camera
