"""What a source of hands in space writes: keypoints in the camera, wrists and tips in the world, and the camera."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vgen.sources.source import Frames
from vgen.trajectory.conventions import POINTS, keypoints_to_hand_pose57
from vgen.trajectory.layouts import find_layout
from vgen.trajectory.rotations import inverse, to_columns
from vgen.trajectory.trajectory import Trajectory

STATE, KEYPOINTS = "observation.state", "observation.keypoints"
CAMERA, INTRINSICS = "observation.camera_pose", "observation.intrinsics"
LAYOUTS: Mapping[str, str] = {STATE: "hand_pose57", KEYPOINTS: "keypoints"}
COLUMNS: Mapping[str, Sequence[str]] = {
    STATE: find_layout("hand_pose57").names,
    KEYPOINTS: find_layout("keypoints").names,
    CAMERA: find_layout("hand_pose57").names[:9],
    INTRINSICS: ("fx", "fy", "cx", "cy"),
}
"""The columns that `hand_columns` makes. The camera's are its pose in the world: position, then rot6d."""
CONVENTIONS: Mapping[str, str] = {
    STATE: "wrists found from the keypoints; the world is the recording's own; NaN where not both hands are seen",
    KEYPOINTS: "metres, in the camera of the same frame: x right, y down, z forward",
    CAMERA: "camera to world, in metres, then the first two columns of the rotation; x right, y down, z forward",
    INTRINSICS: "pixels of the frames as they are written",
}
HANDS = ("left", "right")
RIGID = 1e-3  # how far a matrix may be from a rotation: data sets keep them in float32


def into_camera(points: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """Points [..., T, P, 3] in the world, seen from the cameras of their rows [T, 4, 4] (camera to world)."""
    seen = inverse(camera)
    moved: np.ndarray = points @ seen[:, :3, :3].swapaxes(1, 2) + seen[:, None, :3, 3]
    return moved


def rigid(matrices: np.ndarray) -> np.ndarray:
    """Which of the matrices [T, 4, 4] are rigid motions: bool [T]."""
    turn = matrices[:, :3, :3]
    with np.errstate(invalid="ignore"):
        square = np.abs(turn @ turn.swapaxes(1, 2) - np.eye(3)).max(axis=(1, 2)) < RIGID
        whole: np.ndarray = square & (np.linalg.det(turn) > 0) & np.isfinite(matrices).all(axis=(1, 2))
    return whole


def hand_columns(
    points: np.ndarray, seen: np.ndarray, camera: np.ndarray, intrinsics: np.ndarray
) -> dict[str, np.ndarray]:
    """The columns of `COLUMNS`, float32 [T, D].

    Args:
        points: [2, T, 21, 3], left then right hand, MediaPipe order, in metres, in the camera of the same row.
        seen: bool [2, T]. A hand of which a point is not finite is not seen in any case.
        camera: [T, 4, 4], camera to world; rows that are not finite are not known, nor is anything else in them.
        intrinsics: [4] or [T, 4], fx, fy, cx, cy of the frames.
    """
    known: np.ndarray = np.isfinite(camera).all(axis=(1, 2))
    seen = seen & np.isfinite(points).all(axis=(2, 3)) & known
    both = seen[0] & seen[1]
    keypoints = np.concatenate([*(_held(points[hand], seen[hand]) for hand in range(2)), seen.T], axis=1)
    keypoints[~known] = np.nan
    pose = to_columns(np.where(known[:, None, None], camera, np.nan), 9)
    return {
        STATE: _state(keypoints, camera, both).astype(np.float32),
        KEYPOINTS: keypoints.astype(np.float32),
        CAMERA: pose.astype(np.float32),
        INTRINSICS: np.broadcast_to(intrinsics, (len(camera), 4)).astype(np.float32),
    }


def box_columns(boxes: np.ndarray) -> np.ndarray:
    """Rows of `hand_boxes`, float32 [T, 10], of boxes [2, T, 4], left then right; NaN where a hand is not seen."""
    seen = np.isfinite(boxes).all(axis=2)
    rows = [*(_held(boxes[hand], seen[hand]) for hand in range(2)), seen.T]
    return np.concatenate(rows, axis=1).astype(np.float32)


class Turned:
    """Frames turned to the right by a quarter, as a camera that lies on its left side needs it."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames start to stop - 1, uint8 [stop - start, W, H, 3]."""
        return np.ascontiguousarray(np.rot90(self._frames.read(start, stop), -1, axes=(1, 2)))


def seen_counts(columns: Mapping[str, np.ndarray]) -> dict[str, int]:
    """For the report: in how many rows each hand is not seen."""
    flags = columns[KEYPOINTS][:, -2:] > 0.5
    rows = {f"rows in which the {hand} hand is not seen": int((~flags[:, i]).sum()) for i, hand in enumerate(HANDS)}
    return {what: count for what, count in rows.items() if count}


def _held(points: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Rows [T, D] of a hand; where it is not seen, those of when it was last (or first) seen, or 0."""
    rows = points.reshape(len(points), -1)
    if not seen.any():
        return np.zeros_like(rows)
    last = np.maximum.accumulate(np.where(seen, np.arange(len(rows)), -1))
    return rows[np.where(last < 0, seen.argmax(), last)]


def _state(keypoints: np.ndarray, camera: np.ndarray, both: np.ndarray) -> np.ndarray:
    """`hand_pose57` of keypoints [T, 128]; NaN where not both hands are seen or a palm has no direction."""
    hands = keypoints[:, : 6 * POINTS].reshape(-1, 2, POINTS, 3)
    both = both & _flat_free(hands).all(axis=1)
    values = np.full((len(keypoints), 57), np.nan)
    if both.any():
        rows = Trajectory(keypoints[both], np.arange(both.sum()), layout="keypoints")
        values[both] = keypoints_to_hand_pose57(rows, camera[both]).values
    return values


def _flat_free(hands: np.ndarray) -> np.ndarray:
    """Whether wrist and knuckles [T, 2, 21, 3] do not lie on a line, so that there is a palm: bool [T, 2]."""
    across, ahead = hands[:, :, 17] - hands[:, :, 5], hands[:, :, 9] - hands[:, :, 0]
    palm: np.ndarray = np.linalg.norm(np.cross(ahead, across), axis=-1)
    return palm > 1e-10
