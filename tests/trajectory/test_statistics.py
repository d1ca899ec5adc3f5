"""Statistics belong to a layout and a form, and travel as JSON."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from trajectory_samples import LAYOUT_NAMES, sample, six, with_gap

from vgen.errors import InputError
from vgen.trajectory.convert import convert, to_delta
from vgen.trajectory.layouts import find_layout
from vgen.trajectory.network import network_rows
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import Trajectory


def position(values, times=None):
    return Trajectory(values, np.arange(len(values)) if times is None else times, layout="position4")


def test_quantiles_map_to_one():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(3, 2, (5000, 3)), np.full((5000, 1), 0.7)], axis=1)
    rows = Statistics.fit([position(values[:2000]), position(values[2000:])]).normalise(position(values))
    low, high = np.quantile(values.astype(np.float32), [0.01, 0.99], axis=0)
    at_low = np.abs(values - low)[:, :3].argmin(axis=0)
    np.testing.assert_allclose(rows[at_low, range(3)], -1, atol=0.01)
    np.testing.assert_allclose(rows[np.abs(values - high)[:, :3].argmin(axis=0), range(3)], 1, atol=0.01)
    assert np.abs(rows).max() == 1.0
    np.testing.assert_allclose(rows[:, 3], 0, atol=1e-6)  # a constant column


def test_mean_and_deviation():
    values = np.random.default_rng(0).normal(3, 2, (500, 4))
    rows = Statistics.fit([position(values)], "mean_std").normalise(position(values))
    np.testing.assert_allclose(rows.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(rows.std(0), 1, atol=1e-5)
    assert np.abs(rows).max() > 2  # not clamped


@pytest.mark.parametrize("method", ["quantile", "mean_std"])
@pytest.mark.parametrize("name", LAYOUT_NAMES)
def test_restore_undoes_normalise_inside_the_quantiles(name, method):
    given = to_delta(sample(name))
    statistics = Statistics.fit([given], method)
    back = statistics.restore(statistics.normalise(given), given.times)
    inside = np.abs(network_rows(given) - statistics.centre) <= statistics.spread if method == "quantile" else True
    assert np.mean(inside) > 0.9
    shown, wanted = (np.where(inside, network_rows(each), 0) for each in (back, given))
    euler = name == "pose7" and method == "quantile"  # a clamped column of a matrix turns the others
    np.testing.assert_allclose(shown, wanted, atol=0.1 if euler else 1e-5)
    assert (back.layout, back.form) == (name, "delta")


def test_rows_that_are_not_valid_neither_count_nor_show():
    values = np.random.default_rng(0).normal(size=(50, 4))
    spoilt = values.copy()
    spoilt[7] = 1e6
    valid = np.arange(50) != 7
    marked = Trajectory(spoilt, np.arange(50.0), valid, "position4")
    fitted = Statistics.fit([marked], "mean_std")
    np.testing.assert_allclose(fitted.centre, values[valid].mean(0), atol=1e-6)
    gap = with_gap(position(values), 3)
    rows = Statistics.fit([gap]).normalise(gap)
    assert np.isfinite(rows).all() and not rows[3].any()


def test_through_json():
    fitted = Statistics.fit([sample("pose7")])
    back = Statistics.from_json(json.loads(json.dumps(fitted.to_json())))
    np.testing.assert_array_equal(back.normalise(sample("pose7")), fitted.normalise(sample("pose7")))
    assert (back.layout, back.form, back.method) == ("pose7", "absolute", "quantile")


def test_another_kind_of_trajectory_is_refused():
    fitted = Statistics.fit([sample("pose7")])
    with pytest.raises(InputError, match=r"is pose7 \(delta\); the statistics are of pose7 \(absolute\)"):
        fitted.normalise(to_delta(sample("pose7")))
    with pytest.raises(InputError, match="position4"):
        fitted.normalise(sample("position4"))
    with pytest.raises(InputError, match="one layout and form"):
        Statistics.fit([sample("pose7"), sample("position4")])


@pytest.mark.parametrize("method", ["quantile", "mean_std"])
def test_what_is_unlike_the_fit_is_told_and_only_quantiles_clamp(method):
    kept = sample("position4")
    fitted = Statistics.fit([kept], method)
    far = Trajectory(kept.values + 99, kept.times, layout="position4")
    assert fitted.outlier_share(kept) < 0.1
    assert fitted.outlier_share(far) == 1.0
    assert (np.abs(fitted.normalise(far)).max() == 1.0) == (method == "quantile")


GOOD = {"layout": "position4", "form": "delta", "method": "quantile", "centre": [0.0] * 4, "spread": [1.0] * 4}


@pytest.mark.parametrize(
    "change, named",
    [
        ({"layout": "position9"}, "position4"),
        ({"form": "deltas"}, "'delta'"),
        ({"method": "quantiles"}, "'quantile'"),
        ({"centre": [0.0] * 3}, "centre"),
        ({"centre": [0.0, 0.0, 0.0, float("nan")]}, "centre"),
        ({"centre": "abcd"}, "centre"),
        ({"spread": [1.0, 1.0, 1.0, 0.0]}, "positive"),
        ({"extra": 1}, "must hold"),
    ],
)
def test_damaged_json_is_refused(change, named):
    with pytest.raises(InputError, match=named):
        Statistics.from_json(GOOD | change)


@pytest.mark.parametrize("missing", sorted(GOOD))
def test_json_with_a_part_missing_is_refused(missing):
    with pytest.raises(InputError, match="must hold"):
        Statistics.from_json({key: value for key, value in GOOD.items() if key != missing})


def test_nothing_to_fit_is_refused():
    with pytest.raises(InputError, match="none"):
        Statistics.fit([])
    with pytest.raises(InputError, match="no valid row"):
        Statistics.fit([Trajectory(np.zeros((2, 4)), [0, 1], np.zeros(2, bool), "position4")])
    with pytest.raises(InputError, match="quantile"):
        Statistics.fit([sample("position4")], "quantiles")


def test_rows_of_another_width_are_not_restored():
    with pytest.raises(InputError, match=r"\[A, 4\]"):
        Statistics.fit([sample("position4")]).restore(np.zeros((3, 5)), np.arange(3.0))


def poses(yaw, roll=0.0, pitch=0.0):
    """`pose7` that turns about the vertical, at 10 rows a second."""
    yaw = np.asarray(yaw, dtype=float)
    values = np.stack([0 * yaw, 0 * yaw, 0 * yaw, roll + 0 * yaw, pitch + 0 * yaw, yaw, 1 + 0 * yaw], 1)
    return Trajectory(values, np.arange(len(yaw)) / 10, layout="pose7")


FORMS = ["absolute", "relative", "delta"]
PLAIN = {form: Statistics("pose7", form, "mean_std", np.zeros(10), np.ones(10)) for form in FORMS}


@pytest.mark.parametrize("form", FORMS)
def test_a_turn_through_pi_has_no_jump(form):
    recorded = poses((np.linspace(2.9, 3.5, 31) + np.pi) % (2 * np.pi) - np.pi)
    assert np.abs(np.diff(recorded.values, axis=0)).max() > 6
    rows = PLAIN[form].normalise(convert(recorded, form))
    assert rows.shape[1] == 10 and np.abs(np.diff(rows, axis=0)).max() < 0.03
    fitted = Statistics.fit([convert(recorded, form)])
    assert fitted.spread[3:9].max() < 1.01  # not the half turn that lies between pi and -pi
    back = fitted.restore(fitted.normalise(convert(recorded, form)), convert(recorded, form).times)
    assert back.spec.width == 7 and back.form == form


@pytest.mark.parametrize("form", FORMS)
def test_a_motion_is_read_alike_in_whichever_angles_it_was_recorded(form):
    given = sample("pose7")
    roll, pitch, yaw = given.values[:, 3:6].T
    rows = PLAIN[form].normalise(convert(given, form))
    for turned in ((roll + np.pi, np.pi - pitch, yaw + np.pi), (roll - 2 * np.pi, pitch, yaw + 2 * np.pi)):
        values = given.values.copy()
        values[:, 3:6] = np.stack(turned, 1)
        other = convert(Trajectory(values, given.times, layout="pose7"), form)
        np.testing.assert_allclose(PLAIN[form].normalise(other), rows, atol=2e-6)


def test_orientations_are_told_as_the_columns_of_their_matrix_and_come_back():
    given = with_gap(sample("pose7"), 4)
    turn = Rotation.from_euler("xyz", given.values[given.valid, 3:6])
    rows = PLAIN["absolute"].normalise(given)
    np.testing.assert_allclose(rows[given.valid, 3:9], six(turn), atol=1e-6)
    np.testing.assert_allclose(
        rows[given.valid][:, [0, 1, 2, 9]], given.values[given.valid][:, [0, 1, 2, 6]], atol=1e-6
    )
    assert not rows[4].any()
    back = PLAIN["absolute"].restore(rows, given.times, given.valid)
    apart = Rotation.from_euler("xyz", back.values[given.valid, 3:6]) * turn.inv()
    assert apart.magnitude().max() < 1e-5 and back.valid.tolist() == given.valid.tolist()
    assert find_layout("pose7").network.names[3:9] == ["r11", "r21", "r31", "r12", "r22", "r32"]


def test_a_pitch_of_a_right_angle_is_no_matter(recwarn):
    given = poses(np.linspace(0, 1, 5), 0.3, np.pi / 2)
    rows = PLAIN["absolute"].normalise(given)
    again = PLAIN["absolute"].normalise(PLAIN["absolute"].restore(rows, given.times))
    np.testing.assert_allclose(again, rows, atol=1e-3)
    assert not recwarn.list


@pytest.mark.parametrize("name", [name for name in LAYOUT_NAMES if name != "pose7"])
def test_layouts_without_euler_angles_are_read_as_they_are(name):
    given = sample(name)
    centre, spread = np.random.default_rng(0).uniform(0.5, 2, (2, find_layout(name).width))
    rows = Statistics(name, "absolute", "mean_std", centre, spread).normalise(given)
    assert np.array_equal(rows, ((given.values.astype(np.float64) - centre) / spread).astype(np.float32))


def test_models_that_read_angles_as_they_came_are_refused():
    kept = {"layout": "pose7", "form": "absolute", "method": "quantile", "centre": [0.0] * 7, "spread": [1.0] * 7}
    with pytest.raises(InputError, match=r"hold 7 columns of Euler angles; .* as rot6d, 10 columns: train it anew"):
        Statistics.from_json(kept)
