"""All frames of many episodes, decoded once and kept: the footage that training reads fastest."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from vgen.data.buckets import EpisodeInfo, Size
from vgen.data.cache.hashes import content_key
from vgen.data.cache.sealed import read_sealed, write_sealed
from vgen.data.cache.shard import Damaged
from vgen.data.cache.store import Encode, Item, Store, stopped
from vgen.data.footage import episode_keys
from vgen.data.jsonl import read_summed, summed_line
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.data.lerobot.meta import CAMERA_PREFIX
from vgen.errors import InputError, RunStopped
from vgen.files import append, writing
from vgen.media.video import READING

FRAMES = "frames"  # folder, in that of the caches, of a folder for each camera of a data set
LISTING = "index.json"  # of the episodes of a frame cache that is named by itself
CAPTIONS = "captions.jsonl"  # of its episodes, until they are listed
READERS = 16  # threads that read frames into memory
ANEW = "remove the folder, and it is made again where its data are named"


_held: dict[str, torch.Tensor] = {}  # frames in memory, by the content of their episodes


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
        held: all frames uint8 [N, H, W, 3], one episode after another, once `hold` has read them; None before.
    """

    def __init__(self, folder: str | Path, listed: _Episodes | None = None, name: str = "", given: bool = True) -> None:
        """Opens the cache in `folder`, which lists its episodes where that is not done here.

        Args:
            name: of the footage; by default the folder's.
            given: whether nothing here can make its frames anew.

        Raises:
            InputError: there is none, or it is damaged.
        """
        self.folder = Path(folder)
        self._given = given
        self._listed = listed = listed or _read_listing(self.folder)
        self._store = Store(self.folder, 3 * int(np.prod(listed.size)), given=self._given)
        self.name, self.fps = name or self.folder.name, listed.fps
        self.captions, self.numbers = listed.captions, listed.numbers
        lost = [number for number, key in zip(self.numbers, listed.keys, strict=True) if key not in self._store]
        if lost:
            raise InputError(f"{folder} is a damaged frame cache: episode {lost[0]} is gone; {ANEW}")
        reasons = [self._store.bad.get(key) for key in listed.keys]
        self.bad = [(self._name(place), reason) for place, reason in enumerate(reasons) if reason is not None]
        self._places = [place for place, reason in enumerate(reasons) if reason is None]
        self._first = np.cumsum([0, *(listed.lengths[place] for place in self._places)])
        self.held: torch.Tensor | None = None
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

    def hold(self) -> None:
        """Reads all frames into memory, from which batches are then put together many times as fast. Caches of one
        process that hold the same frames share them."""
        key = content_key(self.keys)
        if key not in _held:
            _held[key] = self._all_frames()
        self.held = _held[key]

    def _all_frames(self) -> torch.Tensor:
        """All frames uint8 [N, H, W, 3]."""
        frames = torch.empty(int(self._first[-1]), *self._listed.size, 3, dtype=torch.uint8)
        whole = frames.numpy()

        def fill(episode: int) -> None:
            first, last = self._first[episode], self._first[episode + 1]
            whole[first:last] = self.read(episode, range(last - first))

        with ThreadPoolExecutor(min(READERS, os.cpu_count() or 1)) as pool:
            list(pool.map(fill, range(len(self.episodes))))
        return frames

    def take(self, episodes: np.ndarray, frames: np.ndarray) -> torch.Tensor:
        """Frames uint8 [B, K, H, W, 3] that are held: of episodes [B], their frames [B, K]."""
        assert self.held is not None, "hold comes first"
        rows = torch.from_numpy(self._first[episodes][:, None] + frames)
        return self.held.index_select(0, rows.flatten()).view(*rows.shape, *self.held.shape[1:])

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

    def __reduce__(self) -> tuple[Any, ...]:
        return FrameCache, (self.folder, self._listed, self.name, self._given)

    def part(self, numbers: Sequence[int], name: str) -> FrameCache:
        """Some of the episodes, by their numbers, as those of a split: numbered anew from 0."""
        places = {number: place for place, number in enumerate(self.numbers)}
        chosen = [places[number] for number in numbers]
        listed = replace(
            self._listed,
            keys=[self._listed.keys[place] for place in chosen],
            numbers=list(range(len(chosen))),
            lengths=[self._listed.lengths[place] for place in chosen],
            captions=[self.captions[place] for place in chosen],
        )
        return FrameCache(self.folder, listed, name, self._given)

    @classmethod
    def of_dataset(cls, dataset: LeRobotDataset, camera: str, root: str | Path) -> FrameCache:
        """The cache of all frames of one camera of a dataset (one split of it). Episodes whose frames are not kept in a
        folder below `root`, or are broken there, are decoded now; an episode is known by the content of its files.
        Where the data set holds its frames decoded, these are taken.

        An episode that cannot be decoded is noted as bad.

        Raises:
            InputError: no such camera, or no episode that can be decoded; or see `Store.fill`, as for RunStopped.
        """
        episodes = [dataset.summary(i) for i in range(len(dataset))]
        camera = dataset.camera(camera).removeprefix(CAMERA_PREFIX)
        if (decoded := dataset.decoded(camera)) is not None:
            return decoded.part([index for index, _, _ in episodes], f"{dataset.path.name}-{camera}")
        size = _first_size(dataset, camera)

        def read(i: int) -> EpisodeFrames:
            pixels = dataset.frames(i, camera)
            if pixels.shape[1:3] != size:
                held, wanted = ("{}x{}".format(*each) for each in (pixels.shape[1:3], size))
                raise InputError(f"{dataset.frame_file(i, camera)}: is of {held}; the first episode is of {wanted}")
            return EpisodeFrames(pixels, episodes[i][2])

        numbers, lengths, captions = map(list, zip(*episodes, strict=True))
        keys = [content_key([READING, size, key]) for key in episode_keys(dataset, camera, root)]
        listed = _Episodes(keys, list(range(len(numbers))), lengths, captions, dataset.fps, size)
        folder = Path(root) / FRAMES / f"{dataset.path.name}-{camera}"
        _decoded(folder, listed, read)
        return cls(folder, listed, given=False)

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
        keys = [content_key([size, fps, *each]) for each in zip(episodes, lengths, strict=True)]
        notes = folder / CAPTIONS
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)

        def noted(place: int) -> EpisodeFrames:
            item = read(episodes[place])
            with writing(folder):
                append(notes, summed_line([place, item.caption]))
            return item

        listed = _Episodes(keys, list(episodes), list(lengths), [""] * len(keys), float(fps), size)
        store = _decoded(folder, listed, noted)
        known = dict(cast(Iterator[tuple[int, str]], read_summed(notes)))
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
    height, width = listed.size
    return replace(listed, size=(height, width))


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


def _first_size(dataset: LeRobotDataset, camera: str) -> Size:
    """(H, W) of the first episode that can be decoded."""
    if not len(dataset):
        raise InputError(f"{dataset.path}: the split holds no episode")
    for number in range(len(dataset)):
        try:
            _, height, width, _ = dataset.frames(number, camera, [0]).shape
            return height, width
        except InputError as error:
            last = error
    raise InputError(f"{dataset.path}: no episode can be decoded; the last one: {last}")
