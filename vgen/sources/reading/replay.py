"""States of MuJoCo that were recorded, put back one by one: where the hand and the cameras are, and what they see."""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from vgen.sources.source import LeftOut
from vgen.trajectory.rotations import to_columns

os.environ.setdefault("MUJOCO_GL", "egl")  # draw without a screen; read by mujoco when it is imported
import mujoco

POSE_NAMES = ("x", "y", "z", "qw", "qx", "qy", "qz")
INTRINSICS_NAMES = ("fx", "fy", "cx", "cy")
ASSETS = "assets"  # the folder below which a package keeps meshes and textures; paths in a model differ before it alone
COLLISION_GROUP = 0  # robosuite's group of the simple shapes that collide in place of what is shown
TO_IMAGE = np.diag([1.0, -1.0, -1.0])  # MuJoCo's cameras look along -z with y up; images have z ahead and y down


@dataclass(frozen=True)
class Arm:
    """What one arm's parts are called in a model.

    Attributes:
        site: between the fingers, where a thing is held: the end effector's position.
        hand: body that carries the gripper: its orientation.
        base: body that the arm stands on: the frame of reference of both.
        fingers: what the names of the gripper's joints begin with.
        camera: that rides on the hand.
    """

    site: str
    hand: str
    base: str
    fingers: str
    camera: str


ARMS = (
    Arm("gripper0_grip_site", "robot0_right_hand", "robot0_base", "gripper0_", "robot0_eye_in_hand"),
    Arm("gripper1_grip_site", "robot1_right_hand", "robot1_base", "gripper1_", "robot1_eye_in_hand"),
    Arm("grip_site", "right_hand", "base", "r_gripper_", "eye_in_hand"),
)
"""Arms by the names that robosuite 1.0 to 1.4 and LIBERO give them, and, last, robosuite before 1.0."""


class Scene:
    """One recorded model, and a simulation of it that is put into recorded states.

    Args:
        xml: MuJoCo's description, as the recording holds it, with the paths of the machine that it was recorded on.
        assets: folders of meshes and textures, the first that has a file wins. Path and folder are alike from
            "assets/" on, or else the name of the file is told by no other in it.
        size: (H, W) of the frames.

    Raises:
        LeftOut: a file is missing, or MuJoCo refuses the description.
    """

    def __init__(self, xml: str, assets: Sequence[Path], size: tuple[int, int]) -> None:
        self._size = size
        try:
            self.model = mujoco.MjModel.from_xml_string(_mended(xml, assets))
        except ValueError as error:
            raise LeftOut(f"MuJoCo refuses its model: {' '.join(str(error).split())}") from error
        self.data = mujoco.MjData(self.model)
        self._option, self._groups = mujoco.MjvOption(), self.model.geom_group.copy()
        self._option.geomgroup[COLLISION_GROUP] = 0
        quality, drawn = self.model.vis.quality, self.model.vis.global_
        quality.offsamples, quality.shadowsize = 0, 1024
        drawn.offheight, drawn.offwidth = max(drawn.offheight, size[0]), max(drawn.offwidth, size[1])
        for number in range(self.model.nsite):  # the makers' own pictures do not show the marks in a gripper either
            if "grip" in self.model.site(number).name:
                self.model.site_rgba[number, 3] = 0

    @cached_property
    def _renderer(self) -> mujoco.Renderer:
        renderer = mujoco.Renderer(self.model, *self._size)
        weakref.finalize(self, renderer.close)  # before the libraries that draw are gone, when a program ends
        return renderer

    def close(self) -> None:
        """Free the drawing context; it is made again when a frame is wanted."""
        renderer = self.__dict__.pop("_renderer", None)
        if renderer is not None:
            renderer.close()

    @property
    def arms(self) -> list[Arm]:
        """The arms that the model has."""
        sites = {self.model.site(number).name for number in range(self.model.nsite)}
        return [arm for arm in ARMS if arm.site in sites]

    def has_camera(self, name: str) -> bool:
        """Whether the model has a camera of that name."""
        return name in {self.model.camera(number).name for number in range(self.model.ncam)}

    def pose7(self, states: np.ndarray, arm: Arm) -> np.ndarray:
        """The end effector in the frame of its arm's base, by layout `pose7`: float64 [T, 7].

        Args:
            states: [T, 1 + nq + nv], each the time, positions and velocities, as robosuite flattens them.
            arm: of this model. Without fingers its gripper is told as 0, shut.
        """
        fingers = self.fingers(arm)
        hand, opening = np.tile(np.eye(4), (len(states), 1, 1)), np.zeros((len(states), 1))
        for row, _ in enumerate(self._replay(states)):
            turn, place = self._base(arm)
            hand[row, :3, 3] = turn.T @ (self.data.site(arm.site).xpos - place)
            hand[row, :3, :3] = turn.T @ self.data.body(arm.hand).xmat.reshape(3, 3)
            if fingers:
                opening[row] = np.mean([_opening(self.data.qpos[at], span) for at, span in fingers.items()])
        return np.concatenate([to_columns(hand, 9)[:, :3], to_columns(hand[:, :3, :3], 3), opening], axis=1)

    def camera_pose(self, states: np.ndarray, camera: str, arm: Arm) -> np.ndarray:
        """Where a camera is in the frame of an arm's base.

        Returns:
            float64 [T, 7]: position in metres, and the quaternion, w first and not negative, that turns the axes of the
            camera (x right, y down, z ahead) into those of the base.
        """
        poses, quaternion = np.empty((len(states), 7)), np.empty(4)
        for row, _ in enumerate(self._replay(states)):
            turn, place = self._base(arm)
            seen = self.data.camera(camera)
            mujoco.mju_mat2Quat(quaternion, (turn.T @ seen.xmat.reshape(3, 3) @ TO_IMAGE).ravel())
            poses[row, :3], poses[row, 3:] = turn.T @ (seen.xpos - place), quaternion
        poses[poses[:, 3] < 0, 3:] *= -1
        return poses

    def intrinsics(self, camera: str) -> np.ndarray:
        """fx, fy, cx and cy of a camera in pixels of the frames, the middle of the first one at 0, 0: float64 [4]."""
        height, width = self._size
        focus = 0.5 * height / np.tan(np.radians(self.model.camera(camera).fovy[0]) / 2)
        return np.array([focus, focus, (width - 1) / 2, (height - 1) / 2])

    def render(self, states: np.ndarray, camera: str) -> np.ndarray:
        """The frames of a camera in states [T, S]: uint8 [T, H, W, 3]. Without shadows and reflections, which software
        draws at more than the price of all else."""
        frames = np.empty((len(states), *self._size, 3), dtype=np.uint8)
        for row, _ in enumerate(self._replay(states)):
            self._hide_unseen(camera)
            self._renderer.update_scene(self.data, camera, self._option)
            flags = self._renderer.scene.flags
            flags[mujoco.mjtRndFlag.mjRND_SHADOW] = flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
            frames[row] = self._renderer.render()
        return frames

    def _hide_unseen(self, camera: str) -> None:
        """Leave out what lies outside a camera's view, whose shapes would cost as much as what is seen."""
        seen = self.data.camera(camera)
        x, y, z = ((self.data.geom_xpos - seen.xpos) @ seen.xmat.reshape(3, 3) @ TO_IMAGE).T
        slope = np.tan(np.radians(self.model.camera(camera).fovy[0]) / 2)
        wide = slope * self._size[1] / self._size[0]
        radius = self.model.geom_rbound  # of a ball about each shape; a plane has none
        inside = (z > -radius) & (np.abs(x) - wide * z <= radius * np.hypot(1, wide))
        inside &= np.abs(y) - slope * z <= radius * np.hypot(1, slope)
        self.model.geom_group[:] = np.where(inside | (radius == 0), self._groups, COLLISION_GROUP)

    def check(self, states: np.ndarray) -> None:
        """Refuses states that are not of this model.

        Raises:
            LeftOut: their width is another, or one of them is not a number.
        """
        width = 1 + self.model.nq + self.model.nv
        if states.ndim != 2 or states.shape[1] != width:
            raise LeftOut(f"its states are not those of its model: {list(states.shape)} for [T, {width}]")
        bad = np.flatnonzero(~np.isfinite(states).all(axis=1))
        if bad.size:
            raise LeftOut(f"a state is not a number: {bad.size} of {len(states)}, row {bad[0]} first")

    def fingers(self, arm: Arm) -> Mapping[int, np.ndarray]:
        """The range [2] of each joint of an arm's gripper, by its place among the positions."""
        joints = [self.model.joint(number) for number in range(self.model.njnt)]
        return {int(joint.qposadr[0]): joint.range for joint in joints if joint.name.startswith(arm.fingers)}

    def _base(self, arm: Arm) -> tuple[np.ndarray, np.ndarray]:
        body = self.data.body(arm.base)
        return body.xmat.reshape(3, 3), body.xpos

    def _replay(self, states: np.ndarray) -> Iterator[None]:
        """Put the simulator into each state in turn."""
        count = self.model.nq
        for state in states:
            self.data.time, self.data.qpos[:], self.data.qvel[:] = state[0], state[1 : 1 + count], state[1 + count :]
            mujoco.mj_kinematics(self.model, self.data)
            mujoco.mj_comPos(self.model, self.data)
            mujoco.mj_camlight(self.model, self.data)
            yield


