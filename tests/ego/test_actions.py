"""From trajectories to timed tensors, against conversions and arithmetic by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vgen.ego.actions import TimedActions, timed_actions
from vgen.errors import InputError
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import Trajectory

CENTRE, SPREAD = np.array([1.0, 0.0, -1.0, 0.5]), np.array([2.0, 4.0, 1.0, 0.5])
VALUES = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
VALID = np.array([True, True, True, False, True])


def walk(values=VALUES, form="absolute"):
    return Trajectory(values, np.arange(len(values)) / 12.5, VALID[: len(values)], "position4", form)


def statistics(form):
    return Statistics("position4", form, "mean_std", CENTRE, SPREAD)


def test_absolute_rows_are_normalised_and_arrive_frame_by_frame():
    got = timed_actions([walk(), walk(VALUES + 1)], statistics("absolute"), -2)
    for row, values in enumerate((VALUES, VALUES + 1)):
        np.testing.assert_allclose(got.values[row][VALID], ((values - CENTRE) / SPREAD)[VALID], rtol=1e-5)
        assert not got.values[row][~VALID].any()
    assert got.arrivals.tolist() == [[-2.0, -1.0, 0.0, 1.0, 2.0]] * 2 and got.arrivals.dtype == torch.float64
    assert got.valid.tolist() == [VALID.tolist()] * 2 and got.values.dtype == torch.float32


def test_steps_arrive_at_the_frame_that_they_lead_to():
    got = timed_actions([walk()], statistics("delta"), -2)
    assert got.arrivals.tolist() == [[-1.0, 0.0, 1.0, 2.0]] and got.valid.tolist() == [[True, True, False, False]]
    step = np.concatenate([VALUES[1, :3] - VALUES[0, :3], VALUES[1, 3:]])  # the gripper is as it is on arrival
    np.testing.assert_allclose(got.values[0, 0], (step - CENTRE) / SPREAD, rtol=1e-5)
    given = timed_actions([walk(VALUES[:3], "delta")], statistics("delta"), 1)
    assert given.arrivals.tolist() == [[1.0, 2.0, 3.0]]


def test_what_cannot_be_told_is_refused():
    with pytest.raises(InputError, match="no start is given"):
        timed_actions([walk(form="delta")], statistics("absolute"), 1)
    with pytest.raises(InputError, match="the statistics are of pose7"):
        other = Statistics("pose7", "absolute", "mean_std", np.zeros(10), np.ones(10))
        timed_actions([walk()], other, 1)


def test_parts_of_actions_and_actions_put_together():
    whole = timed_actions([walk(), walk(VALUES + 1)], statistics("absolute"), -2)
    before, later = whole.until(0), whole.after(0)
    assert before.arrivals.tolist() == [[-2.0, -1.0, 0.0]] * 2 and later.arrivals.tolist() == [[1.0, 2.0]] * 2
    same(before.then(later), whole)
    first, *rest = whole.split(2)
    assert [part.values.shape[1] for part in (first, *rest)] == [2, 2, 1]
    same(first.then(rest[0]).then(rest[1]), whole)
    one = timed_actions([walk()], statistics("absolute"), -2)
    same(one.steps(torch.tensor([0, 0])), replace(one, **{k: v[:, :1] for k, v in vars(one).items()}), (1, 2))


def same(one: TimedActions, other: TimedActions, shape=None):
    for name in ("values", "arrivals", "valid"):
        got, wanted = getattr(one, name), getattr(other, name)
        assert torch.equal(got, wanted if shape is None else wanted.expand(*shape, *wanted.shape[2:]))
