"""Forms, times, actions and mirrored scenes; every conversion comes back to 1e-5."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from trajectory_samples import LAYOUT_NAMES, sample, six, with_gap

from vgen.errors import InputError
from vgen.trajectory.convert import (
    convert,
    mirror_scene,
    resample,
    resample_rate,
    to_absolute,
    to_delta,
    to_relative,
)
from vgen.trajectory.layouts import find_layout
from vgen.trajectory.rotations import to_columns, to_matrices
from vgen.trajectory.trajectory import Trajectory

CLOSE = {"atol": 1e-5, "rtol": 0}


def same(one, other):
    np.testing.assert_allclose(one.values, other.values, **CLOSE)
    np.testing.assert_allclose(one.times, other.times, atol=1e-9)
    np.testing.assert_array_equal(one.valid, other.valid)
    assert (one.layout, one.form) == (other.layout, other.form)


@pytest.mark.parametrize("name", LAYOUT_NAMES)
def test_delta_and_back(name):
    given = sample(name)
    steps = to_delta(given)
    assert (len(steps), steps.form) == (len(given) - 1, "delta")
    same(to_absolute(steps, given.rows(0, 1)), given)


@pytest.mark.parametrize("name", LAYOUT_NAMES)
def test_relative_and_back(name):
    given = sample(name)
    relative = to_relative(given)
    assert (len(relative), relative.form) == (len(given), "relative")
    same(to_absolute(relative, given.rows(0, 1)), given)


@pytest.mark.parametrize("name", LAYOUT_NAMES)
def test_delta_of_relative_and_relative_of_delta(name):
    given = sample(name)
    same(to_delta(to_relative(given)), to_delta(given))
    same(to_relative(to_delta(given), given.rows(0, 1)), to_relative(given))


@pytest.mark.parametrize("form", ["absolute", "relative", "delta"])
def test_convert_takes_any_form_to_any(form):
    given = sample("pose7")
    start, wanted = given.rows(0, 1), {"absolute": given, "relative": to_relative(given), "delta": to_delta(given)}
    for each in wanted.values():
        same(convert(each, form, start), wanted[form])


def test_steps_of_points_are_differences_and_levels_stay():
    given = sample("position4")
    steps = to_delta(given).values
    np.testing.assert_allclose(steps[:, :3], np.diff(given.values[:, :3], axis=0), **CLOSE)
    np.testing.assert_array_equal(steps[:, 3], given.values[1:, 3])


def test_steps_of_rotations_turn_the_old_into_the_new_from_outside():
    given = sample("pose7")
    turns = Rotation.from_euler("xyz", given.values[:, 3:6])
    steps = Rotation.from_euler("xyz", to_delta(given).values[:, 3:6])
    np.testing.assert_allclose((steps * turns[:-1]).as_matrix(), turns[1:].as_matrix(), **CLOSE)
    assert np.abs(np.diff(given.values[:, 3:6], axis=0) - to_delta(given).values[:, 3:6]).max() > 0.01  # no subtraction


def test_steps_of_poses_are_seen_from_the_pose_before():
    given = sample("hand_pose57")
    for start in (0, 9, 33):
        steps = to_matrices(to_delta(given).values[:, start : start + 9].astype(float))
        poses = to_matrices(given.values[:, start : start + 9].astype(float))
        np.testing.assert_allclose(steps, np.linalg.inv(poses[:-1]) @ poses[1:], **CLOSE)


def test_relative_begins_with_no_motion():
    row = to_relative(sample("hand_pose57")).values[0]
    np.testing.assert_allclose(row[:9], [0, 0, 0, 1, 0, 0, 0, 1, 0], **CLOSE)
    np.testing.assert_allclose(to_relative(sample("pose7")).values[0, :6], 0, **CLOSE)


def test_alignment_action_k_leads_from_frame_k_to_frame_k_plus_1():
    """A hand that jumps between frames 2 and 3 alone: the jump is action 2, and it arrives at frame 3."""
    values = np.zeros((6, 4))
    values[3:, 0] = 1.0
    given = Trajectory(values, 10.0 + np.arange(6) / 25, layout="position4")
    steps = to_delta(given)
    assert np.flatnonzero(steps.values[:, 0]).tolist() == [2]
    np.testing.assert_allclose(steps.times, given.times[1:])


def test_a_step_is_valid_where_both_its_frames_are():
    steps = to_delta(with_gap(sample("hand_pose57", rows=6), 2))
    assert steps.valid.tolist() == [True, False, False, True, True]
    assert np.isnan(steps.values[1]).all()
    back = to_absolute(steps, sample("hand_pose57", rows=6).rows(0, 1))
    assert back.valid.tolist() == [True, True, False, False, False, False]
    same(
        to_absolute(to_relative(with_gap(sample("pose7"), 3)), sample("pose7").rows(0, 1)), with_gap(sample("pose7"), 3)
    )


@pytest.mark.parametrize("name", LAYOUT_NAMES)
def test_resampling_at_its_own_times_and_twice_as_often(name):
    given = sample(name)
    same(resample(given, given.times), given)
    dense = resample_rate(given, 40)
    assert len(dense) == 2 * len(given) - 1
    same(resample(dense, given.times), given)


def test_between_rows():
    turn = Rotation.from_rotvec([[0, 0, 0], [0, 0, 1.0]])
    values = np.concatenate([[[0, 0, 0], [1, 2, 3]], turn.as_euler("xyz"), [[0], [1]]], axis=1)
    middle = resample(Trajectory(values, [0, 1], layout="pose7"), [0.25]).values[0]
    np.testing.assert_allclose(middle, [0.25, 0.5, 0.75, 0, 0, 0.25, 0.25], **CLOSE)
    boxes = np.array([[0, 0, 1, 1, 0, 0, 1, 1, 1, 0], [0, 0, 1, 1, 0, 0, 1, 1, 0, 1]], float)
    flags = resample(Trajectory(boxes, [0, 1], layout="hand_boxes"), [0.0, 0.9, 1.0]).values[:, 8:]
    assert flags.tolist() == [[1, 0], [1, 0], [0, 1]]


def test_turns_are_even_between_rows_also_over_the_seam_of_the_angles():
    turn = Rotation.from_rotvec([[0, 0, 3.0], [0, 0, 3.4]])
    values = np.concatenate([np.zeros((2, 3)), turn.as_euler("xyz"), [[0], [0]]], axis=1)
    middle = resample(Trajectory(values, [0, 1], layout="pose7"), [0.25]).values[0, 3:6]
    np.testing.assert_allclose(Rotation.from_euler("xyz", middle).as_rotvec(), [0, 0, 3.1], **CLOSE)


def test_a_new_row_beside_a_row_that_is_not_valid_is_not_valid():
    given = with_gap(sample("position4", rows=5, rate=1), 2)
    out = resample(given, given.times[0] + np.array([0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]))
    assert out.valid.tolist() == [True, True, True, False, False, False, True, True]


@pytest.mark.parametrize("name", [name for name in LAYOUT_NAMES if name != "adroit_hand"])
@pytest.mark.parametrize("form", ["absolute", "relative", "delta"])
def test_mirrored_twice(name, form):
    given = convert(sample(name), form)
    once = mirror_scene(given)
    assert np.abs(once.values - given.values).max() > 0.05
    same(mirror_scene(once), given)


@pytest.mark.parametrize("name", [name for name in LAYOUT_NAMES if name != "adroit_hand"])
@pytest.mark.parametrize("form", ["relative", "delta"])
def test_mirroring_goes_before_or_after_a_change_of_form(name, form):
    given = sample(name)
    same(mirror_scene(convert(given, form)), convert(mirror_scene(given), form))


def test_a_mirrored_box_fits_the_image_turned_over():
    values = [[0.1, 0.2, 0.3, 0.6, 0.5, 0.1, 0.9, 0.4, 1, 0]]
    out = mirror_scene(Trajectory(values, [0], layout="hand_boxes")).values[0]
    np.testing.assert_allclose(out, [0.1, 0.1, 0.5, 0.4, 0.7, 0.2, 0.9, 0.6, 0, 1], **CLOSE)


def test_mirrored_fingertips_stay_with_their_wrist():
    """World positions of the tips, mirrored, are those of the mirrored trajectory, of the other hand."""
    given = sample("hand_pose57", rows=5)

    def tips(rows, pose, start):
        local = rows.values[:, start : start + 15].reshape(-1, 5, 3).astype(float)
        motion = to_matrices(rows.values[:, pose : pose + 9].astype(float))
        return np.einsum("tij,tpj->tpi", motion[:, :3, :3], local) + motion[:, None, :3, 3]

    np.testing.assert_allclose(tips(mirror_scene(given), 9, 18), tips(given, 33, 42) * [-1, 1, 1], **CLOSE)


def test_a_single_right_hand_is_not_mirrored():
    with pytest.raises(InputError, match="makes a left one"):
        mirror_scene(sample("adroit_hand"))


def test_columns_of_rotations_come_back():
    rotation = Rotation.random(50, rng=np.random.default_rng(0))
    for columns in (rotation.as_euler("xyz"), six(rotation)):
        np.testing.assert_allclose(to_matrices(columns)[:, :3, :3], rotation.as_matrix(), atol=1e-9)
        np.testing.assert_allclose(to_columns(to_matrices(columns), columns.shape[1]), columns, atol=1e-9)
    stretched = six(rotation) * 3 + np.concatenate([np.zeros((50, 3)), six(rotation)[:, :3]], axis=1)
    np.testing.assert_allclose(to_matrices(stretched)[:, :3, :3], rotation.as_matrix(), atol=1e-9)
    np.testing.assert_array_equal(to_columns(np.eye(4)[None], 6), [[1, 0, 0, 0, 1, 0]])


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda t: to_delta(t.rows(0, 1)), "2 rows or more"),
        (lambda t: to_absolute(to_delta(t)), "no start is given"),
        (lambda t: to_absolute(to_delta(t), t.rows(0, 2)), "the start is 2 absolute rows"),
        (lambda t: to_absolute(to_delta(t), sample("pose7").rows(0, 1)), "rows of pose7"),
        (lambda t: to_absolute(to_delta(t), to_relative(t).rows(0, 1)), "1 relative rows"),
        (lambda t: to_absolute(to_delta(t), with_gap(t, 0).rows(0, 1)), "one valid absolute row"),
        (lambda t: to_relative(with_gap(t, 0)), "first row is not valid"),
        (lambda t: to_relative(to_delta(t)), "no start is given"),
        (lambda t: to_delta(with_gap(t, *range(len(t)))), "none of the 40 rows is valid"),
        (lambda t: resample(to_delta(t), [3.0]), "can't be resampled"),
        (lambda t: resample(t, [1.0]), "nearest: 2"),
        (lambda t: resample(t, [9.0]), "outside the trajectory, 2 to 3.95 s; nearest: 3.95"),
        (lambda t: resample(t, [float("nan")]), "time nan"),
        (lambda t: resample(t, [2.2, 2.1]), "does not come after"),
        (lambda t: resample_rate(t, 0), "rate=0"),
    ],
)
def test_what_cannot_be_converted_is_refused_in_one_line(call, named):
    with pytest.raises(InputError) as refused:
        call(sample("position4"))
    assert named in str(refused.value) and "\n" not in str(refused.value)


def test_a_row_that_is_no_rotation_is_refused():
    values = sample("adroit_hand").values.copy()
    values[4, 6:9] = 2 * values[4, 3:6]
    with pytest.raises(InputError, match="is no rotation as rot6d"):
        to_delta(Trajectory(values, sample("adroit_hand").times, layout="adroit_hand"))


def test_adroit_steps_are_in_the_world():
    given = sample("adroit_hand")
    np.testing.assert_allclose(to_delta(given).values[:, 9:], np.diff(given.values[:, 9:], axis=0), **CLOSE)
    assert find_layout("adroit_hand").names[9:12] == ["right_wrist_x", "right_wrist_y", "right_wrist_z"]
