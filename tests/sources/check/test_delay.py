"""The delay between picture and trajectory: found where it is, and not told where nothing tells it."""

import numpy as np
import pytest
from moving_square import shifted, write

from vgen.sources.check.check import check
from vgen.sources.check.delay import measure, reach_of


def pairs(lag, episodes=6, rows=120, noise=0.3, seed=0):
    """Motion that a trajectory repeats so many rows later."""
    rng = np.random.default_rng(seed)
    for _ in range(episodes):
        path = np.convolve(rng.exponential(1, rows + 80), [0.2, 0.6, 0.2], "same")
        seen = path[40 : 40 + rows] + noise * rng.random(rows)
        yield seen, path[40 - lag : 40 - lag + rows]


@pytest.mark.parametrize("lag", [-7, -1, 0, 1, 12])
def test_delay_is_found(lag):
    found = measure(list(pairs(lag)), fps=20)
    assert found.certain and found.rows == found.low == found.high == lag
    assert max(found.curve) == found.curve[found.reach + lag]


def test_rows_that_are_not_known_do_not_count():
    given = [(seen, np.where(np.arange(len(told)) % 9 < 2, np.nan, told)) for seen, told in pairs(2)]
    assert measure(given, fps=20).rows == 2


def test_one_long_episode_is_resampled_in_pieces():
    found = measure(list(pairs(3, episodes=1, rows=1000)), fps=20)
    assert found.rows == 3 and found.certain and found.pieces > 3


def test_motion_of_others_tells_nothing():
    seen = [one for one, _ in pairs(0)]
    told = [one for _, one in pairs(0, seed=9)]
    found = measure(list(zip(seen, told, strict=True)), fps=20)
    assert "hardly rise and fall together" in found.doubt


def test_a_delay_at_the_edge_may_be_larger():
    found = measure(list(pairs(reach_of(20, [120]), noise=0)), fps=20)
    assert "may be larger" in found.doubt


def test_too_little_is_not_enough():
    assert "only 2 episodes" in measure(list(pairs(0, episodes=2)), fps=20).doubt
    assert "only 0 episodes" in measure([(np.zeros(60), np.zeros(60))] * 5, fps=20).doubt
    assert measure([], fps=20).doubt


@pytest.mark.parametrize(("lag", "layout"), [(3, "pose7"), (-2, "hand_boxes")])
def test_delay_of_a_data_set(tmp_path, lag, layout):
    folder = write(tmp_path / "set", layout, lambda values: shifted(values, lag), episodes=4)
    (found,) = check(folder).delays
    assert found.certain and found.rows == lag


def test_flicker_tells_nothing(tmp_path):
    def flicker(path):
        return np.random.default_rng(int(path[0, 0] * 1e6)).integers(0, 255, (len(path), 64, 64, 3), np.uint8)

    (found,) = check(write(tmp_path / "set", video=flicker, episodes=3)).delays
    assert not found.certain
