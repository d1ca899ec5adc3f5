import numpy as np
import pytest
from hands import FOCAL, SIZE, Scene, moving, seen

from vgen.sources.hands.sighting import Sighting
from vgen.sources.hands.tracking import follow, see_all
from vgen.trajectory.trajectory import Trajectory

FPS = 30


def followed(scene, cutoff=0.0):
    return follow(scene.sightings(), SIZE, FPS, FOCAL, cutoff)


def test_keypoints_and_boxes_are_those_of_the_hands():
    scene = Scene(moving(40), swapped={10, 11, 12})
    track = followed(scene)
    assert (track.seen, track.gaps, track.swaps) == (pytest.approx(np.ones((2, 40))), 0, 3)
    points = track.keypoints[:, :126].reshape(40, 2, 21, 3).swapaxes(0, 1)
    assert np.abs(points - scene.hands).max() < 1e-4
    spots = seen(scene.hands) / SIZE[::-1]
    boxes = track.hand_boxes[:, :8].reshape(40, 2, 4).swapaxes(0, 1)
    assert (boxes[..., :2] < spots.min(2)).all()
    assert (boxes[..., 2:] > spots.max(2)).all()
    assert np.abs((boxes[..., :2] + boxes[..., 2:]) / 2 - (spots.min(2) + spots.max(2)) / 2).max() < 1e-6
    for rows, layout in ((track.keypoints, "keypoints"), (track.hand_boxes, "hand_boxes")):
        assert Trajectory(rows, np.arange(40) / FPS, layout=layout).valid.all()


def test_gaps_are_not_valid_and_a_hand_that_is_away_is_not_seen():
    left = set(range(20, 26)) | set(range(60, 90)) | set(range(140, 150))
    scene = Scene(moving(150), away={0: left, 1: set(range(150))})
    track = followed(scene)
    assert (track.gaps, track.gap_rows) == (1, 6)
    lost = np.isnan(track.keypoints)
    assert lost[20:26].all()
    assert not lost[:20].any() and not lost[26:].any()
    assert np.array_equal(np.isnan(track.hand_boxes).any(1), lost.any(1))
    flags = track.keypoints[:, 126]
    assert (flags[60:90] == 0).all() and (flags[140:] == 0).all() and (flags[26:60] == 1).all()
    assert np.array_equal(track.keypoints[60:90, :63], np.repeat(track.keypoints[59:60, :63], 30, 0))
    assert (track.keypoints[:20, 127] == 0).all()


def test_what_is_seen_for_a_moment_is_no_hand():
    blink = {50, 51}
    scene = Scene(moving(100), away={0: set(range(100)) - blink, 1: set()})
    track = followed(scene)
    assert track.blinks == 1
    assert not track.seen[0].any()
    assert track.seen[1].all()


def test_jitter_is_smoothed():
    scene = Scene(moving(120), noise=0.15)
    rough, smoothed = (followed(scene, cutoff).keypoints[:, :126].reshape(120, 2, 63) for cutoff in (0.0, 6.0))
    true = scene.hands.reshape(2, 120, 63).swapaxes(0, 1)
    assert np.abs(smoothed - true).mean() < 0.7 * np.abs(rough - true).mean()


def test_no_hand_in_any_frame():
    track = follow([[]] * 5, SIZE, FPS, FOCAL, 6.0)
    assert not track.seen.any()
    assert not np.isnan(track.keypoints).any()


def test_a_large_frame_is_looked_at_smaller_and_told_in_its_own_pixels():
    shapes = []

    class Corner:
        def see(self, frame):
            shapes.append(frame.shape)
            height, width = frame.shape[:2]
            return [Sighting(np.tile([float(width), float(height)], (21, 1)), np.zeros((21, 3)), 1.0)]

    (found,), (same,) = see_all([np.zeros((2160, 3840, 3), np.uint8), np.zeros((480, 640, 3), np.uint8)], Corner())
    assert shapes == [(720, 1280, 3), (480, 640, 3)]
    assert found.spots[0] == pytest.approx([3840, 2160])
    assert same.spots[0] == pytest.approx([640, 480])
