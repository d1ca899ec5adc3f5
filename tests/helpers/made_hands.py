"""Hands in space that tests make data sets of, and frames in which their wrists can be seen."""

import numpy as np
from scipy.spatial.transform import Rotation

SIZE = (96, 160)  # height and width of the frames
TIPS, KNUCKLES = [4, 7, 10, 13, 16], [1, 2, 3, 1, 5, 6, 1, 8, 9, 1, 11, 12, 1, 14, 15]  # bones of UmeTrack's landmarks
INTRINSICS = np.array([120.0, 118.0, 81.0, 47.0])


def keypoints(rows: int, seed: int = 0) -> np.ndarray:
    """Points of both hands [2, T, 21, 3] before a camera, MediaPipe order, in metres: left hand on the left."""
    noise = np.random.default_rng(seed)
    points = np.zeros((2, rows, 21, 3))
    for hand, side in enumerate((-1, 1)):
        for finger in range(5):
            across = side * (finger - 2) * -0.02
            for joint in range(4):
                points[hand, :, 1 + 4 * finger + joint] = [across, -0.03 * (joint + 1) - 0.02, 0.01 * joint]
        move = np.linspace(0, 0.05, rows)[:, None] * [1, -1, 0.5]
        points[hand] += (np.array([side * 0.12, 0.1, 0.5]) + move)[:, None]
    return points + noise.normal(0, 0.002, points.shape)


def cameras(rows: int) -> np.ndarray:
    """Camera to world [T, 4, 4], of a head that turns and walks."""
    poses = np.tile(np.eye(4), (rows, 1, 1))
    turn = np.linspace(0, 0.4, rows)
    poses[:, :3, :3] = Rotation.from_euler("xyz", np.stack([turn + 0.3, 2 * turn, -turn], axis=1)).as_matrix()
    poses[:, :3, 3] = np.stack([turn, 1.5 + 0 * turn, -0.5 * turn], axis=1)
    return poses


def into_world(points: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """Points [..., T, P, 3] of the cameras [T, 4, 4], in the world."""
    return np.einsum("tij,...tpj->...tpi", poses[:, :3, :3], points) + poses[:, None, :3, 3]


def pixels(points: np.ndarray, intrinsics: np.ndarray = INTRINSICS) -> np.ndarray:
    """Where points [..., 3] before a pinhole camera are in its image: x, y."""
    return points[..., :2] / points[..., 2:] * intrinsics[:2] + intrinsics[2:]


def frames(points: np.ndarray, size: tuple[int, int] = SIZE, intrinsics: np.ndarray = INTRINSICS) -> np.ndarray:
    """Dark frames [T, H, W, 3] with a red mark on the left wrist and a blue one on the right."""
    made = np.full((points.shape[1], *size, 3), 40, np.uint8)
    for hand, colour in enumerate(((230, 20, 20), (20, 20, 230))):
        for frame, (x, y) in zip(made, pixels(points[hand, :, 0], intrinsics).round().astype(int), strict=True):
            frame[max(y - 4, 0) : y + 5, max(x - 4, 0) : x + 5] = colour
    return made


def marked(frames: np.ndarray, points: np.ndarray, intrinsics: np.ndarray) -> bool:
    """Whether in every frame the wrists of points [2, T, 21, 3] lie on their marks."""
    found = True
    for hand, channel in enumerate((0, 2)):
        for frame, (x, y) in zip(frames, pixels(points[hand, :, 0], intrinsics).round().astype(int), strict=True):
            mark = frame[y, x].astype(int)
            found &= bool(mark[channel] > 150 and mark[2 - channel] < 110)
    return found


def umetrack_model(seed: int = 0) -> dict:
    """A hand of UmeTrack as the makers write it: millimetres, 22 joints, 21 landmarks, three weights for each."""
    noise = np.random.default_rng(seed)
    axes = noise.normal(size=(22, 3))
    bones = [*TIPS, *KNUCKLES, 1]
    return {
        "joint_rotation_axes": (axes / np.linalg.norm(axes, axis=1, keepdims=True)).tolist(),
        "joint_rest_positions": noise.normal(0, 80, (22, 3)).tolist(),
        "landmark_rest_positions": noise.normal(0, 80, (21, 3)).tolist(),
        "landmark_rest_bone_indices": [[bone, 1, bone] for bone in bones],
        "landmark_rest_bone_weights": [[1.0, 0.0, 0.0]] * 19 + [[0.75, 0.25, 0.0]] + [[1.0, 0.0, 0.0]],
        "hand_scale": 1.0,
    }
