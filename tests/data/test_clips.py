import json

import numpy as np
import pytest

from vgen.data.clips import ClipSampler, EpisodeFrames, FrameCache
from vgen.data.lerobot import LeRobotDataset
from vgen.data.lerobot_writer import LeRobotWriter
from vgen.errors import InputError

LENGTHS = [7, 3, 10]


def read(episode):
    """Every pixel of frame t of episode e is 10 e + t."""
    values = 10 * episode + np.arange(LENGTHS[episode])
    return EpisodeFrames(np.broadcast_to(values[:, None, None, None], (len(values), 4, 6, 3)), f"task {episode}")


@pytest.fixture
def cache(tmp_path):
    return FrameCache.write(tmp_path / "cache", [0, 1, 2], LENGTHS, read, (4, 6), 12.5)


def test_cache_keeps_what_was_written(cache, tmp_path):
    assert len(cache) == 3
    assert cache.fps == 12.5
    assert cache.captions == ["task 0", "task 1", "task 2"]
    assert cache.frames[:, 0, 0, 0].tolist() == [*range(7), *range(10, 13), *range(20, 30)]
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_broken_write_goes_on(tmp_path):
    seen = []

    def broken(episode):
        seen.append(episode)
        if seen == [0, 1]:
            raise KeyboardInterrupt
        return read(episode)

    arguments = ([0, 1, 2], LENGTHS, broken, (4, 6), 12.5)
    with pytest.raises(KeyboardInterrupt):
        FrameCache.write(tmp_path / "cache", *arguments)
    with pytest.raises(InputError, match="not a frame cache"):
        FrameCache(tmp_path / "cache")
    cache = FrameCache.write(tmp_path / "cache", *arguments)
    assert seen == [0, 1, 1, 2]
    assert cache.frames[:, 0, 0, 0].tolist() == [*range(7), *range(10, 13), *range(20, 30)]


def test_clips_are_all_places_in_order(cache):
    sampler = ClipSampler(cache, frames=3, stride=3)
    assert len(sampler) == 1 + 0 + 4
    clips = [sampler.clip(n) for n in range(len(sampler))]
    assert [(clip.episode, clip.start) for clip in clips] == [(0, 0), (2, 0), (2, 1), (2, 2), (2, 3)]
    assert clips[-1].pixels[:, 0, 0, 0].tolist() == [23, 26, 29]
    assert clips[-1].pixels.shape == (3, 4, 6, 3)
    assert clips[-1].caption == "task 2"


def test_only_chosen_episodes(cache):
    sampler = ClipSampler(cache, frames=1, episodes=[1])
    assert {sampler.clip(n).episode for n in range(len(sampler))} == {1}
    assert len(sampler) == 3


def test_every_epoch_is_whole_and_shuffled_anew(cache):
    sampler = ClipSampler(cache, frames=2, seed=5)
    size = len(sampler)
    epochs = [[(c.episode, c.start) for c in map(sampler.draw, range(e * size, (e + 1) * size))] for e in (0, 1)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == [(c.episode, c.start) for c in map(sampler.clip, range(size))]
    assert epochs[0] != epochs[1]
    again = ClipSampler(cache, frames=2, seed=5)
    assert [(c.episode, c.start) for c in map(again.draw, range(size, 2 * size))] == epochs[1]


def test_spread_covers_the_whole_range(cache):
    sampler = ClipSampler(cache, frames=1)
    assert sampler.spread(4) == [2, 7, 12, 17]
    assert sampler.spread(100) == list(range(20))


def test_clips_longer_than_any_episode_are_refused(cache):
    with pytest.raises(InputError, match="spans 13 frames and the longest episode has 10; nearest: frames=4"):
        ClipSampler(cache, frames=5, stride=3)


def test_cache_of_a_dataset_is_built_once(tmp_path, monkeypatch):
    writer = LeRobotWriter(tmp_path / "set", 10, {"action": ["x"]}, ["observation.images.front"])
    for episode, length in enumerate([5, 8]):
        pixels = np.full((length, 16, 16, 3), 100 * episode + 50, dtype=np.uint8)
        writer.add_episode({"action": np.zeros((length, 1))}, {"observation.images.front": pixels}, f"task {episode}")
    writer.finish()
    dataset = LeRobotDataset(tmp_path / "set")
    cache = FrameCache.of_dataset(dataset, "front", tmp_path / "caches")
    assert cache.frames.shape == (13, 16, 16, 3)
    assert cache.captions == ["task 0", "task 1"]
    assert abs(int(cache.frames[2].mean()) - 50) < 4
    assert abs(int(cache.frames[9].mean()) - 150) < 4
    monkeypatch.setattr(FrameCache, "write", None)
    again = FrameCache.of_dataset(dataset, "observation.images.front", tmp_path / "caches")
    assert again.folder == cache.folder
    assert json.loads((cache.folder / "index.json").read_text())["fps"] == 10
