"""Other people's conventions come in, and go out as they came."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from trajectory_samples import sample, turns

from vgen.errors import InputError
from vgen.trajectory.conventions import (
    hand_pose57_to_points,
    keypoints_to_hand_pose57,
    mano_to_mediapipe,
    mediapipe_to_mano,
    pose7_from_bridge,
    pose7_from_rlbench,
    pose7_to_bridge,
    pose7_to_rlbench,
    wrist_poses,
)
from vgen.trajectory.convert import mirror_scene, to_absolute, to_delta
from vgen.trajectory.trajectory import Trajectory, find_layout

CLOSE = {"atol": 1e-5, "rtol": 0}
TIPS = [4, 8, 12, 16, 20]


def flat_right_hand():
    """Palm down on a table, fingers ahead (y), thumb on the left: [21, 3], x right, y ahead, z up."""
    points = np.zeros((21, 3))
    for finger, x in enumerate([-0.05, -0.03, 0.0, 0.03, 0.05]):
        for joint in range(4):
            points[1 + 4 * finger + joint] = [x, 0.08 + 0.02 * joint, -0.002 * joint]
    return points


def two_hands(rows=12, seed=0):
    """A `keypoints` trajectory of two hands that move and turn, and cameras [T, 4, 4]."""
    rng = np.random.default_rng(seed)
    right = flat_right_hand()
    hands = []
    for shape, x in ((right * [-1, 1, 1], -0.2), (right, 0.2)):
        motion = np.cumsum(rng.normal(0, 0.01, (rows, 1, 3)), axis=0) + np.array([x, 0.1, 0.5])
        hands.append(np.einsum("tij,pj->tpi", turns(rng, rows).as_matrix(), shape) + motion)
    values = np.concatenate([*(hand.reshape(rows, 63) for hand in hands), np.ones((rows, 2))], axis=1)
    camera = np.tile(np.eye(4), (rows, 1, 1))
    camera[:, :3, :3] = turns(rng, rows).as_matrix()
    camera[:, :3, 3] = np.cumsum(rng.normal(0, 0.02, (rows, 3)), axis=0)
    return Trajectory(values, np.arange(rows) / 15, layout="keypoints"), camera, np.stack(hands)


def test_mano_to_mediapipe_moves_every_joint_by_its_name():
    given = sample("keypoints_mano")
    out = mano_to_mediapipe(given)
    for column, name in enumerate(find_layout("keypoints").names):
        before = find_layout("keypoints_mano").names.index(name)
        np.testing.assert_array_equal(out.values[:, column], given.values[:, before])


def test_orders_come_back():
    given = sample("keypoints")
    back = mano_to_mediapipe(mediapipe_to_mano(given))
    np.testing.assert_array_equal(back.values, given.values)
    assert (mediapipe_to_mano(given).layout, back.layout) == ("keypoints_mano", "keypoints")


def test_rlbench_quaternions_come_back():
    rotation = Rotation.random(30, rng=np.random.default_rng(1))
    poses = np.concatenate([np.random.default_rng(2).normal(size=(30, 3)), rotation.as_quat(canonical=True)], axis=1)
    opening = np.arange(30) % 2
    given = pose7_from_rlbench(poses, opening, np.arange(30.0))
    np.testing.assert_allclose(
        Rotation.from_euler("xyz", given.values[:, 3:6]).as_matrix(), rotation.as_matrix(), **CLOSE
    )
    back, opened = pose7_to_rlbench(given)
    np.testing.assert_allclose(back, poses, **CLOSE)
    np.testing.assert_array_equal(opened, opening)


def test_a_quaternion_and_its_negative_are_one_rotation():
    poses = np.array([[0, 0, 0, 0.5, 0.5, 0.5, 0.5], [0, 0, 0, -0.5, -0.5, -0.5, -0.5]])
    values = pose7_from_rlbench(poses, [1, 1], [0, 1]).values
    np.testing.assert_allclose(values[0], values[1], **CLOSE)


@pytest.mark.parametrize(("opened", "openings"), [(0, [1, 0, 1, 0]), (1, [0, 1, 0, 1])])
def test_bridge_states_come_back_and_their_gripper_is_turned_round_where_0_opens(opened, openings):
    states = np.random.default_rng(0).uniform(-1, 1, (4, 7))
    states[:, 6] = [0, 1, 0, 1]
    given = pose7_from_bridge(states, np.arange(4) / 5, opened)
    np.testing.assert_array_equal(given.values[:, 6], openings)  # 1 open
    np.testing.assert_allclose(pose7_to_bridge(given, opened), states, **CLOSE)
    if opened == 0:
        np.testing.assert_array_equal(pose7_from_bridge(states, np.arange(4) / 5).values, given.values)


def test_the_frame_of_a_wrist():
    right = flat_right_hand()
    poses = wrist_poses(np.stack([right * [-1, 1, 1], right])[:, None])[:, 0]
    for left_or_right in poses:
        x, y, z = left_or_right[:3, :3].T
        np.testing.assert_allclose(z, [0, 1, 0], atol=1e-9)  # to the middle knuckle
        np.testing.assert_allclose(y, [0, 0, -1], atol=1e-9)  # out of a palm that faces down
        np.testing.assert_allclose(x, [1, 0, 0], atol=1e-9)  # thumb to little finger of the right hand
        assert np.linalg.det(left_or_right[:3, :3]) == pytest.approx(1)


def test_keypoints_and_camera_to_hand_pose57_and_back():
    given, camera, hands = two_hands()
    made = keypoints_to_hand_pose57(given, camera)
    back = hand_pose57_to_points(made)
    np.testing.assert_allclose(back.camera, camera, **CLOSE)
    np.testing.assert_allclose(back.tips, hands[:, :, TIPS], **CLOSE)
    np.testing.assert_allclose(back.wrist_points, hands[:, :, 0], **CLOSE)
    np.testing.assert_allclose(back.wrists, camera @ wrist_poses(hands), **CLOSE)


def test_actions_of_cosmos_and_back():
    """Its actions are the delta form; from the first frame and them, fingertips come back in every later frame."""
    given, camera, hands = two_hands()
    made = keypoints_to_hand_pose57(given, camera)
    actions = to_delta(made)
    assert actions.values.shape == (11, 57)
    np.testing.assert_allclose(  # the camera's, by its definition: inverse of the pose before, times the pose
        actions.values[:, :3], (np.linalg.inv(camera[:-1]) @ camera[1:])[:, :3, 3], **CLOSE
    )
    right = wrist_poses(hands)[1]  # fingertips in the wrist's frame, of the frame that the action leads to
    wanted = np.linalg.inv(right[1]) @ np.append(hands[1, 1, 4], 1)
    np.testing.assert_allclose(actions.values[0, 18:21], wanted[:3], **CLOSE)
    back = hand_pose57_to_points(to_absolute(actions, made.rows(0, 1)))
    np.testing.assert_allclose(back.tips, hands[:, :, TIPS], **CLOSE)


def test_mirrored_keypoints_make_the_mirrored_pose():
    given, camera, _ = two_hands()
    flip = np.diag([-1.0, 1, 1, 1])
    one = keypoints_to_hand_pose57(mirror_scene(given), flip @ camera @ flip)
    np.testing.assert_allclose(one.values, mirror_scene(keypoints_to_hand_pose57(given, camera)).values, **CLOSE)


def test_a_row_without_one_of_the_hands_is_not_valid():
    given, camera, _ = two_hands(rows=5)
    values = given.values.copy()
    values[2, 126] = 0
    made = keypoints_to_hand_pose57(Trajectory(values, given.times, layout="keypoints"), camera)
    assert made.valid.tolist() == [True, True, False, True, True]
    assert np.isnan(hand_pose57_to_points(made).tips[:, 2]).all()


def on_a_line():
    values = np.zeros((2, 128))
    values[:, 126:] = 1
    return Trajectory(values, [0, 1], layout="keypoints"), np.tile(np.eye(4), (2, 1, 1))


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: mano_to_mediapipe(sample("keypoints")), "takes keypoints_mano"),
        (lambda: mediapipe_to_mano(sample("pose7")), "takes keypoints"),
        (lambda: pose7_to_bridge(sample("position4")), "takes pose7"),
        (lambda: pose7_to_rlbench(to_delta(sample("pose7"))), "is delta"),
        (lambda: pose7_from_bridge(np.zeros((3, 6)), np.arange(3.0)), "[3, 6] must be [T, 7]"),
        (lambda: pose7_from_rlbench(np.zeros((3, 7)), np.zeros(3), np.arange(3.0)), "quaternion of no length"),
        (lambda: pose7_from_rlbench(np.ones((3, 7)), np.zeros(2), np.arange(3.0)), "2 entries for 3 poses"),
        (lambda: keypoints_to_hand_pose57(*on_a_line()), "lie on a line"),
        (lambda: keypoints_to_hand_pose57(two_hands()[0], np.eye(4)), "must be [12, 4, 4]"),
        (lambda: hand_pose57_to_points(sample("pose7")), "takes hand_pose57"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(call, named):
    with pytest.raises(InputError) as refused:
        call()
    assert named in str(refused.value) and "\n" not in str(refused.value)
