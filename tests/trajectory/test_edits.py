"""Counterfactuals begin where the recorded motion does, keep its times, and do what they say."""

from dataclasses import replace

import numpy as np
import pytest
from trajectory_samples import LAYOUT_NAMES, sample, with_gap

from vgen.errors import InputError
from vgen.trajectory.convert import to_delta
from vgen.trajectory.edits import EDITS, mirror, parse_edit, redirect, scale, shift, stop
from vgen.trajectory.trajectory import Trajectory

CLOSE = {"atol": 1e-5, "rtol": 0}


def places(trajectory, body=None):
    spec = trajectory.spec
    return trajectory.values[:, spec.place(body or spec.bodies[0])].mean(axis=1)


def straight(rows=21, rate=10.0):
    """`position4` that goes along (1, 2, 3) for two seconds, with its gripper half open."""
    t = np.arange(rows)[:, None] / rate
    return Trajectory(np.concatenate([t * [1, 2, 3], np.full_like(t, 0.5)], axis=1), t[:, 0], layout="position4")


def all_seen(trajectory):
    """The same, with every hand in every row."""
    values = trajectory.values.copy()
    for part, where in trajectory.spec.slices():
        if part.type == "flag":
            values[:, where] = 1
    return replace(trajectory, values=values)


def passing_hand():
    """`hand_boxes` of a right hand that comes at row 5 and is gone from row 15 on, zeros before and after."""
    values = np.zeros((20, 10))
    values[5:15, 4:8] = np.linspace([0.4, 0.5, 0.6, 0.8], [0.5, 0.5, 0.7, 0.8], 10)
    values[5:15, 9] = 1
    return Trajectory(values, np.arange(20) / 10, layout="hand_boxes")


def zeros(trajectory):
    return [0.0] * len(trajectory.spec.place(trajectory.spec.bodies[0])[0])


EVERY = {
    "mirror": lambda t: mirror(t),
    "shift": lambda t: shift(t, [value + 0.2 for value in zeros(t)]),
    "scale": lambda t: scale(t, 2.0),
    "stop": lambda t: stop(t, t.times[5]),
    "redirect": lambda t: redirect(t, zeros(t), body=t.spec.bodies[0]),
}


@pytest.mark.parametrize("name", LAYOUT_NAMES)
@pytest.mark.parametrize("edit", EVERY)
def test_every_edit_of_every_layout_keeps_the_start_and_the_times(edit, name):
    given = sample(name)
    made = EVERY[edit](given)
    np.testing.assert_allclose(made.values[0], given.values[0], **CLOSE)
    np.testing.assert_array_equal(made.times, given.times)
    assert (made.layout, made.form) == (name, "absolute")
    assert np.abs(places(made) - places(given)).max() > 0.01
    assert set(EVERY) == set(EDITS)


@pytest.mark.parametrize("name", ["keypoints", "adroit_hand", "hand_boxes"])
def test_a_body_moves_as_a_whole(name):
    given = sample(name)
    made = shift(given, [0.3, 0.1, 0.2][: len(zeros(given))], blend=0.5, body="right")
    offsets = [made.values[:, point] - given.values[:, point] for point in given.spec.points("right")]
    for offset in offsets:
        np.testing.assert_allclose(offset, offsets[0], **CLOSE)
    np.testing.assert_allclose(offsets[0][-1], [0.3, 0.1, 0.2][: offsets[0].shape[1]], **CLOSE)
    moved = {column for point in given.spec.points("right") for column in point}
    kept = [column for column in range(given.spec.width) if column not in moved]
    np.testing.assert_array_equal(made.values[:, kept], given.values[:, kept])


def test_mirror_is_its_own_inverse_and_turns_one_axis():
    made = mirror(straight(), "y")
    np.testing.assert_allclose(made.values[:, :3], straight().values[:, :3] * [1, -1, 1], **CLOSE)
    np.testing.assert_allclose(mirror(made, "y").values, straight().values, **CLOSE)


def test_scale_from_a_time_on():
    made, given = scale(straight(), 3.0, start=1.0), straight()
    np.testing.assert_array_equal(made.values[:11], given.values[:11])
    np.testing.assert_allclose(made.values[-1, :3], given.values[10, :3] + 3 * np.array([1, 2, 3]), **CLOSE)
    np.testing.assert_array_equal(made.values[:, 3], given.values[:, 3])


def test_scale_by_one_and_minus_one():
    np.testing.assert_allclose(scale(straight(), 1.0).values, straight().values, **CLOSE)
    np.testing.assert_allclose(scale(straight(), -1.0).values[:, :3], -straight().values[:, :3], **CLOSE)


