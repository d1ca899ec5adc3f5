"""Other people's conventions: orders of keypoints, Bridge and RLBench poses, and the 57-D `hand_pose` of Cosmos 3."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vgen.errors import InputError
from vgen.trajectory.layouts import MANO_TO_MEDIAPIPE, MEDIAPIPE
from vgen.trajectory.rotations import EULER, inverse, to_columns, to_matrices
from vgen.trajectory.trajectory import Trajectory

POINTS = len(MEDIAPIPE)
WRIST, INDEX, MIDDLE, LITTLE = (MEDIAPIPE.index(name) for name in ("wrist", "index_1", "middle_1", "little_1"))
TIPS = [MEDIAPIPE.index(f"{finger}_4") for finger in ("thumb", "index", "middle", "ring", "little")]


def mano_to_mediapipe(trajectory: Trajectory) -> Trajectory:
    """A `keypoints_mano` trajectory in the order of `keypoints`.

    Raises:
        InputError: another layout.
    """
    return _reordered(trajectory, "keypoints_mano", "keypoints", np.array(MANO_TO_MEDIAPIPE))


def mediapipe_to_mano(trajectory: Trajectory) -> Trajectory:
    """A `keypoints` trajectory in the order of `keypoints_mano`.

    Raises:
        InputError: another layout.
    """
    return _reordered(trajectory, "keypoints", "keypoints_mano", np.argsort(MANO_TO_MEDIAPIPE))


def pose7_from_bridge(states: np.ndarray, times: np.ndarray, opened: int = 0) -> Trajectory:
    """The states of BridgeData V2 as `pose7`.

    Args:
        states: [T, 7], x, y, z, roll, pitch, yaw, and gripper.
        times: [T], in seconds.
        opened: what the gripper says when it is open, 0 or 1. Copies of the data set differ; its *actions* have 1.

    Raises:
        InputError: another width, or what `Trajectory` refuses.
    """
    states = _wide(states, 7, "Bridge states")
    return Trajectory(_opening(states, opened), times, layout="pose7")


def pose7_to_bridge(trajectory: Trajectory, opened: int = 0) -> np.ndarray:
    """The inverse of `pose7_from_bridge`: float64 [T, 7]."""
    return _opening(_absolute(trajectory, "pose7"), opened)


def pose7_from_rlbench(poses: np.ndarray, opening: np.ndarray, times: np.ndarray) -> Trajectory:
    """RLBench's `gripper_pose` and `gripper_open` as `pose7`; the quaternion becomes Euler angles.

    Args:
        poses: [T, 7], x, y, z and the quaternion x, y, z, w.
        opening: [T], 1 open, 0 shut.
        times: [T], in seconds.

    Raises:
        InputError: another width, a quaternion of length 0, or what `Trajectory` refuses.
    """
    poses = _wide(poses, 7, "RLBench poses")
    lost = np.flatnonzero(~(np.linalg.norm(poses[:, 3:], axis=1) > 0))
    if lost.size:
        raise InputError(f"RLBench poses[{lost[0]}] has a quaternion of no length; no rotation is 0, 0, 0, 1")
    euler = Rotation.from_quat(poses[:, 3:]).as_euler(EULER)
    opening = np.asarray(opening, dtype=np.float64).reshape(-1, 1)
    if len(opening) != len(poses):
        raise InputError(f"RLBench opening has {len(opening)} entries for {len(poses)} poses; give one for each")
    return Trajectory(np.concatenate([poses[:, :3], euler, opening], axis=1), times, layout="pose7")


def pose7_to_rlbench(trajectory: Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `pose7_from_rlbench`: poses float64 [T, 7], w of the quaternion 0 or more, and opening [T]."""
    rows = _absolute(trajectory, "pose7")
    turn = Rotation.from_euler(EULER, rows[:, 3:6]).as_quat(canonical=True)
    return np.concatenate([rows[:, :3], turn], axis=1), rows[:, 6]


def wrist_poses(points: np.ndarray) -> np.ndarray:
    """The wrist's frame of 21 keypoints, in the frame that they are given in.

    z goes from the wrist to the middle knuckle, y out of the palm of a right hand held so that x goes from the side
    of the thumb to that of the little finger. The left hand's frame is the right one's mirror image with its x turned
    round, so that both are right-handed and y is out of the palm of both.

    Args:
        points: [2, T, 21, 3], left then right hand, MediaPipe order.

    Returns:
        float64 [2, T, 4, 4], wrist to outer frame.

    Raises:
        InputError: wrist and knuckles lie on a line, so that there is no palm.
    """
    ahead = points[:, :, MIDDLE] - points[:, :, WRIST]
    across = points[:, :, LITTLE] - points[:, :, INDEX]
    across = across * np.array([-1.0, 1.0])[:, None, None]
    palm = np.cross(ahead, across)
    flat = np.argwhere(~(np.linalg.norm(palm, axis=-1) > 1e-12))
    if flat.size:
        hand = ("left", "right")[flat[0][0]]
        raise InputError(
            f"row {flat[0][1]}: wrist and knuckles of the {hand} hand lie on a line; mark the row as not valid"
        )
    poses = np.tile(np.eye(4), (*points.shape[:2], 1, 1))
    z, y = (axis / np.linalg.norm(axis, axis=-1, keepdims=True) for axis in (ahead, palm))
    poses[..., :3, :3] = np.stack([np.cross(y, z), y, z], axis=-1)
    poses[..., :3, 3] = points[:, :, WRIST]
    return poses


