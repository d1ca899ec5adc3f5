"""Statistics belong to a layout and a form, and travel as JSON."""

import json

import numpy as np
import pytest
from trajectory_samples import LAYOUT_NAMES, sample, with_gap

from vgen.ego.convert import to_delta
from vgen.ego.normalise import Statistics
from vgen.ego.trajectory import Trajectory
from vgen.errors import InputError


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
    inside = np.abs(given.values - statistics.centre) <= statistics.spread if method == "quantile" else True
    assert np.mean(inside) > 0.9
    np.testing.assert_allclose(np.where(inside, back.values, 0), np.where(inside, given.values, 0), atol=1e-5)
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
    assert fitted.outside(kept) < 0.1
    assert fitted.outside(far) == 1.0
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
