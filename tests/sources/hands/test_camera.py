import numpy as np
import pytest
from hands import CENTRE, FOCAL, open_hand, seen, turned

from vgen.sources.hands.camera import focal_pixels, of_one_size, place_hands


def test_hands_stand_where_they_were_seen_from():
    random = np.random.default_rng(1)
    hands, given = [], []
    for _ in range(40):
        pose = turned(open_hand(bool(random.integers(2))), random.uniform(-0.8, 0.8, 3))
        place = np.append(random.uniform(-0.2, 0.2, 2), random.uniform(0.25, 0.9))
        hands.append(pose + place)
        given.append(turned(pose, random.uniform(-0.3, 0.3, 3)))  # as a detector turns it, nearly rightly
    true = np.stack(hands)
    placed = place_hands(seen(true), np.stack(given), FOCAL, CENTRE)
    assert np.abs(placed - true).max() < 1e-4


def test_pixel_noise_moves_a_hand_by_little_beside_its_depth():
    random = np.random.default_rng(2)
    true = np.stack([open_hand() + np.array([0.05, 0.02, 0.5])] * 50)
    placed = place_hands(
        seen(true) + random.normal(0, 0.1, (50, 21, 2)), true - true.mean(1, keepdims=True), FOCAL, CENTRE
    )
    off = placed.mean(1) - true.mean(1)
    assert np.abs(off[:, :2]).max() < 0.003
    assert np.abs(off[:, 2]).max() < 0.02


def test_a_hand_that_is_not_seen_has_no_place():
    spots, shapes = np.full((2, 21, 2), np.nan), np.full((2, 21, 3), np.nan)
    spots[1], shapes[1] = seen(open_hand() + np.array([0, 0, 0.4])), open_hand()
    placed = place_hands(spots, shapes, FOCAL, CENTRE)
    assert np.isnan(placed[0]).all()
    assert np.isfinite(placed[1]).all()


def test_a_hand_has_one_size_throughout():
    scales = np.array([0.8, 1.0, 1.0, 1.3, 1.0])
    shapes = np.stack([scale * open_hand() for scale in scales])
    assert np.allclose(of_one_size(shapes), open_hand())
    assert np.isnan(of_one_size(np.full((3, 21, 3), np.nan))).all()


def test_a_focal_length_is_that_of_35_mm_film():
    assert focal_pixels(43.2666, (2160, 3840)) == pytest.approx(np.hypot(2160, 3840), rel=1e-5)
