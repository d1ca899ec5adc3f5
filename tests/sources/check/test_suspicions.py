"""Each wrong unit, sign, order and frame of reference is told; a sound data set is not suspected."""

import json

import numpy as np
import pytest
from lerobot_folders import changed as changed_folder
from lerobot_folders import column
from moving_square import write
from trajectory_samples import sample

from vgen.data.lerobot.writer import LeRobotWriter
from vgen.sources.check.check import check
from vgen.trajectory.layouts import find_layout

STILL = "z, roll, pitch, yaw never change"  # as the square lies on a table


def changed(where, change):
    def edit(values):
        values = values.copy()
        values[:, where] = change(values[:, where])
        return values

    return edit


def told(folder, **options):
    return "\n".join(line for line in check(folder, **options).suspicions if STILL not in line)


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """A sound data set whose camera is told."""
    return write(tmp_path_factory.mktemp("seen") / "set", camera=True, episodes=3)


def test_sound_data_is_not_suspected(seen):
    assert told(seen) == "" and [delay.rows for delay in check(seen).delays if delay.certain] == [0]


@pytest.mark.parametrize(
    ("where", "change", "expected"),
    [
        (0, lambda x: x + 5, "beside the picture in 100% of the rows; check the intrinsics"),
        (1, lambda y: -0.2 - y, "the sign of y may be wrong"),
        (6, lambda gripper: 1 - gripper, "100% of the episodes begin shut"),
    ],
)
def test_what_the_picture_shows_is_told(seen, tmp_path, where, change, expected):
    def rows(table):
        values = np.array(table["observation.state"].to_pylist())
        return column("observation.state", lambda _: changed(where, change)(values).tolist())(table)

    assert expected in told(changed_folder(seen, tmp_path / "set", rows=rows))


@pytest.mark.parametrize(
    ("where", "change", "expected"),
    [
        (slice(3, 6), np.degrees, "beyond a turn of 6.283 rad; if they are degrees"),
        (
            slice(0, 3),
            lambda rows: rows * 100,
            "if it is in inches, divide by 39.37; if it is in centimetres, divide by 100",
        ),
        (slice(0, 3), lambda rows: rows * 1000, "if it is in millimetres, divide by 1000"),
        (6, lambda gripper: gripper * 255, "goes from 0 to 255 and must be 1 open, 0 shut; divide by 255"),
        (6, lambda gripper: gripper * 2 - 1, "(1 + value) / 2"),
        (6, lambda gripper: gripper * 0.08, "if it is in metres"),
        (0, lambda x: np.where(np.arange(len(x)) % 3 == 0, np.nan, x), "34% of its rows are not valid"),
    ],
)
def test_wrong_poses_are_told(tmp_path, where, change, expected):
    assert expected in told(write(tmp_path / "set", change=changed(where, change), episodes=3, video=None))


@pytest.mark.parametrize(
    ("where", "change", "expected"),
    [
        (slice(4, 8), lambda rows: rows * 64, "shares of width and height, not pixels"),
        (slice(4, 8), lambda rows: rows[:, [2, 3, 0, 1]], "x1 < x0 or y1 < y0 in 100%"),
        (slice(4, 8), lambda rows: rows + 0.4, "leave the picture"),
        (9, lambda flags: flags * 2, "right_seen: holds 2 and must be 1 (seen) or 0 (not)"),
    ],
)
def test_wrong_boxes_are_told(tmp_path, where, change, expected):
    assert expected in told(write(tmp_path / "set", "hand_boxes", changed(where, change), episodes=3, video=None))


def keypoints(rows=40):
    """Both hands of seven centimetres before a camera, 21 points each, left on the left."""
    rng = np.random.default_rng(0)
    points = rng.normal(0, 0.02, (1, 2, 21, 3)) + np.cumsum(rng.normal(0, 0.004, (rows, 2, 1, 3)), axis=0)
    points[:, :, 9] = points[:, :, 0] + [0, -0.07, 0]
    points += np.array([[-0.15, 0.1, 0.5], [0.15, 0.1, 0.5]])[None, :, None]
    return np.concatenate([points.reshape(rows, -1), np.ones((rows, 2))], axis=1)


def without_camera(folder, layout, values):
    writer = LeRobotWriter(folder, 20, {"observation.state": find_layout(layout).names}, [])
    for _ in range(2):
        writer.add_episode({"observation.state": values.astype(np.float32)}, {}, "wave")
    writer.finish()
    return folder


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda hands: hands, ""),
        (lambda hands: hands * 1000, "0.06 to 0.12; divide by 1000"),
        (lambda hands: hands[:, ::-1], "the left hand is to the right of the other in 100% of the rows; swapped?"),
        (lambda hands: hands * [1, -1, 1], "y must go down, and may go up here"),
        (lambda hands: hands * [1, 1, -1], "behind the camera (z <= 0) in 100% of the rows"),
    ],
)
def test_wrong_keypoints_are_told(tmp_path, change, expected):
    values = keypoints()
    values[:, :126] = change(values[:, :126].reshape(-1, 2, 21, 3)).reshape(-1, 126)
    found = told(without_camera(tmp_path / "set", "keypoints", values))
    assert expected in found and bool(found) == bool(expected)


def test_rotations_must_be_rotations(tmp_path):
    values = sample("adroit_hand").values.astype(float)
    values[:, 3:9] *= 1.5
    assert "no rotation as rot6d" in told(without_camera(tmp_path / "set", "adroit_hand", values))


@pytest.mark.parametrize("said", ["", "of the gripper 1 shuts"])
def test_grippers_that_disagree_are_told_with_what_is_said_of_them(tmp_path, said):
    state = np.stack([*np.random.default_rng(0).normal(0, 0.1, (3, 40)), np.arange(40) % 20 < 10], axis=1)
    names = find_layout("position4").names
    writer = LeRobotWriter(tmp_path / "set", 20, {"observation.state": names, "action": names}, [])
    for _ in range(2):
        action = state.copy()
        action[:, 3] = 1 - action[:, 3]
        writer.add_episode({"observation.state": state, "action": action}, {}, "pick")
    writer.finish()
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    info["features"]["action"]["info"] = {"conventions": said} if said else None
    (tmp_path / "set/meta/info.json").write_text(json.dumps(info))
    line = "gripper: goes the other way than in action (correlation -1.00); one of the signs is turned"
    assert told(tmp_path / "set") == line + (f", if this is not what is said of action: {said}" if said else "")


def test_a_second_camera_may_be_still_and_another_column_may_not(tmp_path):
    state = np.random.default_rng(0).normal(0, 0.1, (40, 4))
    more = ("observation.intrinsics.wrist", "observation.camera_pose.wrist", "observation.load")
    names = {"observation.state": find_layout("position4").names} | {name: ["one", "two"] for name in more}
    writer = LeRobotWriter(tmp_path / "set", 20, names, [])
    writer.add_episode({"observation.state": state} | {name: np.ones((40, 2)) for name in more}, {}, "pick")
    writer.finish()
    found = told(tmp_path / "set")
    assert "observation.load: never changes" in found and "wrist" not in found
