"""The hand of UmeTrack (Han et al. 2022, doi:10.1145/3550469.3555378): 20 angles and a wrist to keypoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

FINGERS, JOINTS = 5, 4  # the chains of the model, thumb to little finger, and the angles of each
BONES = 2 + FINGERS * (JOINTS - 1)  # root, wrist, and what moves after the second, third and fourth joint of a chain
MILLIMETRE = 1e-3
LANDMARKS = (5, -1, 6, 7, 0, 8, 9, 10, 1, 11, 12, 13, 2, 14, 15, 16, 3, 17, 18, 19, 4)
"""Entry i: the landmark that MediaPipe has at i. Its thumb_1 is none (-1): the thumb's second joint stands for it."""


@dataclass(frozen=True)
class UmeTrackHand:
    """One person's hand, in metres and in the frame of a left wrist; a right hand is its mirror image.

    Attributes:
        joints: float64 [20, 3], where the axes of the joints are at rest.
        axes: float64 [20, 3], of the joints.
        landmarks: float64 [20, 3], at rest.
        weights: float64 [20, BONES], how much of each bone's motion a landmark follows.
    """

    joints: np.ndarray
    axes: np.ndarray
    landmarks: np.ndarray
    weights: np.ndarray

    @classmethod
    def from_json(cls, model: Mapping[str, object]) -> UmeTrackHand:
        """The model as `__hand_shapes.json__` of HOT3D's clips and UmeTrack's profiles tell it, in millimetres.

        Raises:
            KeyError, ValueError, IndexError: it is no such model.
        """

        def read(name: str, rows: int) -> np.ndarray:
            return np.asarray(model[name], dtype=np.float64)[:rows]

        count = FINGERS * JOINTS
        bones, shares = read("landmark_rest_bone_indices", count).astype(int), read("landmark_rest_bone_weights", count)
        weights = np.zeros((count, BONES))
        for row, (bone, share) in enumerate(zip(bones, shares, strict=True)):
            weights[row, bone[share != 0]] = share[share != 0]
        joints, axes = read("joint_rest_positions", count), read("joint_rotation_axes", count)
        landmarks = read("landmark_rest_positions", count)
        if not joints.shape == axes.shape == landmarks.shape == (count, 3):
            raise ValueError(f"joints {joints.shape}, axes {axes.shape} and landmarks {landmarks.shape} for {count}")
        return cls(joints * MILLIMETRE, axes, landmarks * MILLIMETRE, weights)

    def keypoints(self, angles: np.ndarray, wrists: np.ndarray, hand: str) -> np.ndarray:
        """The 21 keypoints of a hand in MediaPipe's order, in the frame that the wrists are given in.

        Args:
            angles: [T, 20], in radians.
            wrists: [T, 4, 4], wrist to outer frame, in metres.
            hand: "left" or "right".

        Returns:
            float64 [T, 21, 3].
        """
        wrists = np.array(wrists, dtype=np.float64)
        if hand == "right":
            wrists[:, :, 0] *= -1
        local = _about(self.joints, self.axes[None] * np.asarray(angles, dtype=np.float64)[:, : len(self.axes), None])
        bones, thumb = [wrists, wrists], wrists @ local[:, 0]
        for finger in range(FINGERS):
            moved = wrists
            for joint in range(JOINTS):
                moved = moved @ local[:, JOINTS * finger + joint]
                if joint:
                    bones.append(moved)
        blended = np.einsum("lb,btij->tlij", self.weights, np.stack(bones))
        points = _moved(blended, self.landmarks[None])
        second = _moved(thumb[:, None], self.joints[None, 1:2])
        return np.concatenate([points, second], axis=1)[:, LANDMARKS]


def _about(points: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Rigid motions [T, P, 4, 4] that turn by rotation vectors [T, P, 3] about points [P, 3]."""
    motions = np.tile(np.eye(4), (*turns.shape[:2], 1, 1))
    motions[..., :3, :3] = Rotation.from_rotvec(turns.reshape(-1, 3)).as_matrix().reshape(*turns.shape[:2], 3, 3)
    motions[..., :3, 3] = points - (motions[..., :3, :3] @ points[None, :, :, None])[..., 0]
    return motions


def _moved(motions: np.ndarray, points: np.ndarray) -> np.ndarray:
    moved: np.ndarray = (motions[..., :3, :3] @ points[..., None])[..., 0] + motions[..., :3, 3]
    return moved
