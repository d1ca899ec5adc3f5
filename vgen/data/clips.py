"""Clips for training: every frame of a data set decoded once into a memory map, and clips cut out of it by number."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from vgen.data.lerobot import CAMERA_PREFIX, LeRobotDataset
from vgen.errors import InputError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EpisodeFrames:
    """One episode on its way into a cache: pixels uint8 [T, H, W, 3] and the sentence that says what happens."""

    pixels: np.ndarray
    caption: str


@dataclass(frozen=True)
class Clip:
    """pixels uint8 [T, H, W, 3], the episode's caption and number, and the clip's first frame in that episode."""

    pixels: np.ndarray
    caption: str
    episode: int
    start: int


class FrameCache:
    """All frames of many episodes in one memory-mapped uint8 array, which every process shares through the page cache.

    Attributes:
        frames: uint8 [N, H, W, 3], the episodes one after another.
        offsets: int64 [E + 1]; episode e is frames[offsets[e] : offsets[e + 1]].
        captions, episodes: per cached episode, its sentence and its number in the source.
        fps: frames per second.
    """

    def __init__(self, folder: str | Path) -> None:
        """Opens the cache in `folder`; InputError where there is none."""
        self.folder = Path(folder)
        try:
            index = json.loads((self.folder / "index.json").read_text())
            self.frames = np.load(self.folder / "frames.npy", mmap_mode="r")
            self.offsets = np.asarray(index["offsets"], dtype=np.int64)
            self.captions: list[str] = index["captions"]
            self.episodes: list[int] = index["episodes"]
            self.fps: float = index["fps"]
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{folder} is not a frame cache: {error!r}") from error

    def __len__(self) -> int:
        """The number of cached episodes."""
        return len(self.captions)

    def __reduce__(self) -> tuple:
        """Another process opens the folder itself: the memory map is not copied."""
        return FrameCache, (self.folder,)

    @classmethod
    def of_dataset(cls, dataset: LeRobotDataset, camera: str, root: str | Path) -> FrameCache:
        """The cache of all frames of one camera of a dataset (one split of it), decoded now unless a folder below
        `root` holds it already. The folder's name carries a hash of what is in the dataset.

        Raises:
            InputError: no such camera, or a missing or corrupt file.
        """
        episodes = [dataset.episode(i) for i in range(len(dataset))]
        lengths = [episode.length for episode in episodes]
        camera = camera.removeprefix(CAMERA_PREFIX)
        size = dataset.frames(0, camera, [0]).shape[1:3]
        videos = sorted(
            (str(p.relative_to(dataset.path)), p.stat().st_size) for p in dataset.path.glob("videos/**/*.mp4")
        )
        content = [camera, size, [[e.index, e.length, e.task] for e in episodes], videos]
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]
        folder = Path(root) / f"{dataset.path.name}-{camera}-{digest}"
        if folder.exists():
            return cls(folder)
        logger.info("decoding %d frames of %d episodes into %s", sum(lengths), len(lengths), folder)

        def read(i: int) -> EpisodeFrames:
            return EpisodeFrames(dataset.frames(i, camera), episodes[i].task)

        return cls.write(folder, range(len(episodes)), lengths, read, size, dataset.fps)

    @classmethod
    def write(
        cls,
        folder: str | Path,
        episodes: Sequence[int],
        lengths: Sequence[int],
        read: Callable[[int], EpisodeFrames],
        size: tuple[int, int],
        fps: float,
    ) -> FrameCache:
        """Writes a cache aside (`<folder>.part`) and renames it last; a broken write goes on where it stopped.

        Args:
            episodes, lengths: every episode's number and its number of frames, known before any frame is decoded.
            read: gives the frames of one episode number.
            size: (H, W) of a frame.
        """
        folder = Path(folder)
        part = folder.with_name(folder.name + ".part")
        part.mkdir(parents=True, exist_ok=True)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        captions: list[str] = []
        progress = part / "captions.jsonl"
        shape = (int(offsets[-1]), *size, 3)
        if progress.exists():
            captions = [json.loads(line) for line in progress.read_text().splitlines()]
            frames = np.lib.format.open_memmap(part / "frames.npy", mode="r+")
            assert frames.shape == shape, f"{part} belongs to another cache: {frames.shape}, expected {shape}"
        else:
            frames = np.lib.format.open_memmap(part / "frames.npy", mode="w+", dtype=np.uint8, shape=shape)
        with progress.open("a") as log:
            for number in range(len(captions), len(episodes)):
                item = read(episodes[number])
                frames[offsets[number] : offsets[number + 1]] = item.pixels
                frames.flush()
                captions.append(item.caption)
                log.write(json.dumps(item.caption) + "\n")
                log.flush()
        index = {"offsets": offsets.tolist(), "captions": captions, "episodes": list(episodes), "fps": fps}
        (part / "index.json").write_text(json.dumps(index))
        progress.unlink()
        os.rename(part, folder)
        return cls(folder)


class ClipSampler:
    """Every clip of `frames` frames, `stride` apart, of some episodes of a cache, in a fixed order or in shuffled ones.

    Args:
        cache: where the frames are.
        frames: T, the frames of a clip.
        stride: every stride-th frame is taken, so a clip runs at fps / stride.
        episodes: positions in the cache (0 .. len(cache) - 1) to cut from; all when None.
        seed: of the shuffled orders.

    Raises:
        InputError: no episode is long enough.
    """

    def __init__(
        self, cache: FrameCache, frames: int, stride: int = 1, episodes: Sequence[int] | None = None, seed: int = 0
    ) -> None:
        self.cache, self.frames, self.stride, self.seed = cache, frames, stride, seed
        chosen = np.arange(len(cache)) if episodes is None else np.asarray(episodes, dtype=np.int64)
        span = (frames - 1) * stride + 1
        lengths = cache.offsets[chosen + 1] - cache.offsets[chosen]
        starts = np.maximum(lengths - span + 1, 0)
        if starts.sum() == 0:
            raise InputError(
                f"frames={frames} with stride={stride} spans {span} frames and the longest episode has "
                f"{lengths.max(initial=0)}; nearest: frames={max(1, (int(lengths.max(initial=0)) - 1) // stride + 1)}"
            )
        self._episodes = chosen
        self._first = np.concatenate([[0], np.cumsum(starts)])
        self._order = lru_cache(maxsize=4)(self._shuffled)

    def __len__(self) -> int:
        """The number of clips: every start frame of every episode counts."""
        return int(self._first[-1])

    def __reduce__(self) -> tuple:
        return ClipSampler, (self.cache, self.frames, self.stride, self._episodes.tolist(), self.seed)

    def clip(self, number: int) -> Clip:
        """Clip `number` (0 .. len - 1), in the order of the episodes and of time."""
        place = int(np.searchsorted(self._first, number, side="right")) - 1
        entry, start = int(self._episodes[place]), int(number - self._first[place])
        begin = int(self.cache.offsets[entry]) + start
        pixels = np.array(self.cache.frames[begin : begin + (self.frames - 1) * self.stride + 1 : self.stride])
        return Clip(pixels, self.cache.captions[entry], self.cache.episodes[entry], start)

    def draw(self, count: int) -> Clip:
        """The clip that comes up at `count` (0, 1, 2 ... without end) when every epoch is shuffled anew."""
        epoch, place = divmod(count, len(self))
        return self.clip(int(self._order(epoch)[place]))

    def spread(self, count: int) -> list[int]:
        """The numbers of `count` clips (fewer where there are fewer) spread evenly over all of them."""
        count = min(count, len(self))
        return [int(n) for n in (np.arange(count) + 0.5) * len(self) / count]

    def _shuffled(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self.seed, epoch)).permutation(len(self))
