"""Where the points of a trajectory are in the picture, where the data set says enough of the camera."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.spatial.transform import Rotation

from vgen.trajectory.conventions import hand_pose57_to_points
from vgen.trajectory.layouts import CAMERA, IMAGE
from vgen.trajectory.places import known_rows, place_of
from vgen.trajectory.rotations import to_matrices
from vgen.trajectory.trajectory import Trajectory

AXIS = 0.05  # metres of an axis that is drawn
NEAREST = 1e-3  # metres before the camera, which a point must have to be in the picture


def image_points(
    trajectory: Trajectory, pose: np.ndarray | None, intrinsics: np.ndarray | None, size: tuple[int, int]
) -> dict[str, np.ndarray] | None:
    """The points of each body in the picture.

    Args:
        trajectory: absolute, A rows.
        pose: of the camera, [A, 7]: position in metres, and the quaternion, w first, that turns camera axes (x right,
            y down, z forward) into those of the trajectory.
        intrinsics: [A, 4], fx, fy, cx, cy in pixels of the frames.
        size: (H, W) of the frames.

    Returns:
        float64 [A, P, 2] by body, shares of width and height; NaN where a point is not known, or not before the
        camera. None where the data set does not say enough.
    """
    spec = trajectory.spec
    frames = {column.frame for part in spec.parts if part.owner != "camera" for column in part.columns[:1]}
    if IMAGE in frames:
        return {body: _known(trajectory, body, _columns(trajectory, body)) for body in spec.bodies}
    if intrinsics is None or not np.isfinite(intrinsics).any():
        return None
    if trajectory.layout == "hand_pose57":
        hands = hand_pose57_to_points(trajectory)
        joined = np.concatenate([hands.wrist_points[:, :, None], hands.tips], axis=2)
        points = {"left": joined[0], "right": joined[1]}
    elif CAMERA in frames:
        points = {body: _columns(trajectory, body) for body in spec.bodies}
    elif pose is not None and np.isfinite(pose).any():
        points = {body: into_camera(_columns(trajectory, body), pose) for body in spec.bodies}
    else:
        return None
    return {body: _known(trajectory, body, _projected(each, intrinsics, size)) for body, each in points.items()}


def axis_points(
    trajectory: Trajectory, pose: np.ndarray | None, intrinsics: np.ndarray | None, size: tuple[int, int]
) -> dict[str, np.ndarray]:
    """The ends of the axes of bodies in the picture, `AXIS` metres from their places; as `image_points`, with P = 3 for
    x, y and z. Only of bodies whose orientation in the world is told, where the camera is known."""
    found: dict[str, np.ndarray] = {}
    if pose is None or intrinsics is None:
        return found
    sound = trajectory.valid
    for part, where in trajectory.spec.slices():
        if part.type != "rotation" or part.columns[0].frame == CAMERA:
            continue
        ends = np.full((len(trajectory), 3, 3), np.nan)
        axes = to_matrices(trajectory.values[sound, where].astype(np.float64))[:, :3, :3].swapaxes(1, 2)
        ends[sound] = place_of(trajectory, part.owner)[sound, None] + AXIS * axes
        found[part.owner] = _projected(into_camera(ends, pose), intrinsics, size)
    return found


def into_camera(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Points [A, P, 3] of the world in the camera of the same row; poses as of `image_points`."""
    lengths = np.linalg.norm(pose[:, 3:], axis=1)
    sound = np.isfinite(pose).all(1) & (lengths > 0)
    turned = np.full_like(points, np.nan)
    axes = Rotation.from_quat(np.roll(pose[sound, 3:], -1, axis=1)).as_matrix()
    turned[sound] = (points[sound] - pose[sound, None, :3]) @ axes
    return turned


def pinhole(columns: Mapping[str, np.ndarray], name: str, width: int) -> np.ndarray | None:
    """A column of that width that says something of the camera; None where there is none."""
    found = columns.get(name)
    return found if found is not None and found.shape[1] == width else None


def _projected(points: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    ahead = np.where(points[..., 2:] > NEAREST, points[..., 2:], np.nan)
    focal, centre = intrinsics[:, None, :2], intrinsics[:, None, 2:]
    pixels: np.ndarray = (focal * points[..., :2] / ahead + centre) / np.array(size[::-1])
    return pixels


def _columns(trajectory: Trajectory, body: str) -> np.ndarray:
    values: np.ndarray = trajectory.values[:, trajectory.spec.points(body)].astype(np.float64)
    return values


def _known(trajectory: Trajectory, body: str, points: np.ndarray) -> np.ndarray:
    return np.where(known_rows(trajectory, body)[:, None, None], points, np.nan)
