import pickle
import shutil

import numpy as np
import pytest

from vgen.data.bad_data import BadData
from vgen.data.buckets import Bucket, assign_buckets
from vgen.data.cache.frames import EpisodeFrames, FrameCache
from vgen.data.clips import Clips, cover, read_or_next
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.data.lerobot.writer import LeRobotWriter
from vgen.errors import InputError, RunStopped

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
    assert frames_of(cache)[:, 0, 0, 0].tolist() == [*range(7), *range(10, 13), *range(20, 30)]
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
    assert frames_of(cache)[:, 0, 0, 0].tolist() == [*range(7), *range(10, 13), *range(20, 30)]


def frames_of(cache):
    return np.concatenate([cache.read(place, range(info.frames)) for place, info in enumerate(cache.episodes)])


def clips_of(cache, frames, fps=None, sizes=(), episodes=None):
    buckets = assign_buckets(cache.episodes, list(sizes), frames, fps).buckets
    return Clips(cache, buckets, fps, episodes)


def test_clips_are_all_places_in_order(cache):
    clips = clips_of(cache, [3], fps=12.5 / 3)
    assert len(clips) == 1 + 0 + 4  # the episode of 3 frames is dropped
    numbers = range(len(clips))
    assert [(clips.episode(n).name, clips.start(n)) for n in numbers] == [
        ("episode 0", 0), ("episode 2", 0), ("episode 2", 1), ("episode 2", 2), ("episode 2", 3)
    ]  # fmt: skip
    assert clips.pixels(4)[:, 0, 0, 0].tolist() == [23, 26, 29]
    assert clips.pixels(4, [2, 0])[:, 0, 0, 0].tolist() == [29, 23]
    assert clips.pixels(4).shape == (3, 4, 6, 3) and clips.episode(4).caption == "task 2"


def test_a_rate_that_does_not_divide_takes_the_nearest_frames(cache):
    assert clips_of(cache, [4], fps=5).pixels(0)[:, 0, 0, 0].tolist() == [20, 23, 25, 28]  # every 2.5th


def test_each_episode_has_the_longest_length_that_fits(cache):
    clips = clips_of(cache, [1, 5, 9])
    assert list(clips.by_bucket()) == [Bucket(4, 6, 1), Bucket(4, 6, 5), Bucket(4, 6, 9)]
    assert [numbers.tolist() for numbers in clips.by_bucket().values()] == [[3, 4, 5], [0, 1, 2], [6, 7]]
    assert [clips.bucket(number).frames for number in range(8)] == [5] * 3 + [1] * 3 + [9] * 2


def test_only_chosen_episodes(cache):
    clips = clips_of(cache, [1], episodes=[1])
    assert {clips.episode(n).name for n in range(len(clips))} == {"episode 1"} and len(clips) == 3


def test_spread_covers_the_whole_range(cache):
    clips = clips_of(cache, [1])
    assert clips.spread(4) == [2, 7, 12, 17]
    assert clips.spread(100) == list(range(20)) and clips.spread(0) == []


def test_windows_have_no_frame_in_common_and_lie_in_the_middle(cache):
    clips = clips_of(cache, [3])
    assert [(clips.episode(n).name[-1], clips.start(n)) for n in clips.windows()] == [
        ("0", 0), ("0", 3), ("1", 0), ("2", 0), ("2", 3), ("2", 6)
    ]  # fmt: skip
    assert [clips_of(cache, [5]).start(n) for n in clips_of(cache, [5]).windows()] == [1, 0, 5]


def test_frames_cover_their_size_and_are_cut_in_the_middle():
    wide = np.zeros((1, 20, 60, 3), np.uint8)
    wide[:, :, 15:45] = 200
    assert cover(wide, (10, 10)).shape == (1, 10, 10, 3) and cover(wide, (10, 10)).min() == 200
    assert cover(wide, (20, 60)) is wide
    tall = cover(np.broadcast_to(np.arange(0, 240, 4, dtype=np.uint8)[:, None, None], (60, 20, 3))[None], (20, 20))
    assert tall[0, 0, 0, 0] == 80 and tall[0, -1, 0, 0] == 156


