"""Frames and latents that are held in memory are those that are read one by one."""

import numpy as np
import pytest
import torch

from vgen.data.buckets import Bucket
from vgen.data.cache.frames import EpisodeFrames, FrameCache
from vgen.data.clips import Clips

LENGTHS = [9, 14, 11]


@pytest.fixture
def cache(tmp_path):
    def read(number):
        pixels = np.random.default_rng(number).integers(0, 255, (LENGTHS[number], 4, 6, 3), dtype=np.uint8)
        return EpisodeFrames(pixels, f"episode {number}")

    return FrameCache.write(tmp_path / "frames", range(3), LENGTHS, read, (4, 6), 10.0)


@pytest.mark.parametrize("fps", [None, 5.0])
def test_clips_that_are_taken_together_are_those_read_alone(cache, fps):
    clips = Clips(cache, [Bucket(4, 6, 3), None, Bucket(4, 6, 3)], fps)
    numbers = np.array([0, len(clips) - 1, 3])
    frames = np.array([[0, 2], [1, 1], [-4, 2]])
    assert clips.take(numbers, frames) is None
    cache.hold()
    assert cache.held.shape == (sum(LENGTHS), 4, 6, 3)
    alone = np.stack([clips.pixels(int(number), row) for number, row in zip(numbers, frames, strict=True)])
    assert torch.equal(clips.take(numbers, frames), torch.from_numpy(alone))


def test_frames_of_another_size_than_the_clips_are_not_taken(cache):
    cache.hold()
    clips = Clips(cache, [Bucket(2, 2, 3)] * 3)
    assert clips.take(np.array([0]), np.array([[0]])) is None


def test_caches_of_the_same_frames_share_them(cache):
    cache.hold()
    other = FrameCache(cache.folder)
    other.hold()
    assert other.held.data_ptr() == cache.held.data_ptr()
