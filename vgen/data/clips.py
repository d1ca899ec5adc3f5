"""Clips for training: cut by number out of any footage, such as a cache of frames that were decoded once."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from vgen.data.bad import BadData
from vgen.data.buckets import Bucket, EpisodeInfo, Size, clip_frames, frame_step
from vgen.data.footage import Footage
from vgen.data.lerobot import CAMERA_PREFIX, LeRobotDataset
from vgen.errors import InputError
from vgen.media.video import READING

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EpisodeFrames:
    """One episode on its way into a cache: pixels uint8 [T, H, W, 3] and the sentence that says what happens."""

    pixels: np.ndarray
    caption: str


class FrameCache:
    """All frames of many episodes in one memory-mapped uint8 array, which every process shares through the page cache.
    It is `Footage`.

    Attributes:
        frames: uint8 [N, H, W, 3], the episodes one after another.
        offsets: int64 [E + 1]; episode e is frames[offsets[e] : offsets[e + 1]].
        captions, numbers: per cached episode, its sentence and its number in the source.
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
            self.numbers: list[int] = index["episodes"]
            self.fps: float = index["fps"]
            damaged = {int(place): reason for place, reason in index.get("bad", {}).items()}
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{folder} is not a frame cache: {error!r}") from error
        self.name = self.folder.name
        self.bad = [(f"episode {self.numbers[place]}", reason) for place, reason in damaged.items()]
        self._places = [place for place in range(len(self)) if place not in damaged]
        self.episodes = [self._info(place) for place in self._places]

    def _info(self, place: int) -> EpisodeInfo:
        name, length = f"episode {self.numbers[place]}", int(self.offsets[place + 1] - self.offsets[place])
        key = f"{self.name} {len(self.frames)} {name}"
        return EpisodeInfo(name, key, length, self.fps, *self.frames.shape[1:3], self.captions[place])

    def read(self, episode: int, frames: Sequence[int]) -> np.ndarray:
        """See `Footage`."""
        begin = int(self.offsets[self._places[episode]])
        return self.frames[begin + np.asarray(frames, dtype=np.int64)]

    def source(self, episode: int) -> int:
        """The number of the episode at that place in `episodes` where it comes from: of a data set, in its split."""
        return self.numbers[self._places[episode]]

    def __len__(self) -> int:
        """The number of cached episodes, bad ones included."""
        return len(self.captions)

    def __reduce__(self) -> tuple:
        """Another process opens the folder itself: the memory map is not copied."""
        return FrameCache, (self.folder,)

    @classmethod
    def of_dataset(cls, dataset: LeRobotDataset, camera: str, root: str | Path) -> FrameCache:
        """The cache of all frames of one camera of a dataset (one split of it), decoded now unless a folder below
        `root` holds it already. The folder's name carries a hash of what is in the dataset.

        An episode that cannot be decoded is noted as bad.

        Raises:
            InputError: no such camera, or no episode that can be decoded.
        """
        episodes = [dataset.summary(i) for i in range(len(dataset))]
        lengths = [length for _, length, _ in episodes]
        camera = dataset.camera(camera).removeprefix(CAMERA_PREFIX)
        size = _first_size(dataset, camera)
        content = [READING, camera, size, episodes, _stamps(dataset, camera)]
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]
        folder = Path(root) / f"{dataset.path.name}-{camera}-{digest}"
        if folder.exists():
            return cls(folder)
        logger.info("decoding %d frames of %d episodes into %s", sum(lengths), len(lengths), folder)

        def read(i: int) -> EpisodeFrames:
            pixels = dataset.frames(i, camera)
            if pixels.shape[1:3] != size:
                held, wanted = ("{}x{}".format(*each) for each in (pixels.shape[1:3], size))
                raise InputError(f"{dataset.frame_file(i, camera)}: is of {held}; the first episode is of {wanted}")
            return EpisodeFrames(pixels, episodes[i][2])

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
            read: gives the frames of one episode number; what it refuses with an InputError is noted as bad.
            size: (H, W) of a frame.
        """
        folder = Path(folder)
        part = folder.with_name(folder.name + ".part")
        part.mkdir(parents=True, exist_ok=True)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        captions: list[str | dict[str, str]] = []
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
                try:
                    item = read(episodes[number])
                    frames[offsets[number] : offsets[number + 1]] = item.pixels
                    frames.flush()
                    captions.append(item.caption)
                except InputError as error:
                    captions.append({"bad": str(error)})
                log.write(json.dumps(captions[-1]) + "\n")
                log.flush()
        index = {
            "offsets": offsets.tolist(),
            "captions": [caption if isinstance(caption, str) else "" for caption in captions],
            "episodes": list(episodes),
            "fps": fps,
            "bad": {place: caption["bad"] for place, caption in enumerate(captions) if isinstance(caption, dict)},
        }
        (part / "index.json").write_text(json.dumps(index))
        progress.unlink()
        os.rename(part, folder)
        return cls(folder)


class Clips:
    """Every clip that can be cut out of footage: for each episode, at each frame where one of its bucket may start.

    Args:
        footage: where the frames are.
        buckets: the bucket of each episode of the footage; None for one that is dropped.
        fps: of the clips; None: as recorded.
        episodes: places of the episodes in the footage to cut from; all when None.

    Attributes:
        places: of the episodes that clips are cut from.
    """

    def __init__(
        self,
        footage: Footage,
        buckets: Sequence[Bucket | None],
        fps: float | None = None,
        episodes: Sequence[int] | None = None,
    ) -> None:
        self.footage, self.fps = footage, fps
        chosen = range(len(footage.episodes)) if episodes is None else episodes
        self.places = [place for place in chosen if buckets[place] is not None]
        self._buckets = [buckets[place] for place in self.places]
        spans = [self._taken(place, bucket)[-1] + 1 for place, bucket in zip(self.places, self._buckets, strict=True)]
        starts = [footage.episodes[p].frames - span + 1 for p, span in zip(self.places, spans, strict=True)]
        assert min(starts, default=1) > 0, "a bucket is longer than its episode"
        self._spans = spans
        self._first = np.concatenate([[0], np.cumsum(starts)]).astype(np.int64)

    def __len__(self) -> int:
        """The number of clips."""
        return int(self._first[-1])

    def bucket(self, number: int) -> Bucket:
        """The bucket of clip `number` (0 .. len - 1)."""
        return self._buckets[self._find(number)[0]]

    def episode(self, number: int) -> EpisodeInfo:
        """The episode that a clip is cut from; its caption is the clip's."""
        return self.footage.episodes[self.places[self._find(number)[0]]]

    def start(self, number: int) -> int:
        """The clip's first frame in its episode."""
        return self._find(number)[1]

    def place(self, number: int) -> int:
        """Which of `places` the clip is cut from."""
        return self._find(number)[0]

    def number(self, place: int, start: int) -> int:
        """The clip that starts at a frame of the episode `places[place]`: what undoes `episode` and `start`."""
        number = int(self._first[place]) + start
        assert self._first[place] <= number < self._first[place + 1], f"no clip starts there: {place}, {start}"
        return number

    def pixels(self, number: int, frames: Sequence[int] | None = None) -> np.ndarray:
        """Frames of a clip, scaled to cover its bucket's size and cropped to it around the centre.

        Args:
            number: the clip, in the order of the episodes and of time.
            frames: which of its T frames, in any order; negative ones lie before it, see `recorded`; None: all.

        Returns:
            uint8 [K, H, W, 3].

        Raises:
            InputError: the video cannot be decoded.
        """
        place, _ = self._find(number)
        bucket = self._buckets[place]
        wanted = self.recorded(number, range(bucket.frames) if frames is None else frames)
        return cover(self.footage.read(self.places[place], wanted.tolist()), bucket.size)

    def recorded(self, number: int, frames: Sequence[int]) -> np.ndarray:
        """Where frames of a clip lie in its recorded episode, int64 [K]. Negative ones come before the clip; where the
        episode begins later, its first frame stands in for them."""
        place, start = self._find(number)
        step = frame_step(self.footage.episodes[self.places[place]].fps, self.fps)
        return np.maximum(start + np.floor(np.asarray(frames) * step + 0.5).astype(np.int64), 0)

    def spread(self, count: int) -> list[int]:
        """The numbers of `count` clips (fewer where there are fewer) spread evenly over all of them."""
        count = min(count, len(self))
        return [int(n) for n in (np.arange(count) + 0.5) * len(self) / count] if count else []

    def windows(self) -> list[int]:
        """The numbers of clips that lie one after another: as many as fit into each episode without a common frame,
        centred in it."""
        numbers = []
        for place, span in enumerate(self._spans):
            frames = self.footage.episodes[self.places[place]].frames
            offset = frames % span // 2
            numbers += [int(self._first[place]) + offset + span * turn for turn in range(frames // span)]
        return numbers

    def by_bucket(self) -> dict[Bucket, np.ndarray]:
        """The numbers of all clips of each bucket, the buckets sorted."""
        parts: dict[Bucket, list[np.ndarray]] = {bucket: [] for bucket in sorted(set(self._buckets))}
        for place, bucket in enumerate(self._buckets):
            parts[bucket].append(np.arange(self._first[place], self._first[place + 1]))
        return {bucket: np.concatenate(numbers) for bucket, numbers in parts.items()}

    def _find(self, number: int) -> tuple[int, int]:
        """The place of a clip's episode among those it is cut from, and its first frame."""
        place = int(np.searchsorted(self._first, number, side="right")) - 1
        return place, int(number - self._first[place])

    def _taken(self, episode: int, bucket: Bucket) -> np.ndarray:
        return clip_frames(bucket.frames, frame_step(self.footage.episodes[episode].fps, self.fps))


def read_or_next(
    clips: Clips, numbers: Sequence[int], place: int, bad: BadData, frames: Sequence[int] | None = None
) -> tuple[int, np.ndarray]:
    """Frames (see `Clips.pixels`) of clip `numbers[place]`. Where its video cannot be decoded (any more), that is
    noted, and the next of `numbers` stands in for it (after the last, the first): the same one whoever asks, and when.

    Returns:
        The place of the clip that was read, and its pixels.

    Raises:
        InputError: too many videos cannot be decoded.
    """
    for candidate in (*range(place, len(numbers)), *range(place)):
        try:
            return candidate, clips.pixels(int(numbers[candidate]), frames)
        except InputError as error:
            bad.add(clips.episode(int(numbers[candidate])).name, str(error))
    raise InputError(f"no clip of {clips.footage.name} can be decoded any more; {bad.summary()}")


def cover(pixels: np.ndarray, size: Size) -> np.ndarray:
    """Scales images uint8 [K, H, W, 3] until they cover (H, W) and cuts off what is over, evenly on both sides: as
    `fit=cover` does with a patch."""
    if pixels.shape[1:3] == tuple(size):
        return pixels
    height, width = size
    return np.stack(
        [np.asarray(ImageOps.fit(Image.fromarray(p), (width, height), Image.Resampling.BICUBIC)) for p in pixels]
    )


def _first_size(dataset: LeRobotDataset, camera: str) -> Size:
    """(H, W) of the first episode that can be decoded."""
    if not len(dataset):
        raise InputError(f"{dataset.path}: the split holds no episode")
    for number in range(len(dataset)):
        try:
            return dataset.frames(number, camera, [0]).shape[1:3]
        except InputError as error:
            last = error
    raise InputError(f"{dataset.path}: no episode can be decoded; the last one: {last}")


def _stamps(dataset: LeRobotDataset, camera: str) -> list[list[object]]:
    """What changes when the frames of a camera do: the sizes of all files that say which they are and hold them."""
    episodes = sorted(dataset.path.glob("meta/episodes/*/*.parquet"))
    files = dict.fromkeys(episodes)
    for number in range(len(dataset)):
        with suppress(InputError):  # noted as bad when the episode is decoded
            files |= dict.fromkeys([dataset.data_file(number), dataset.frame_file(number, camera)])
    return [[str(file.relative_to(dataset.path)), file.stat().st_size] for file in files if file.is_file()]
