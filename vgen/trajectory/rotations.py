"""Rotations and rigid motions as columns of a trajectory, and as matrices; scipy does the rest.

Angles are radians; Euler angles are scipy's extrinsic "xyz". rot6d is the first, then the second column of the
matrix (Zhou et al. 2019, arXiv 1812.07035), as Cosmos 3 orders it: no rotation is 1 0 0 0 1 0.
"""

import warnings

import numpy as np
from scipy.spatial.transform import Rotation

from vgen.errors import InputError

EULER = "xyz"


def to_matrices(columns: np.ndarray) -> np.ndarray:
    """Rigid motions [A, 4, 4] of columns [A, D]: D = 3 Euler angles, 6 rot6d, or 9 position and rot6d.

    Raises:
        InputError: the two columns of a rot6d have no length, or the same direction.
    """
    matrices = np.tile(np.eye(4), (len(columns), 1, 1))
    if columns.shape[1] == 3:
        matrices[:, :3, :3] = Rotation.from_euler(EULER, columns).as_matrix()
        return matrices
    matrices[:, :3, :3] = _from_rot6d(columns[:, -6:])
    if columns.shape[1] == 9:
        matrices[:, :3, 3] = columns[:, :3]
    return matrices


def to_columns(matrices: np.ndarray, width: int) -> np.ndarray:
    """The inverse of `to_matrices`, of 3, 6 or 9 columns; pitch is in [-pi/2, pi/2], roll and yaw in [-pi, pi]."""
    turn = matrices[:, :3, :3]
    if width == 3:
        with warnings.catch_warnings():  # where pitch is a right angle roll and yaw are one turn; scipy calls it roll
            warnings.filterwarnings("ignore", message="Gimbal lock")
            angles: np.ndarray = Rotation.from_matrix(turn).as_euler(EULER)
            return angles
    six = np.concatenate([turn[:, :, 0], turn[:, :, 1]], axis=1)
    return six if width == 6 else np.concatenate([matrices[:, :3, 3], six], axis=1)


def inverse(matrices: np.ndarray) -> np.ndarray:
    """The inverse of each of the rigid motions [A, 4, 4]."""
    turned = np.swapaxes(matrices[:, :3, :3], 1, 2)
    result = np.tile(np.eye(4), (len(matrices), 1, 1))
    result[:, :3, :3] = turned
    result[:, :3, 3] = -(turned @ matrices[:, :3, 3:])[:, :, 0]
    return result


def _from_rot6d(six: np.ndarray) -> np.ndarray:
    """Gram-Schmidt, so that rows that a model predicted become rotations too."""
    first, second = six[:, :3], six[:, 3:]
    normal = np.cross(first, second)
    flat = np.flatnonzero(~(np.linalg.norm(normal, axis=1) > 1e-8))
    if flat.size:
        row = " ".join(f"{value:g}" for value in six[flat[0]])
        raise InputError(f"{row} is no rotation as rot6d: two directions that differ make one, such as 1 0 0 0 1 0")
    x = first / np.linalg.norm(first, axis=1, keepdims=True)
    z = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    return np.stack([x, np.cross(z, x), z], axis=2)
