"""Video files in: the frame of any number, or that is shown at any time, whatever container, codec and rate."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from vgen.errors import InputError
from vgen.media import pyav
from vgen.media.clock import frames_shown

if TYPE_CHECKING:  # what needs PyAV is imported late: frames that are decoded already are read without it
    from vgen.media.colour import FrameConverter
    from vgen.media.fast import FastReader
    from vgen.media.index import FrameIndex
    from vgen.media.reader import ExactReader

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg"}
    | {".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"}
)
READING = 2  # version of what is read from a file; part of the name of all that is kept of it
IN_MEMORY = 4096  # indexes
OPEN_FILES = 8  # per thread


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds: number of frames, frames per second (of a variable rate, that of the closer frames),
    height and width in pixels as they are read, and whether the rate is constant and the frames have alpha."""

    frames: int
    fps: float
    height: int
    width: int
    steady: bool = True
    alpha: bool = False


class VideoFile:
    """A video file that is open for random access, on one thread.

    Frames are numbered from 0 in the order in which they are shown; what an edit list hides is no frame. Pixels are
    upright, square, and RGB as `FrameConverter` says.

    Args:
        path: of the file.
        indexes: a folder in which the index of the file is kept for the next time; None: in memory alone.

    Raises:
        InputError: the file is missing or is not a video.

    Attributes:
        info: frame count, rate and size.
        times: float64 [T], when each frame is shown, in seconds on the file's own clock.
        end: when the last one is no longer shown.
    """

    def __init__(self, path: str | PathLike[str], indexes: str | PathLike[str] | None = None) -> None:
        self._path, self._index = path, index_of(path, indexes)
        index = self._index
        self.info = VideoInfo(len(index), index.fps, index.height, index.width, index.steady, index.alpha)
        self.times, self.end = index.times, index.end
        self._fast: FastReader | None = None
        self._exact: tuple[ExactReader, FrameConverter] | None = None
        self._open()

    def shown(self, seconds: Sequence[float] | np.ndarray) -> np.ndarray:
        """The numbers of the frames that are shown at some times of the file's clock: int64, of the same shape."""
        return frames_shown(self.times, self._index.tick, seconds)

    def read(self, frames: Sequence[int] | np.ndarray, alpha: bool = False) -> np.ndarray:
        """Decodes the numbered frames, in the order given.

        Args:
            frames: numbers from 0, in any order; quickest where they are near to each other.
            alpha: whether a fourth channel is wanted, where the file has one. Where it is not, what is transparent is
                laid on mid-grey.

        Returns:
            uint8 [K, H, W, 3 | 4], RGB.

        Raises:
            InputError: a frame number outside the video, or a file that breaks off.
        """
        numbers, last = np.asarray(frames, dtype=np.int64), self.info.frames - 1
        outside = numbers[(numbers < 0) | (numbers > last)]
        if outside.size:
            raise InputError(f"{self._path}: frame {outside[0]} is not in the video; it has frames 0 to {last}")
        if not numbers.size:
            raise InputError(f"{self._path}: no frames asked for; name one or more of 0 to {last}")
        if self._process != os.getpid():  # forked: it would share its parent's position in the file
            self._open()
        if self._fast is not None:
            try:
                return self._fast.read(numbers.tolist())
            except RuntimeError:  # PyAV tells what is wrong, if it is
                self._fast = None
        return self._read_exactly(numbers, alpha and self.info.alpha)

    def _open(self) -> None:
        self._process = os.getpid()
        self._fast = self._exact = None
        if self._index.fast:
            from vgen.media.fast import FastReader

            with suppress(RuntimeError):
                self._fast = FastReader(self._path)

    def _read_exactly(self, numbers: np.ndarray, alpha: bool) -> np.ndarray:
        if self._exact is None:
            from vgen.media.colour import FrameConverter
            from vgen.media.reader import ExactReader

            opened = ExactReader(self._path, self._index)
            self._exact = opened, FrameConverter(self._path, opened.aspect)
        info, (reader, converter) = self.info, self._exact
        wanted, places = np.unique(numbers, return_inverse=True)
        pixels = np.empty((len(numbers), info.height, info.width, 4 if alpha else 3), np.uint8)
        for place, frame in enumerate(reader.frames(wanted.tolist())):
            pixels[places == place] = self._sized(converter.pixels(frame, alpha), pixels.shape[1:])
        return pixels

    def _sized(self, pixels: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        """A frame as large as the first one, and with as many channels: streams may change both on their way."""
        if pixels.shape[:2] != shape[:2]:
            pixels = np.asarray(Image.fromarray(pixels).resize(shape[1::-1], Image.Resampling.BICUBIC))
        if pixels.shape[2] < shape[2]:
            pixels = np.concatenate([pixels, np.full((*shape[:2], 1), 255, np.uint8)], axis=2)
        return pixels


def open_video(path: str | PathLike[str], indexes: str | PathLike[str] | None = None) -> VideoFile:
    """A video file that this thread holds open, so that the next read of it is quick. It is opened anew where the file
    has changed.

    Raises:
        InputError: as `VideoFile`.
    """
    key = (*_stamp(path), os.path.realpath(path), os.getpid())
    files = _held.files
    if key not in files:
        files[key] = VideoFile(path, indexes)
        while len(files) > OPEN_FILES:
            files.popitem(last=False)
    files.move_to_end(key)
    return files[key]


def forget_videos() -> None:
    """Closes the files that this thread holds open, and forgets the indexes of all: who reads each of many files once
    has no use for them."""
    _held.files.clear()
    _index.cache_clear()


def read_video(
    path: str | PathLike[str], frames: Sequence[int] | np.ndarray | None = None, alpha: bool = False
) -> np.ndarray:
    """Reads a video file, or the numbered frames of it.

    Args:
        path: a video file.
        frames: frame numbers from 0, in any order; None reads them all.
        alpha: as for `VideoFile.read`.

    Returns:
        uint8 [T, H, W, 3 | 4], RGB.

    Raises:
        InputError: a missing or corrupt file, or a frame number outside it.
    """
    file = VideoFile(path)
    return file.read(range(file.info.frames) if frames is None else frames, alpha)


def video_info(path: str | PathLike[str]) -> VideoInfo:
    """The frame count, frame rate and size of a video file.

    Raises:
        InputError: a missing or corrupt file.
    """
    return VideoFile(path).info


def index_of(path: str | PathLike[str], indexes: str | PathLike[str] | None = None) -> FrameIndex:
    """The index of a video file; made unless the file is known as it is now, by place, size and time.

    Args:
        path: of the file.
        indexes: a folder in which indexes are kept; None: in memory alone.

    Raises:
        InputError: there is no such file, no frame of it can be decoded, or PyAV is not installed.
    """
    size, changed = _stamp(path)
    return _index(os.path.realpath(path), size, changed, Path(indexes) if indexes else None)


@lru_cache(maxsize=IN_MEMORY)
def _index(path: str, size: int, changed: int, indexes: Path | None) -> FrameIndex:
    pyav.need(f"reading {path}")
    from vgen.media.fast import gives_the_same
    from vgen.media.index import FrameIndex, make_index

    name = hashlib.sha256(os.fsencode(f"{READING} {path} {size} {changed}")).hexdigest()[:24]
    known = indexes and FrameIndex.load(indexes / f"{name}.npz")
    if known:
        return known
    index = make_index(path)
    index = replace(index, fast=gives_the_same(path, index))
    if indexes:
        _keep(index, indexes, name)
    return index


def _keep(index: FrameIndex, indexes: Path, name: str) -> None:
    """Written aside and renamed, so that other processes find all of it or nothing. Of a full disk nothing is kept."""
    aside = indexes / f".{name}.{os.getpid()}.{threading.get_ident()}"
    with suppress(OSError):
        indexes.mkdir(parents=True, exist_ok=True)
        index.save(aside)
        aside.replace(indexes / f"{name}.npz")
    with suppress(OSError):
        aside.unlink(missing_ok=True)


def _stamp(path: str | PathLike[str]) -> tuple[int, int]:
    """Size and time of change of a file."""
    try:
        about = os.stat(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no such video file") from error
    return about.st_size, about.st_mtime_ns


class _OpenFiles(threading.local):
    """The files that a thread holds open: a reader has one position, so threads cannot share it."""

    def __init__(self) -> None:
        self.files: OrderedDict[tuple[object, ...], VideoFile] = OrderedDict()


_held = _OpenFiles()
