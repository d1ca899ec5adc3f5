import numpy as np
import pytest
from made_hands import umetrack_model
from scipy.spatial.transform import Rotation

from vgen.sources.reading.umetrack import UmeTrackHand


def landmark(hand: dict, number: int, angles: np.ndarray, wrist: np.ndarray) -> np.ndarray:
    """One landmark, joint by joint and from the tip to the wrist: an independent account of the same chain."""

    def along(bone: int, point: np.ndarray) -> np.ndarray:
        finger, depth = divmod(bone - 2, 3)
        joints = range(4 * finger + depth + 1, 4 * finger - 1, -1) if bone > 1 else ()
        for joint in joints:
            rest = np.array(hand["joint_rest_positions"][joint]) / 1000
            turn = Rotation.from_rotvec(np.array(hand["joint_rotation_axes"][joint]) * angles[joint])
            point = turn.apply(point - rest) + rest
        return wrist[:3, :3] @ point + wrist[:3, 3]

    rest = np.array(hand["landmark_rest_positions"][number]) / 1000
    pairs = zip(hand["landmark_rest_bone_indices"][number], hand["landmark_rest_bone_weights"][number], strict=True)
    return sum(weight * along(bone, rest) for bone, weight in pairs if weight)


@pytest.mark.parametrize("side", ["left", "right"])
def test_keypoints_follow_the_joints_of_their_fingers(side):
    hand, noise = umetrack_model(), np.random.default_rng(1)
    angles, wrists = noise.normal(0, 0.6, (3, 22)), np.tile(np.eye(4), (3, 1, 1))
    wrists[:, :3, :3] = Rotation.random(3, rng=2).as_matrix()
    wrists[:, :3, 3] = noise.normal(size=(3, 3))
    found = UmeTrackHand.from_json(hand).keypoints(angles, wrists, side)
    mirror = np.diag([-1.0 if side == "right" else 1.0, 1, 1, 1])
    order = [5, None, 6, 7, 0, 8, 9, 10, 1, 11, 12, 13, 2, 14, 15, 16, 3, 17, 18, 19, 4]
    for row in range(3):
        for place, number in enumerate(order):
            if number is not None:
                expected = landmark(hand, number, angles[row], wrists[row] @ mirror)
                assert np.abs(found[row, place] - expected).max() < 1e-9


def test_a_model_of_another_size_is_no_hand():
    short = umetrack_model()
    short["joint_rest_positions"] = short["joint_rest_positions"][:12]
    with pytest.raises(ValueError, match=r"joints \(12, 3\)"):
        UmeTrackHand.from_json(short)
