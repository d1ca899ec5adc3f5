"""Cameras without a screen: draws the states of a MuJoCo simulation, as fast as software rendering allows."""

from collections.abc import Iterator, Mapping

import mujoco
import numpy as np

from vgen.simulators.looks import Look, View, moved
from vgen.simulators.scenery import Scenery

MARGIN = 0.06  # of the frame, at each of its edges, that does not count as in the frame
HIDING = 0.12  # of the way to a point, before it, within which a thing may be a part of what is looked at
NEAR = 0.5  # of the way to what a camera looks at: nearer things stand in its way
RAYS = 5  # along each side of the frame
VISIBLE_GROUPS = np.array([1, 1, 1, 0, 0, 0], dtype=np.uint8)  # those that MuJoCo draws by default
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
        cameras: name to the plain view of a free camera, or to the name of a camera of the model. The first free one is
            that whose view a look tells.
        robot: a body of the robot, whose colours vary less than those of other things.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        size: int,
        cameras: Mapping[str, View | str],
        robot: str,
    ) -> None:
        self.model, self.data = model, data
        quality = self.model.vis.quality
        quality.offsamples, quality.shadowsize = 0, 1024
        self._renderer = mujoco.Renderer(self.model, size, size)
        self._option = mujoco.MjvOption()
        self._option.sitegroup[:] = 0  # sites mark the goals
        self._groups = self.model.geom_group.copy()
        self._views = {name: view for name, view in cameras.items() if isinstance(view, View)}
        self._cameras = {name: _free_camera(view) if isinstance(view, View) else view for name, view in cameras.items()}
        self._scenery = Scenery(model, robot)
        self.look = self.plain = Look(next(iter(self._views.values())), self._scenery.light())

    def dress(self, look: Look) -> None:
        """Draw from now on under a look; `plain` is the scene's own."""
        self.look = look
        self.look_from(look.view)
        if self._scenery.dress(look):
            self._renderer._gl_context.make_current()
            for texture in range(self.model.ntex):
                mujoco.mjr_uploadTexture(self.model, self._renderer._mjr_context, texture)

    def look_from(self, first: View) -> None:
        """Move the first free camera to a view, and the other free ones by the same way."""
        self.model.vis.global_.fovy = first.fovy
        for name, view in self._views.items():
            self._cameras[name] = _free_camera(moved(view, self.plain.view, first))

    def shown(self, states: np.ndarray, points: np.ndarray, camera: str) -> tuple[float, float]:
        """How much of some points a camera has in its frame, and how much of the frame nothing near stands before.

        Args:
            states: [T, S] of `physics`.
            points: [T, P, 3], in those states; metres, in the world's frame.
            camera: its name.

        Returns:
            The share of the points that lie in the frame, not at its very edge, and are not hidden; and the share of
            the frame's directions in which the nearest thing is farther than NEAR of the way to where a free camera
            looks. Both 0 to 1.
        """
        visible, clear = [], []
        for seen, _ in zip(points, self._replay(states), strict=True):
            position, axes = self._view(camera)
            eye = self._renderer.scene.camera[0]
            slope = eye.frustum_top / eye.frustum_near
            x, y, z = axes @ (seen - position).T
            inside = np.maximum(np.abs(x), np.abs(y)) <= (1 - 2 * MARGIN) * slope * z
            open_ways = [self._distance(position, point - position) > 1 - HIDING for point in seen]
            visible.append(inside & np.array(open_ways))
            rays = self._reach(camera) * _pyramid(slope) @ axes
            clear.append([self._distance(position, ray) > NEAR for ray in rays])
        return float(np.mean(visible)), float(np.mean(clear))

    def _reach(self, camera: str) -> float:
        looked = self._cameras[camera]
        return looked.distance if isinstance(looked, mujoco.MjvCamera) else 1.0

    def _distance(self, position: np.ndarray, way: np.ndarray) -> float:
        """How far the first visible thing is, in lengths of `way`; infinite where there is none."""
        hit = np.zeros(1, dtype=np.int32)
        distance = mujoco.mj_ray(self.model, self.data, position, way, VISIBLE_GROUPS, 1, -1, hit)
        return float(distance) if distance >= 0 else float("inf")

    def is_free(self, camera: str) -> bool:
        """Whether a look moves a camera; one that rides on the robot stays there."""
        return camera in self._views

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


def _free_camera(view: View) -> mujoco.MjvCamera:
    camera = mujoco.MjvCamera()
    camera.lookat[:] = view.lookat
    camera.distance, camera.azimuth, camera.elevation = view.distance, view.azimuth, view.elevation
    return camera


def _pyramid(slope: float) -> np.ndarray:
    """Directions [RAYS * RAYS, 3] in camera axes that fill a square frame."""
    across, down = np.meshgrid(*2 * [slope * np.linspace(-1, 1, RAYS)])
    return np.stack([across.ravel(), down.ravel(), np.ones(RAYS * RAYS)], axis=1)
