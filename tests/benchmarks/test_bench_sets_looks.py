"""Tests of what is measured of clips, and of objects that are found by their motion."""

import numpy as np
import pytest
from bench_sets.looks import Look, Looks, look
from bench_sets.objects import MotionFinder
from made_recordings import square_video
from scipy import ndimage


def smooth_noise(height, width, seed=0):
    """A texture that flow can follow, [height, width] of 0 to 255."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), 1.5)
    return np.clip(128 + 90 * noise / np.abs(noise).max() * 2, 0, 255).astype(np.uint8)


def pan(speed, frames=9):
    wide = smooth_noise(64, 64 + speed * frames)
    return np.stack([np.repeat(wide[:, speed * n : speed * n + 64, None], 3, 2) for n in range(frames)])


def test_sharpness_is_the_variance_of_the_laplacian():
    clip = pan(0)
    seen = look(clip)
    expected = ndimage.laplace(clip[0, ..., 0].astype(float), mode="mirror").var()
    assert seen.sharpness == pytest.approx(expected, rel=1e-3)
    assert seen.flow == pytest.approx(0, abs=0.01) and not seen.cut
    blurred = np.stack([ndimage.gaussian_filter(frame, (2, 2, 0)) for frame in clip])
    assert look(blurred).sharpness < seen.sharpness / 4


def test_flow_is_that_of_the_camera():
    seen = look(pan(2))
    assert seen.flow == pytest.approx(2, rel=0.15) and not seen.cut


def test_a_change_of_scene_is_told_from_fast_motion():
    light = np.full((4, 32, 32, 3), (200, 180, 40), np.uint8)
    dark = np.full((5, 32, 32, 3), (20, 30, 90), np.uint8)
    assert look(np.concatenate([light, dark])).cut
    assert not look(pan(12)).cut


def test_looks_are_kept_and_what_broke_off_is_not(tmp_path):
    file = tmp_path / "looks.jsonl"
    looks = Looks(file)
    looks.add("one", Look(812.5, 0.25, False))
    looks.add("two", Look(3.0, 7.0, True))
    file.write_bytes(file.read_bytes()[:-9])
    again = Looks(file)
    assert again.get("one") == Look(812.5, 0.25, False) and again.get("two") is None
    again.add("two", Look(3.0, 7.0, True))
    assert Looks(file).get("two") == Look(3.0, 7.0, True)


@pytest.mark.parametrize("camera", [0, 2])
def test_what_moves_otherwise_than_the_camera_is_found(camera):
    video, where = square_video(camera=camera)
    video = np.stack([ndimage.gaussian_filter(frame, (1.5, 1.5, 0)) for frame in video])
    for frame in (0, 10, 19):
        found = MotionFinder().find(video, frame)
        overlap = (found & where[frame]).sum() / (found | where[frame]).sum()
        assert overlap > 0.75, (frame, overlap)
        assert np.array_equal(found, MotionFinder().find(video, frame))


def test_nothing_is_found_where_only_the_camera_moves():
    assert MotionFinder().find(pan(2), 4) is None
    assert MotionFinder().find(pan(0), 4) is None