class ReplayedFrames:
    """What a camera of a scene sees in some states, drawn when it is read.

    Args:
        scene: that the states are of.
        states: [T, S], one a frame.
        camera: by the model's name.
    """

    def __init__(self, scene: Scene, states: np.ndarray, camera: str) -> None:
        self._scene, self._states, self._camera = scene, states, camera

    def __len__(self) -> int:
        return len(self._states)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames start to stop - 1, uint8 [stop - start, H, W, 3]."""
        return self._scene.render(self._states[start:stop], self._camera)


def _opening(position: float, span: np.ndarray) -> float:
    """How far a finger is open, 0 to 1: the end of its range that is farther from 0 is open."""
    low, high = span
    opened, shut = (high, low) if abs(high) >= abs(low) else (low, high)
    return float(np.clip((position - shut) / (opened - shut), 0, 1))


def _mended(xml: str, assets: Sequence[Path]) -> str:
    """The description with the paths of this machine, and without lists in brackets, which MuJoCo no longer reads."""
    xml = re.sub(r'="\[([^]"]*)]"', lambda found: f'="{found[1].replace(",", " ")}"', xml)
    return re.sub(r'\bfile="([^"]*)"', lambda found: f'file="{_asset(found[1], assets)}"', xml)


def _asset(path: str, assets: Sequence[Path]) -> Path:
    if Path(path).is_file():  # recorded on this machine
        return Path(path)
    parts = Path(os.path.normpath(path)).parts
    last = max((place for place, part in enumerate(parts) if part == ASSETS), default=-1)
    for folder in assets:
        if (folder.joinpath(*parts[last + 1 :])).is_file():
            return folder.joinpath(*parts[last + 1 :])
    for folder in assets:
        moved = sorted(folder.rglob(parts[-1]))
        if len(moved) == 1:
            return moved[0]
    raise LeftOut(f"a mesh or texture of its scene is missing, give assets=DIR: {'/'.join(parts[last + 1 :])}")
