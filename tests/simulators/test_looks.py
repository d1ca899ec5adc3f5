"""Looks: their bounds, how they are redrawn, and that the plain one is left as it is."""

from pathlib import Path

import numpy as np
import pytest

from vgen.errors import InputError
from vgen.simulators.looks import AZIMUTH, DISTANCE, ELEVATION, NAMES, Light, Look, View, draw_look, moved
from vgen.simulators.metaworld.settings import MetaworldRecording
from vgen.simulators.settings import check, episode_seeds

PLAIN = Look(
    View(90, -42, 0.85, np.array([0.0, 0.65, 0.1]), 45), Light(np.array([0.0, 0.0, -1.0]), 0.3, np.ones(3), 0.4)
)


def test_looks_differ_by_their_seed_and_stay_within_their_bounds():
    looks = [draw_look(np.random.default_rng(seed), PLAIN, lambda view: True) for seed in range(50)]
    rows = np.stack([look.row() for look in looks])
    assert rows.dtype == np.float32 and rows.shape == (50, len(NAMES))
    azimuth, elevation, distance = rows[:, :3].T
    assert np.abs(azimuth - 90).max() <= AZIMUTH and np.abs(elevation + 42).max() <= ELEVATION
    assert (distance >= 0.85 * DISTANCE[0] - 1e-6).all() and (distance <= 0.85 * DISTANCE[1] + 1e-6).all()
    assert np.allclose(np.linalg.norm(rows[:, 7:10], axis=1), 1) and (rows[:, 9] < 0).all()  # light comes from above
    assert len(np.unique(rows[:, -1])) == 50 and all(
        look.colours == row[-1] for look, row in zip(looks, rows, strict=True)
    )
    assert (rows.std(axis=0) > 0).all()
    again = draw_look(np.random.default_rng(7), PLAIN, lambda view: True)
    assert np.array_equal(again.row(), rows[7])


def test_a_view_is_drawn_again_until_it_shows_what_must_be_seen():
    chosen = draw_look(np.random.default_rng(0), PLAIN, lambda view: abs(view.azimuth - 90) < 3)
    assert 0 < abs(chosen.view.azimuth - 90) < 3
    never = draw_look(np.random.default_rng(0), PLAIN, lambda view: False)
    assert never.view is PLAIN.view and never.colours


def test_another_camera_is_moved_by_the_same_way_and_not_at_all_by_the_plain_look():
    side = View(135, -30, 1.3, np.array([0.0, 0.55, 0.1]), 45)
    still = moved(side, PLAIN.view, PLAIN.view)
    assert (still.azimuth, still.elevation, still.distance) == (135, -30, 1.3)
    assert np.array_equal(still.lookat, side.lookat)
    other = moved(side, PLAIN.view, View(100, -40, 1.7, np.array([0.05, 0.65, 0.1]), 50))
    assert (other.azimuth, other.elevation, other.fovy) == (145, -28, 50) and other.distance == pytest.approx(2.6)
    assert np.allclose(other.lookat, [0.05, 0.55, 0.1])


def test_varied_looks_have_a_split_of_their_own_with_held_out_seeds():
    settings = MetaworldRecording(Path("x"), ["reach-v3"], train_seeds=1, test_seeds=1, looks=2, varied_seeds=2)
    listed = [(seed.split, seed.seed, seed.look) for seed in episode_seeds(settings)]
    assert listed == [
        ("train", 0, 1),
        ("train", 0, 2),
        ("test", 10_000, 0),
        ("varied", 10_000, 1),
        ("varied", 10_001, 1),
    ]
    with pytest.raises(InputError, match="looks=-1 is not 0 or more; nearest: 0"):
        check(MetaworldRecording(Path("x"), looks=-1))