def test_a_clip_that_fails_is_replaced_by_the_next(cache, monkeypatch):
    clips, bad, numbers = clips_of(cache, [3]), BadData(3, 0.5), [6, 7, 5, 0]
    read = FrameCache.read

    def broken(self, episode, frames):
        if episode in (1, 2):
            raise InputError("damaged")
        return read(self, episode, frames)

    monkeypatch.setattr(FrameCache, "read", broken)
    with pytest.raises(InputError, match=r"2 of 3 videos cannot be used.*episode 2 \(damaged\)"):
        read_or_next(clips, numbers, 0, bad)
    bad = BadData(3, 0.9)
    assert [read_or_next(clips, numbers, place, bad)[0] for place in (0, 1, 2, 3, 0)] == [3] * 5
    assert bad.found == {"episode 2": "damaged", "episode 1": "damaged"}
    assert read_or_next(clips, numbers, 2, bad, [1])[1][0, 0, 0, 0] == 1
    with pytest.raises(InputError, match="can be decoded any more"):
        read_or_next(clips, [5], 0, bad)


def test_an_episode_that_cannot_be_decoded_is_kept_as_bad(tmp_path):
    def damaged(episode):
        if episode == 1:
            raise InputError("file-000.mp4: cannot be decoded")
        return read(episode)

    cache = FrameCache.write(tmp_path / "cache", [0, 1, 2], LENGTHS, damaged, (4, 6), 12.5)
    assert cache.bad == [("episode 1", "file-000.mp4: cannot be decoded")]
    assert [episode.name for episode in cache.episodes] == ["episode 0", "episode 2"]
    assert cache.read(1, [9])[0, 0, 0, 0] == 29


def test_cache_of_a_dataset_is_built_once(tmp_path, monkeypatch):
    writer = LeRobotWriter(tmp_path / "set", 10, {"action": ["x"]}, ["observation.images.front"])
    for episode, length in enumerate([5, 8]):
        pixels = np.full((length, 16, 16, 3), 100 * episode + 50, dtype=np.uint8)
        writer.add_episode({"action": np.zeros((length, 1))}, {"observation.images.front": pixels}, f"task {episode}")
    writer.finish()
    dataset, frames_read = LeRobotDataset(tmp_path / "set"), LeRobotDataset.frames
    cache = FrameCache.of_dataset(dataset, "front", tmp_path / "caches")
    frames = frames_of(cache)
    assert frames.shape == (13, 16, 16, 3)
    assert cache.captions == ["task 0", "task 1"]
    assert abs(int(frames[2].mean()) - 50) < 4
    assert abs(int(frames[9].mean()) - 150) < 4
    monkeypatch.setattr(LeRobotDataset, "frames", lambda self, i, camera, frames: frames_read(self, i, camera, frames))
    again = FrameCache.of_dataset(dataset, "observation.images.front", tmp_path / "caches")
    assert again.folder == cache.folder and again.fps == 10


def test_a_note_that_broke_off_or_is_damaged_costs_a_look(tmp_path):
    seen = []

    def broken(episode):
        seen.append(episode)
        if seen == [0, 1, 2]:
            raise KeyboardInterrupt
        return read(episode)

    arguments = ([0, 1, 2], LENGTHS, broken, (4, 6), 12.5)
    with pytest.raises(KeyboardInterrupt):
        FrameCache.write(tmp_path / "cache", *arguments)
    notes = tmp_path / "cache" / "captions.jsonl"
    notes.write_text(notes.read_text()[:-4])
    cache = FrameCache.write(tmp_path / "cache", *arguments)
    assert cache.captions == ["task 0", "task 1", "task 2"] and seen == [0, 1, 2, 2, 1]
    assert frames_of(cache)[:, 0, 0, 0].tolist() == [*range(7), *range(10, 13), *range(20, 30)]


def test_what_a_write_of_another_size_left_is_no_stop(tmp_path):
    def broken(episode):
        if episode == 1:
            raise KeyboardInterrupt
        return EpisodeFrames(np.zeros((LENGTHS[episode], 8, 8, 3), np.uint8), "another")

    with pytest.raises(KeyboardInterrupt):
        FrameCache.write(tmp_path / "cache", [0, 1, 2], LENGTHS, broken, (8, 8), 12.5)
    cache = FrameCache.write(tmp_path / "cache", [0, 1, 2], LENGTHS, read, (4, 6), 12.5)
    assert cache.read(2, [9])[0, 0, 0, 0] == 29


