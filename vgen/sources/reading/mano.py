"""The hand of MANO (Romero et al. 2017, doi:10.1145/3130800.3130883), from the makers' pickles: angles to keypoints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from vgen.errors import InputError
from vgen.sources.reading.unpickle import read_pickle
from vgen.sources.source import LeftOut
from vgen.trajectory.layouts import MANO_TO_MEDIAPIPE

FILES = {"left": "MANO_LEFT.pkl", "right": "MANO_RIGHT.pkl"}
JOINTS, SHAPES = 16, 10
TIPS = [744, 320, 443, 554, 671]
"""The vertices at the tips of the fingers, thumb to little finger, as smplx takes them."""


@dataclass(frozen=True)
class ManoHand:
    """One hand of the model, of which only the joints and five vertices are needed. All in metres.

    Attributes:
        parents: of the 16 joints; the first has none.
        mean: float64 [45], the rest pose of the joints, to which poses are added.
        joints, joint_shapes: float64 [16, 3] and [16, 3, 10], the joints and how they follow the shape.
        tips, tip_shapes, tip_poses: float64 [5, 3], [5, 3, 10] and [5, 3, 135], the same of the tips, and of the pose.
        weights: float64 [5, 16], how much of each joint's motion a tip follows.
    """

    parents: tuple[int, ...]
    mean: np.ndarray
    joints: np.ndarray
    joint_shapes: np.ndarray
    tips: np.ndarray
    tip_shapes: np.ndarray
    tip_poses: np.ndarray
    weights: np.ndarray

    @classmethod
    def read(cls, path: Path) -> ManoHand:
        """The model of a file of the makers. Nothing in it runs; neither chumpy nor scipy's matrices are needed.

        Raises:
            InputError: it is missing, damaged, or no model of a hand.
        """
        try:
            found = read_pickle(path, ("chumpy", "scipy"))
            return cls._of(found)
        except (LeftOut, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}" if not isinstance(error, LeftOut) else str(error)
            raise InputError(f"{path} is no MANO model ({reason}); give the folder of {path.name}") from error

    @classmethod
    def _of(cls, found: dict[str, Any]) -> ManoHand:
        template, shapes = _dense(found["v_template"]), _dense(found["shapedirs"])[:, :, :SHAPES]
        poses, weights, regressor = (_dense(found[name]) for name in ("posedirs", "weights", "J_regressor"))
        parents = tuple(int(parent) for parent in _dense(found["kintree_table"])[0])
        vertices = len(template)
        shaped = ((regressor, (JOINTS, vertices)), (shapes, (vertices, 3, SHAPES)), (weights, (vertices, JOINTS)))
        for values, shape in (*shaped, (poses, (vertices, 3, 9 * (JOINTS - 1)))):
            if values.shape != shape:
                raise ValueError(f"an array is {list(values.shape)}, not {list(shape)}")
        return cls(
            parents=parents,
            mean=_dense(found["hands_mean"]).reshape(3 * (JOINTS - 1)),
            joints=regressor @ template,
            joint_shapes=np.einsum("jv,vxs->jxs", regressor, shapes),
            tips=template[TIPS],
            tip_shapes=shapes[TIPS],
            tip_poses=poses[TIPS],
            weights=weights[TIPS],
        )

    def keypoints(self, turn: np.ndarray, pose: np.ndarray, move: np.ndarray, shape: np.ndarray) -> np.ndarray:
        """The 21 keypoints in MediaPipe's order, in the frame that the hand is turned and moved in.

        Linear blend skinning, as in smplx: joints follow those before them, and tips the blend of all joints after
        shape and pose have moved them (equations 2 to 4 of SMPL, doi:10.1145/2816795.2818013).

        Args:
            turn: [T, 3], the rotation vector of the whole hand, about its wrist.
            pose: [T, 45], rotation vectors of the 15 other joints, without the mean.
            move: [T, 3], in metres.
            shape: [10].

        Returns:
            float64 [T, 21, 3].
        """
        vectors = np.concatenate([turn, pose + self.mean], axis=1).reshape(-1, 3)
        turns = Rotation.from_rotvec(vectors).as_matrix().reshape(-1, JOINTS, 3, 3)
        joints = self.joints + self.joint_shapes @ shape
        tips = self.tips + self.tip_shapes @ shape
        bent = (turns[:, 1:] - np.eye(3)).reshape(len(turns), -1)
        tips = tips + np.einsum("vxp,tp->tvx", self.tip_poses, bent)
        places, whole = np.empty((len(turns), JOINTS, 3)), np.empty_like(turns)
        places[:, 0], whole[:, 0] = joints[0], turns[:, 0]
        for joint in range(1, JOINTS):
            parent = self.parents[joint]
            bone = joints[joint] - joints[parent]
            places[:, joint] = places[:, parent] + whole[:, parent] @ bone
            whole[:, joint] = whole[:, parent] @ turns[:, joint]
        about = tips[:, :, None] - joints  # [T, 5, 16, 3]
        moved = np.einsum("tjxy,tvjy->tvjx", whole, about) + places[:, None]
        skinned = np.einsum("vj,tvjx->tvx", self.weights, moved)
        points: np.ndarray = np.concatenate([places, skinned], axis=1) + np.asarray(move)[:, None]
        return points[:, list(MANO_TO_MEDIAPIPE)]


def read_hands(folder: Path) -> dict[str, ManoHand]:
    """Both hands, by "left" and "right", of a folder of the makers' files or of one with them in its folder mano.

    Raises:
        InputError: as `ManoHand.read`.
    """
    place = next((at for at in (folder, folder / "mano") if (at / FILES["right"]).is_file()), folder)
    return {hand: ManoHand.read(place / name) for hand, name in FILES.items()}


def _dense(found: Any) -> np.ndarray:
    """The values of an array, of what chumpy keeps (values x, or a choice idxs of another's), or of a sparse matrix by
    columns."""
    if not isinstance(found, SimpleNamespace):
        return np.asarray(found, dtype=np.float64)
    if hasattr(found, "x"):
        return _dense(found.x)
    if hasattr(found, "idxs"):
        chosen: np.ndarray = _dense(found.a).ravel()[np.asarray(found.idxs)]
        return chosen.reshape(found.preferred_shape)
    rows, columns = getattr(found, "_shape", None) or found.shape
    matrix = np.zeros((rows, columns))
    where = np.repeat(np.arange(columns), np.diff(found.indptr))
    np.add.at(matrix, (found.indices, where), found.data)
    return matrix