def test_shift_is_smooth_and_complete_after_its_blend():
    offset = (shift(straight(), [1, 0, 0], start=0.5, blend=1.0).values - straight().values)[:, 0]
    np.testing.assert_allclose(offset[:6], 0, **CLOSE)
    np.testing.assert_allclose(offset[15:], 1, **CLOSE)
    assert offset[10] == pytest.approx(0.5, abs=1e-5)
    assert np.diff(offset).min() >= -1e-6 and np.diff(offset).max() < 0.2  # a line would be 0.1, a jump 1


def test_shift_at_once():
    offset = (shift(straight(), [0, 0, 1], start=1.0, blend=0).values - straight().values)[:, 2]
    np.testing.assert_allclose(offset, [0] * 10 + [1] * 11, **CLOSE)


@pytest.mark.parametrize("at, row", [(0.7, 7), (0.75, 7), (0.0, 0), (2.0, 20)])
def test_stop_holds_the_last_row_up_to_then(at, row):
    values = straight().values.copy()
    values[:, 3] = np.linspace(0, 1, 21)
    made = stop(Trajectory(values, straight().times, layout="position4"), at)
    np.testing.assert_array_equal(made.values[: row + 1], values[: row + 1])
    np.testing.assert_array_equal(made.values[row:], np.repeat(values[row : row + 1], 21 - row, 0))


def test_stop_holds_orientation_and_one_of_two_hands_and_never_the_camera():
    given = sample("hand_pose57")
    made = stop(given, given.times[4], "left")
    np.testing.assert_array_equal(made.values[:, :33], given.values[:, :33])
    np.testing.assert_array_equal(made.values[4:, 33:], np.repeat(given.values[4:5, 33:], 36, 0))
    np.testing.assert_array_equal(stop(given, given.times[4]).values[:, :9], given.values[:, :9])


@pytest.mark.parametrize("name", LAYOUT_NAMES)
def test_redirect_ends_at_the_point_and_is_smooth(name):
    given = all_seen(sample(name))
    body, goal = given.spec.bodies[-1], np.array([0.4, -0.2, 0.7][: len(zeros(given))])
    made = redirect(given, goal, start=given.times[10], body=body)
    np.testing.assert_allclose(places(made, body)[-1], goal, **CLOSE)
    np.testing.assert_array_equal(made.values[:11], given.values[:11])
    bend = np.diff(places(made, body) - places(given, body), axis=0)
    whole = np.abs(goal - places(given, body)[-1])
    assert (
        np.abs(bend).max(axis=0) <= whole * 1.9 / 29 + 1e-5
    ).all()  # the fastest step of a minimum-jerk bend is 15/8
    assert (np.abs(np.diff(bend, axis=0)).max(axis=0) <= whole * 6 / 29**2 + 1e-5).all()


def test_rows_that_are_not_valid_stay_so():
    given = with_gap(straight(), 0, 5, 20)
    for edit in EVERY.values():
        assert edit(given).valid.tolist() == given.valid.tolist()
    made = redirect(given, [0, 0, 0])
    np.testing.assert_allclose(made.values[19, :3], 0, **CLOSE)  # the last valid row
    np.testing.assert_allclose(mirror(given).values[1], given.values[1], **CLOSE)  # about the first valid row


@pytest.mark.parametrize(
    "text, same",
    [
        ("mirror", lambda t: mirror(t)),
        ("mirror=z@0.5", lambda t: mirror(t, "z", 0.5)),
        ("shift=0.1,0,-2e-1", lambda t: shift(t, [0.1, 0, -0.2])),
        ("shift=1,0,0@0.5:blend=0.25:body=hand", lambda t: shift(t, [1, 0, 0], 0.5, 0.25, "hand")),
        ("scale=-1.5@1", lambda t: scale(t, -1.5, 1.0)),
        ("stop@0.8", lambda t: stop(t, 0.8)),
        (" redirect=0,1,2@0.3:blend=1 ", lambda t: redirect(t, [0, 1, 2], 0.3, 1.0)),
    ],
)
def test_an_edit_as_text(text, same):
    np.testing.assert_array_equal(parse_edit(text)(straight()).values, same(straight()).values)


