"""Clips for training: cut by number out of any footage, such as a cache of frames that were decoded once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from vgen.data.bad_data import BadData
from vgen.data.buckets import Bucket, EpisodeInfo, Size, clip_frames, frame_step
from vgen.data.footage import Footage, episode_keys
from vgen.data.jsonl import read_summed, summed_line
from vgen.data.lerobot import CAMERA_PREFIX, LeRobotDataset
from vgen.data.sealed import read_sealed, write_sealed
from vgen.data.shard import Damaged
from vgen.data.store import Encode, Item, Store, stopped
from vgen.errors import InputError, RunStopped
from vgen.files import append, writing
from vgen.media.video import READING

FRAMES = "frames"  # folder, in that of the caches, of a folder for each camera of a data set
LISTING = "index.json"  # of the episodes of a frame cache that is named by itself
CAPTIONS = "captions.jsonl"  # of its episodes, until they are listed
ANEW = "remove the folder, and it is made again where its data are named"


@dataclass(frozen=True)
class EpisodeFrames:
    """One episode on its way into a cache: pixels uint8 [T, H, W, 3] and the sentence that says what happens."""

    pixels: np.ndarray
    caption: str


@dataclass(frozen=True)
class _Episodes:
    """The episodes of a frame cache: per episode the key of its frames in the store, its number in the source, its
    length and its caption; of all, frames per second and (H, W)."""

    keys: list[str]
    numbers: list[int]
    lengths: list[int]
    captions: list[str]
    fps: float
    size: Size


class FrameCache:
    """All frames of many episodes, decoded once and kept by episode. It is `Footage`.

    Attributes:
        captions, numbers: per cached episode, its sentence and its number in the source.
        fps: frames per second.
    """

    def __init__(self, folder: str | Path, listed: _Episodes | None = None) -> None:
        """Opens the cache in `folder`, which lists its episodes where that is not done here.

        Raises:
            InputError: there is none, or it is damaged.
        """
        self.folder = Path(folder)
        self._given = listed is None
        self._listed = listed = listed or _read_listing(self.folder)
        self._store = Store(self.folder, 3 * int(np.prod(listed.size)), given=self._given)
        self.name, self.fps = self.folder.name, listed.fps
        self.captions, self.numbers = listed.captions, listed.numbers
        lost = [number for number, key in zip(self.numbers, listed.keys, strict=True) if key not in self._store]
        if lost:
            raise InputError(f"{folder} is a damaged frame cache: episode {lost[0]} is gone; {ANEW}")
        reasons = [self._store.bad.get(key) for key in listed.keys]
        self.bad = [(self._name(place), reason) for place, reason in enumerate(reasons) if reason is not None]
        self._places = [place for place, reason in enumerate(reasons) if reason is None]
        self.episodes = [
            EpisodeInfo(self._name(place), listed.lengths[place], self.fps, *listed.size, self.captions[place])
            for place in self._places
        ]

    def _name(self, place: int) -> str:
        return f"episode {self.numbers[place]}"

    def read(self, episode: int, frames: Sequence[int]) -> np.ndarray:
        """See `Footage`. TryAgain, or RunStopped where nothing can make them anew: the frames are not what was written
        any more."""
        place = self._places[episode]
        try:
            pixels = self._store.read(self._listed.keys[place], np.asarray(frames, dtype=np.int64))
        except Damaged as error:
            if self._given:
                raise RunStopped(
                    f"frames of {self._name(place)}: {error}; put the whole file back, or {ANEW}"
                ) from error
            raise stopped(f"frames of {self._name(place)}", error) from error
        return pixels.reshape(-1, *self._listed.size, 3)

    @cached_property
    def keys(self) -> list[str]:
        """See `Footage`."""
        return [self._store.content(self._listed.keys[place]) for place in self._places]

    def source(self, episode: int) -> int:
        """The number of the episode at that place in `episodes` where it comes from: of a data set, in its split."""
        return self.numbers[self._places[episode]]

    def __len__(self) -> int:
        """The number of cached episodes, bad ones included."""
        return len(self.captions)

    def __reduce__(self) -> tuple:
        return FrameCache, (self.folder, None if self._given else self._listed)

    @classmethod
    def of_dataset(cls, dataset: LeRobotDataset, camera: str, root: str | Path) -> FrameCache:
        """The cache of all frames of one camera of a dataset (one split of it). Episodes whose frames are not kept in a
        folder below `root`, or are broken there, are decoded now; an episode is known by the content of its files.

        An episode that cannot be decoded is noted as bad.

        Raises:
            InputError: no such camera, or no episode that can be decoded; or see `Store.fill`, as for RunStopped.
        """
        episodes = [dataset.summary(i) for i in range(len(dataset))]
        camera = dataset.camera(camera).removeprefix(CAMERA_PREFIX)
        size = _first_size(dataset, camera)

        def read(i: int) -> EpisodeFrames:
            pixels = dataset.frames(i, camera)
            if pixels.shape[1:3] != size:
                held, wanted = ("{}x{}".format(*each) for each in (pixels.shape[1:3], size))
                raise InputError(f"{dataset.frame_file(i, camera)}: is of {held}; the first episode is of {wanted}")
            return EpisodeFrames(pixels, episodes[i][2])

        numbers, lengths, captions = map(list, zip(*episodes, strict=True))
        keys = [_digest([READING, size, key]) for key in episode_keys(dataset, camera, root)]
        listed = _Episodes(keys, list(range(len(numbers))), lengths, captions, dataset.fps, size)
        folder = Path(root) / FRAMES / f"{dataset.path.name}-{camera}"
        _decoded(folder, listed, read)
        return cls(folder, listed)

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
        """Writes a cache that lists its episodes. The list is written last; a broken write goes on where it stopped.

        Args:
            episodes, lengths: every episode's number and its number of frames, known before any frame is decoded.
            read: gives the frames of one episode number; what it refuses with an InputError is noted as bad.
            size: (H, W) of a frame.

        Raises:
            InputError, RunStopped: see `Store.fill`.
        """
        folder = Path(folder)
        keys = [_digest([size, fps, *each]) for each in zip(episodes, lengths, strict=True)]
        notes = folder / CAPTIONS
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)

        def noted(place: int) -> EpisodeFrames:
            item = read(episodes[place])
            with writing(folder):
                append(notes, summed_line([place, item.caption]))
            return item

        listed = _Episodes(keys, list(episodes), list(lengths), [""] * len(keys), float(fps), tuple(size))
        store = _decoded(folder, listed, noted)
        known = dict(read_summed(notes))
        for place, key in enumerate(keys):
            if key not in store.bad:
                listed.captions[place] = known[place] if place in known else read(episodes[place]).caption
        with writing(folder):
            write_sealed(folder / LISTING, asdict(listed))
            notes.unlink(missing_ok=True)
        return cls(folder)


def _read_listing(folder: Path) -> _Episodes:
    try:
        listed = _Episodes(**read_sealed(folder / LISTING))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{folder} is not a frame cache, or a damaged one ({error}); {ANEW}") from error
    return replace(listed, size=tuple(listed.size))


def _decoded(folder: Path, listed: _Episodes, read: Callable[[int], EpisodeFrames]) -> Store:
    """The store of all frames; `read` gives those of the episode at a place."""
    store = Store(folder, 3 * int(np.prod(listed.size)))
    items = [Item(key, length) for key, length in zip(listed.keys, listed.lengths, strict=True)]
    store.fill(items, _Decoding(read), 1, 1, f"decoding into {folder.name}")
    return store


@dataclass(frozen=True)
class _Decoding:
    """The work of a process: see `Work`."""

    read: Callable[[int], EpisodeFrames]

    def open(self, device: torch.device) -> Encode:
        def decode(places: Sequence[int]) -> dict[int, np.ndarray | str]:
            found: dict[int, np.ndarray | str] = {}
            for place in places:
                try:
                    found[place] = np.asarray(self.read(place).pixels, np.uint8)
                except InputError as error:
                    found[place] = str(error)
            return found

        return decode


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]


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

    def key(self, number: int) -> str:
        """Tells the frames of a clip from those of any other of its bucket, by content."""
        place, start = self._find(number)
        episode = self.places[place]
        return _digest([self.footage.keys[episode], self.footage.episodes[episode].fps, start, self.fps])

    def called(self, number: int) -> str:
        """A clip as a message names it."""
        return f"{self.episode(number).name}, from frame {self.start(number)} on"

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
