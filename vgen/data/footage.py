"""Where frames come from: one small protocol, and the two of its kinds that decode on demand."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from vgen.data.buckets import EpisodeInfo
from vgen.data.cache.hashes import content_key, file_hashes
from vgen.data.jsonl import read_summed, summed_line
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.data.lerobot.meta import CAMERA_PREFIX
from vgen.data.videos.captions import Captioned, list_videos
from vgen.errors import InputError
from vgen.files import append, writing
from vgen.media.video import READING, VideoFile, open_video

INDEXES = "indexes"  # folder, in that of the caches, of when the frames of each file are shown
NEARLY = 1e-3  # of a frame: rounding of times


class Footage(Protocol):
    """Episodes whose frames can be asked for by number.

    Attributes:
        name: what caches made of it are called by.
    """

    name: str

    @property
    def episodes(self) -> Sequence[EpisodeInfo]:
        """All that can be decoded as far as is known, in a fixed order; a caption may be ""."""

    @property
    def bad(self) -> Sequence[tuple[str, str]]:
        """Name and reason of those that cannot."""

    @property
    def keys(self) -> Sequence[str]:
        """Per episode, what tells its frames from those of any other by their content, wherever they lie. It is found
        out when it is first asked for, which may take as long as reading all files."""

    def read(self, episode: int, frames: Sequence[int]) -> np.ndarray:
        """Frames uint8 [K, H, W, 3] of the episode at that place in `episodes`, in the order asked for. Safe for
        several threads, and the object for several processes.

        Raises:
            InputError: they cannot be decoded.
        """


class VideoFolder:
    """A plain folder of videos with captions; files are opened when a frame of theirs is asked for.

    A video of a variable rate is an episode of a constant one, that of its closer frames: its frame n is the one that
    is shown n / fps seconds after the first.

    Args:
        folder: see `list_videos`, as for `captions`.
        cache: folder below which is kept what the files hold, so that each is searched for it only once.
        write: False only reads what is kept there.

    Raises:
        InputError: as `list_videos`.
    """

    def __init__(self, folder: str | Path, captions: str | Path | None, cache: str | Path, write: bool = True) -> None:
        self.name = Path(folder).resolve().name
        listed = list_videos(folder, captions)
        digest = hashlib.sha256(f"{READING}, summed ".encode() + os.fsencode(Path(folder).resolve())).hexdigest()[:12]
        self._cache = Path(cache) if write else None
        self._indexes = self._cache and self._cache / INDEXES
        found = _probe(listed, Path(cache) / f"{self.name}-videos-{digest}.jsonl", self._indexes)
        self.episodes: list[EpisodeInfo] = []
        self.bad: list[tuple[str, str]] = []
        self._paths: list[Path] = []
        for video, info in zip(listed, found, strict=True):
            if isinstance(info, str):
                self.bad.append((video.name, info))
            else:
                self.episodes.append(replace(info, caption=video.caption, fault=video.fault))
                self._paths.append(video.path)

    @cached_property
    def keys(self) -> list[str]:
        """See `Footage`."""
        return [content[:24] for content in file_hashes(self._paths, self._cache)]

    def read(self, episode: int, frames: Sequence[int]) -> np.ndarray:
        """See `Footage`."""
        file = open_video(self._paths[episode], self._indexes)
        return file.read(even_frames(file, frames))


class LeRobotFootage:
    """One camera of a LeRobot v3 data set, decoded on demand.

    Args:
        cache: folder below which the hashes of its files are kept; None: they are not kept.

    Raises:
        InputError: no such camera.
    """

    def __init__(self, dataset: LeRobotDataset, camera: str, cache: str | Path | None = None) -> None:
        self._cache = cache
        self.dataset, self.camera = dataset, dataset.camera(camera).removeprefix(CAMERA_PREFIX)
        self.name = f"{dataset.path.name}-{self.camera}"
        self.episodes: list[EpisodeInfo] = []
        self.bad: list[tuple[str, str]] = []
        self._numbers: list[int] = []
        sizes: dict[Path, tuple[int, ...]] = {}  # of files, which hold many episodes
        for number in range(len(dataset)):
            index, length, task = dataset.summary(number)
            file = dataset.path
            try:
                file = dataset.frame_file(number, self.camera)
                if file not in sizes:
                    sizes[file] = dataset.frames(number, self.camera, [0]).shape[1:3]
            except InputError as error:
                self.bad.append((f"episode {index}", reason_of(error, file)))
                continue
            height, width = sizes[file]
            self.episodes.append(EpisodeInfo(f"episode {index}", length, dataset.fps, height, width, task))
            self._numbers.append(number)

    @cached_property
    def keys(self) -> list[str]:
        """See `Footage`."""
        known = episode_keys(self.dataset, self.camera, self._cache)
        return [known[number] for number in self._numbers]

    def read(self, episode: int, frames: Sequence[int]) -> np.ndarray:
        """See `Footage`."""
        return self.dataset.frames(self._numbers[episode], self.camera, frames)

    def source(self, episode: int) -> int:
        """The number in its split of the episode at that place in `episodes`."""
        return self._numbers[episode]


def episode_keys(dataset: LeRobotDataset, camera: str, root: str | Path | None) -> list[str]:
    """Tells the frames of each episode of a split from those of any other, by the content of the files that hold them
    and where in these they are.

    Args:
        root: see `file_hashes`.
    """
    files: list[Path] = []
    for number in range(len(dataset)):
        try:
            files += [dataset.frame_file(number, camera), dataset.data_file(number)]
        except InputError:  # noted as bad when the episode is decoded
            files += [dataset.path, dataset.path]
    contents = file_hashes(files, root)
    keys = []
    for number in range(len(dataset)):
        index, length, _ = dataset.summary(number)
        about = [*contents[2 * number : 2 * number + 2], index, length, dataset.start(number, camera), dataset.fps]
        keys.append(content_key(about))
    return keys


def reason_of(error: InputError, path: str | Path) -> str:
    """Why a file cannot be used, without its name, which is told apart."""
    return str(error).removeprefix(f"{path}: ")


def _probe(videos: Sequence[Captioned], index: Path, indexes: Path | None) -> list[EpisodeInfo | str]:
    """What each file holds (without its caption), or why it cannot be used. Good ones are kept in a JSONL file, so that
    an interrupted search goes on and a later one opens only what is new or has changed; none are without `indexes`."""
    known = _read_index(index)
    found: list[Facts | str | None] = [known.get((video.name, _stamp(video.path))) for video in videos]
    missing = [place for place, facts in enumerate(found) if facts is None]
    if missing:
        if indexes:
            _make_folder(index.parent)
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            looked = pool.map(lambda place: _look(videos[place].path, indexes), missing)
            for place, facts in zip(missing, tqdm(looked, "opening videos", len(missing), delay=2), strict=True):
                found[place] = facts
                if indexes and not isinstance(facts, str):
                    with writing(index):
                        append(index, summed_line([videos[place].name, _stamp(videos[place].path), *facts]))
    return [
        EpisodeInfo(video.name, *facts, "") if isinstance(facts, tuple) else str(facts)
        for video, facts in zip(videos, found, strict=True)
    ]


Facts = tuple[int, float, int, int]
"""Frames, frames per second, height and width of a file."""


def _look(path: Path, indexes: Path | None) -> Facts | str:
    """What a file holds, or why it cannot be used."""
    if not os.path.isfile(path):  # which, other than Path's, also answers for a name that no disk takes
        return "no such video file"
    try:
        file = VideoFile(path, indexes)  # not kept open: nobody may want its frames
    except InputError as error:
        return reason_of(error, path)
    return even_length(file), file.info.fps, file.info.height, file.info.width


def even_length(file: VideoFile) -> int:
    """How many frames a video has at its constant rate, or at the one that its variable rate is taken at."""
    return file.info.frames if file.info.steady else int((file.end - file.times[0]) * file.info.fps + NEARLY)


def even_frames(file: VideoFile, frames: Sequence[int]) -> Sequence[int] | np.ndarray:
    """Which frames of a file those of its episode are."""
    return frames if file.info.steady else file.shown(file.times[0] + np.asarray(frames) / file.info.fps)


def _read_index(index: Path) -> dict[tuple[str, str], Facts]:
    """The facts in an index by name and stamp."""
    known = {}
    for record in read_summed(index):
        match record:
            case [str(name), str(stamp), int(frames), int() | float() as fps, int(height), int(width)]:
                known[name, stamp] = frames, fps, height, width
    return known


def _make_folder(folder: Path) -> None:
    with writing(f"data.cache={folder}"):
        folder.mkdir(parents=True, exist_ok=True)


def _stamp(path: Path) -> str:
    """Changes when a file does."""
    about = path.stat() if os.path.exists(path) else None
    return f"{about.st_size} {about.st_mtime_ns}" if about else "0 0"
