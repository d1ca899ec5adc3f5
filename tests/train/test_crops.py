import numpy as np
import pytest

from vgen.train.objectives.crops import cropped


def test_crops_are_of_the_clips_and_at_places_of_their_own():
    rows, columns = np.mgrid[:20, :24].astype(np.uint8)
    clip = np.stack([rows, columns, np.zeros_like(rows)], -1)
    clips = np.stack([clip, clip])[None].repeat(3, 0)
    pixels = cropped(clips, 8, np.random.default_rng(0))
    assert pixels.shape == (3, 2, 8, 8, 3)
    corners = pixels[:, 0, 0, 0, :2]
    assert len({tuple(corner) for corner in corners.tolist()}) == 3
    for crop, (y, x) in zip(pixels, corners, strict=True):
        np.testing.assert_array_equal(crop, clips[0, :, y : y + 8, x : x + 8])


@pytest.mark.parametrize(("side", "shape"), [(None, (20, 24)), (22, (20, 22)), (99, (20, 24))])
def test_what_is_smaller_than_a_crop_stays_whole(side, shape):
    clips = np.zeros((2, 1, 20, 24, 3), np.uint8)
    assert cropped(clips, side, np.random.default_rng(0)).shape == (2, 1, *shape, 3)