def test_a_frame_that_is_not_what_was_written_is_told_with_its_episode(cache):
    whole = {file: file.read_bytes() for file in cache.folder.glob("*/rows.bin")}
    told = r"^frames of episode 2: .*rows\.bin is not what was written: the checksum of block.*; put the whole file"

    def damage():
        for file, content in whole.items():
            file.write_bytes(bytes(byte ^ 1 for byte in content))

    damage()
    for opened in (cache, FrameCache(cache.folder), pickle.loads(pickle.dumps(cache))):
        with pytest.raises(RunStopped, match=told) as caught:
            opened.read(2, [4])
        assert caught.type is RunStopped  # another start cannot make it anew
    for file, content in whole.items():
        file.write_bytes(content)
    assert FrameCache(cache.folder).read(2, [4])[0, 0, 0, 0] == 24
    damage()
    cache = FrameCache.write(cache.folder, [0, 1, 2], LENGTHS, read, (4, 6), 12.5)  # which mends it
    assert cache.read(2, [4])[0, 0, 0, 0] == 24


@pytest.mark.parametrize(
    "index", ["", "[]", '{"offsets": [0, 3], "captions": ["a"], "episodes": [0], "fps": 10, "bad": {}}']
)
def test_a_cache_that_is_damaged_or_of_an_older_kind_is_one_line(cache, index):
    (cache.folder / "index.json").write_text(index)
    with pytest.raises(
        InputError, match=r"is not a frame cache, or a damaged one .*; remove the folder, and it is made"
    ):
        FrameCache(cache.folder)


def test_a_cache_that_lacks_an_episode_is_one_line(cache):
    shutil.rmtree(next(cache.folder.glob("*/")))
    with pytest.raises(InputError, match=r"is a damaged frame cache: episode \d is gone; remove the folder"):
        FrameCache(cache.folder)


def write_dataset(path, brightness):
    writer = LeRobotWriter(path, 10, {"action": ["x"]}, ["observation.images.front"])
    for value in brightness:
        pixels = np.full((4, 16, 16, 3), value, dtype=np.uint8)
        writer.add_episode({"action": np.zeros((4, 1))}, {"observation.images.front": pixels}, f"task {value}")
    writer.finish()
    return LeRobotDataset(path)


def test_a_dataset_elsewhere_is_not_decoded_again_and_one_that_changed_is(tmp_path, monkeypatch):
    decoded, frames = [], LeRobotDataset.frames

    def noted(self, i, camera, indices=None):
        if indices is None:
            decoded.append(i)
        return frames(self, i, camera, indices)

    monkeypatch.setattr(LeRobotDataset, "frames", noted)
    first = FrameCache.of_dataset(write_dataset(tmp_path / "a/set", [50, 150]), "front", tmp_path / "caches")
    assert decoded == [0, 1]
    (tmp_path / "a").rename(tmp_path / "b")
    again = FrameCache.of_dataset(LeRobotDataset(tmp_path / "b/set"), "front", tmp_path / "caches")
    assert decoded == [0, 1] and again.keys == first.keys
    changed = FrameCache.of_dataset(write_dataset(tmp_path / "c/set", [50, 250]), "front", tmp_path / "caches")
    assert decoded[2:] == [0, 1]  # their frames are in one file
    assert changed.keys[0] == first.keys[0] and changed.keys[1] != first.keys[1]  # but latents go by the frames


def test_kinds_are_buckets_with_the_rate_of_their_clips(cache):
    sizes = {"sizes": [(4, 6)], "lengths": [2, 4]}
    recorded = Clips(cache, assign_buckets(cache.episodes, **sizes, fps=None).buckets)
    assert recorded.kinds() == {(Bucket(4, 6, 2), 12.5), (Bucket(4, 6, 4), 12.5)}
    slower = Clips(cache, assign_buckets(cache.episodes, **sizes, fps=5.0).buckets, 5.0)
    assert {rate for _, rate in slower.kinds()} == {5.0}