def keypoints_to_hand_pose57(keypoints: Trajectory, camera: np.ndarray) -> Trajectory:
    """Both hands and the camera as `hand_pose57`, absolute; `convert.to_delta` makes the actions of Cosmos 3 of it.

    Sources: github.com/NVIDIA/cosmos, the cookbook of egocentric hand actions, for blocks, order, steps and frames; it
    takes wrist orientations from the data set, where here `wrist_poses` finds them.

    Args:
        keypoints: a `keypoints` trajectory, absolute: metres, in the camera of the same frame. A row in which a hand is
            not seen becomes one that is not valid, as the layout has no flag.
        camera: [T, 4, 4], camera to world.

    Raises:
        InputError: another layout or form, cameras that don't fit, or what `wrist_poses` refuses.
    """
    rows = _absolute(keypoints, "keypoints")
    camera = np.asarray(camera, dtype=np.float64)
    if camera.shape != (len(keypoints), 4, 4):
        raise InputError(f"camera of shape {list(camera.shape)} must be [{len(keypoints)}, 4, 4], one for each row")
    valid = keypoints.valid & (rows[:, -2:] > 0.5).all(axis=1)
    if not valid.any():
        raise InputError(f"none of the {len(rows)} rows shows both hands, which layout hand_pose57 needs")
    points = rows[valid, : 6 * POINTS].reshape(-1, 2, POINTS, 3).swapaxes(0, 1)
    wrists = wrist_poses(points)
    blocks = [to_columns(camera[valid], 9)]
    for hand in (1, 0):
        tips = _into(inverse(wrists[hand]), points[hand][:, TIPS])
        blocks += [to_columns(camera[valid] @ wrists[hand], 9), tips.reshape(len(tips), -1)]
    values = np.full((len(rows), 57), np.nan)
    values[valid] = np.concatenate(blocks, axis=1)
    return Trajectory(values, keypoints.times, valid, "hand_pose57")


@dataclass(frozen=True)
class HandPoints:
    """What a `hand_pose57` trajectory says, frame by frame; NaN where it is not valid.

    camera: [T, 4, 4], camera to world.
    wrists: [2, T, 4, 4], left then right wrist to world.
    tips: [2, T, 5, 3], fingertips from thumb to little finger, in the camera of the same frame, in metres.
    """

    camera: np.ndarray
    wrists: np.ndarray
    tips: np.ndarray

    @property
    def wrist_points(self) -> np.ndarray:
        """[2, T, 3], positions of the wrists in the camera of the same frame."""
        return _into(inverse(self.camera), self.wrists[..., :3, 3].swapaxes(0, 1)).swapaxes(0, 1)


def hand_pose57_to_points(trajectory: Trajectory) -> HandPoints:
    """Undoes `keypoints_to_hand_pose57` for what the layout keeps: wrists and fingertips, not the joints between.

    Raises:
        InputError: another layout or form.
    """
    rows, valid = _absolute(trajectory, "hand_pose57"), trajectory.valid
    poses = {name: np.full((len(rows), 4, 4), np.nan) for name in ("camera", "right", "left")}
    for name, start in (("camera", 0), ("right", 9), ("left", 33)):
        poses[name][valid] = to_matrices(rows[valid, start : start + 9])
    tips = []
    for name, start in (("left", 42), ("right", 18)):
        seen = inverse(poses["camera"]) @ poses[name]
        tips.append(_into(seen, rows[:, start : start + 15].reshape(-1, 5, 3)))
    return HandPoints(poses["camera"], np.stack([poses["left"], poses["right"]]), np.stack(tips))


def _opening(rows: np.ndarray, opened: int) -> np.ndarray:
    """Rows [T, 7] whose gripper says `opened` when it is open, with 1 for open; and back."""
    return rows if opened else np.concatenate([rows[:, :6], 1 - rows[:, 6:]], axis=1)


def _into(motion: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points [T, P, 3] by rigid motions [T, 4, 4]."""
    return points @ motion[:, :3, :3].swapaxes(1, 2) + motion[:, None, :3, 3]


def _reordered(trajectory: Trajectory, layout: str, other: str, order: np.ndarray) -> Trajectory:
    _only(trajectory, layout)
    hands = trajectory.values[:, : 6 * POINTS].reshape(-1, 2, POINTS, 3)[:, :, order]
    values = np.concatenate([hands.reshape(len(trajectory), -1), trajectory.values[:, 6 * POINTS :]], axis=1)
    return replace(trajectory, values=values, layout=other)


def _absolute(trajectory: Trajectory, layout: str) -> np.ndarray:
    _only(trajectory, layout)
    if trajectory.form != "absolute":
        raise InputError(f"the trajectory is {trajectory.form}; convert it to its absolute form first")
    return trajectory.values.astype(np.float64)


def _only(trajectory: Trajectory, layout: str) -> None:
    if trajectory.layout != layout:
        raise InputError(f"the trajectory is of layout {trajectory.layout}; this conversion takes {layout}")


def _wide(rows: np.ndarray, width: int, what: str) -> np.ndarray:
    rows = np.asarray(rows, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != width:
        raise InputError(f"{what} of shape {list(rows.shape)} must be [T, {width}]")
    return rows