BAD = [
    ("mirro", "nearest: 'mirror'"),
    ("", "known: mirror"),
    ("mirror=w", "'w' is not in the axes"),
    ("mirror@", "must be a number"),
    ("mirror@soon", "'soon' must be a number"),
    ("mirror:axis=x", "'axis' is not in the options of mirror"),
    ("mirror:blend=1", "options of mirror"),
    ("mirror:body=left", "bodies of layout position4"),
    ("shift", "shift needs a value"),
    ("shift=1", "must be 3 finite numbers"),
    ("shift=1,2,3,4", "1,2,3,4 must be 3"),
    ("shift=1,2,x", "'x' must be a number"),
    ("shift=1,2,nan", "'nan' must be a number"),
    ("shift=1,2,inf", "must be a number of at most 1e+06"),
    ("shift=1,2,3:blend=-1", "blend=-1.0 must be 0 seconds or more"),
    ("shift=1,2,3:blend", "must be a number"),
    ("scale", "scale needs a value"),
    ("scale=2,3", "a factor is one number"),
    ("scale=1e300", "at most 1e+06"),
    ("scale=2@5", "time 5 s is outside the trajectory, 0 to 2 s; nearest: 2"),
    ("scale=2@-1", "nearest: 0"),
    ("stop", "stop@SECONDS"),
    ("stop=0.5", "stop takes no value"),
    ("stop@2.5", "nearest: 2"),
    ("redirect=1,2", "must be 3 finite numbers"),
    ("redirect=1,2,3@1.5:blend=1", "ends after the last valid row of body=hand"),
]


@pytest.mark.parametrize("text, named", BAD)
def test_a_wrong_edit_is_refused_in_one_line(text, named):
    with pytest.raises(InputError) as refused:
        parse_edit(text)(straight())
    assert named in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("edit", EVERY)
def test_other_forms_and_nothing_valid_are_refused(edit):
    with pytest.raises(InputError, match="the trajectory is delta"):
        EVERY[edit](to_delta(straight()))
    with pytest.raises(InputError, match="which goes to the point"):
        redirect(sample("keypoints"), [0, 0, 0])
    with pytest.raises(InputError, match="no row is valid and shows body=hand"):
        EVERY[edit](with_gap(straight(), *range(21)))


def test_a_hand_that_comes_and_goes_is_edited_about_where_it_is_seen():
    given, seen = passing_hand(), slice(5, 15)
    came = places(given, "right")[5]
    np.testing.assert_allclose(
        places(mirror(given), "right")[seen, 0], 2 * came[0] - places(given, "right")[seen, 0], **CLOSE
    )
    for made in (scale(given, 2.0), shift(given, [0.1, 0]), redirect(given, [0.3, 0.3], body="right")):
        np.testing.assert_allclose(places(made, "right")[5], came, **CLOSE)
    np.testing.assert_allclose(places(redirect(given, [0.3, 0.3], body="right"), "right")[14], [0.3, 0.3], **CLOSE)
    np.testing.assert_allclose(
        places(shift(given, [0.1, 0]), "right")[14] - places(given, "right")[14], [0.1, 0], **CLOSE
    )


@pytest.mark.parametrize(
    "text", ["mirror:body=left", "shift=0.1,0:body=left", "scale=2:body=left", "stop@0.5:body=left"]
)
def test_a_hand_that_is_never_seen_is_not_edited(text):
    with pytest.raises(InputError, match="no row is valid and shows body=left"):
        parse_edit(text)(passing_hand())
    with pytest.raises(
        InputError, match=r"time 1\.7 s is after the last valid row of body=left or body=right; nearest"
    ):
        mirror(passing_hand(), start=1.7)
    parse_edit(text.partition(":")[0])(passing_hand())  # of the other one


def test_times_that_were_kept_in_float32_are_met():
    exact = straight()
    rounded = replace(exact, times=exact.times.astype(np.float32).astype(np.float64))
    assert not np.array_equal(exact.times, rounded.times)
    for text in ("stop@0.7", "scale=2@0.3", "mirror@0.3", "shift=1,0,0@0.3:blend=0", "stop@0.3", "mirror@0.7"):
        assert np.allclose(parse_edit(text)(rounded).values, parse_edit(text)(exact).values, atol=1e-5), text


@pytest.mark.parametrize("text", ["redirect=0,1,1@1.9", "shift=1,0,0@1.9"])
def test_a_time_after_the_last_valid_row_is_refused(text):
    known = straight()
    valid = np.arange(len(known)) < 18
    with pytest.raises(InputError, match=r"time 1\.9 s is after the last valid row of body=hand; nearest: 1\.7"):
        parse_edit(text)(replace(known, valid=valid))


def test_a_clock_may_begin_anywhere():
    known = replace(straight(), times=straight().times + 1.7e9)
    held = parse_edit("stop@1700000001")(known)
    assert np.allclose(held.values[10:], known.values[10])
    with pytest.raises(InputError, match=r"time 1600000000 s is outside .*, 1700000000 to 1700000002 s"):
        parse_edit("stop@1600000000")(known)
