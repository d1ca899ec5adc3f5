"""Frames of a take: of a video file by number or time, of image files, or of an array. Read piece by piece."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from vgen.errors import InputError
from vgen.media.image import decode_image, read_image
from vgen.media.video import open_video
from vgen.sources.source import Frames, LeftOut

PIECE = 16  # frames that are held at once: 100 MB of 1920x1080


def pieces(frames: Frames) -> Iterator[np.ndarray]:
    """All frames in order, uint8 [at most PIECE, H, W, 3] at a time.

    Raises:
        LeftOut: one is damaged or missing.
    """
    for start in range(0, len(frames), PIECE):
        yield frames.read(start, min(start + PIECE, len(frames)))


class VideoFrames:
    """Frames of a video file, exactly: those that are shown, whatever its rate and order of decoding.

    Args:
        path: of the file.
        numbers: of the frames, counted from 0 as they are shown, in any order; default: all.
        seconds: instead, times since the file's first frame; of each, the frame that is shown then.

    Raises:
        LeftOut: the file is missing or is no video, or has no such frame or time.

    Attributes:
        times: float64 [T], when each of the frames is shown, in seconds since the file's first one.
        end: when the file's last frame is no longer shown, in the same seconds.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        numbers: Sequence[int] | np.ndarray | None = None,
        seconds: Sequence[float] | np.ndarray | None = None,
    ) -> None:
        assert numbers is None or seconds is None, "frames are told by number or by time"
        self._path = Path(path)
        if not self._path.is_file():
            raise LeftOut(f"its video is missing: {self._path.name}")
        try:
            file = open_video(self._path)
        except InputError as error:
            raise LeftOut(f"its video cannot be read: {error}") from error
        begin = file.times[0]
        self.end = float(file.end - begin)
        if seconds is not None:
            wanted = np.asarray(seconds, dtype=np.float64)
            self._check_times(wanted, 0.5 / file.info.fps)
            self._numbers = file.shown(wanted + begin)
        else:
            self._numbers = np.arange(file.info.frames) if numbers is None else np.asarray(numbers, dtype=np.int64)
            self._check_numbers(file.info.frames)
        self.times: np.ndarray = file.times[self._numbers] - begin

    def __len__(self) -> int:
        return len(self._numbers)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames start to stop - 1, uint8 [stop - start, H, W, 3].

        Raises:
            LeftOut: one of them cannot be decoded.
        """
        try:
            return open_video(self._path).read(self._numbers[start:stop])
        except InputError as error:
            raise LeftOut(f"its video is damaged: {error}") from error

    def _check_times(self, wanted: np.ndarray, slack: float) -> None:
        """Refuses times at which no frame is shown; half a frame is a matter of rounding."""
        outside = wanted[~((wanted >= -slack) & (wanted < self.end + slack))]
        if outside.size:
            raise LeftOut(f"its video has no frame at a time that is wanted: {outside[0]:.3f} s of {self.end:.3f} s")

    def _check_numbers(self, count: int) -> None:
        outside = self._numbers[(self._numbers < 0) | (self._numbers >= count)]
        if outside.size:
            raise LeftOut(f"its video has too few frames: frame {outside[0]} is wanted, of {count}")


class ImageFrames:
    """Frames that are images of one size: files, or the bytes of files.

    Args:
        images: one a frame; PNG, JPEG or what else `vgen.media.image` reads.
    """

    def __init__(self, images: Sequence[Path | bytes]) -> None:
        self._images = images
        self._size: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self._images)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames start to stop - 1, uint8 [stop - start, H, W, 3].

        Raises:
            LeftOut: one is missing, damaged, transparent or of another size than the others.
        """
        return np.stack([self._read(number) for number in range(start, stop)])

    def _read(self, number: int) -> np.ndarray:
        image = self._images[number]
        name = f"frame {number} of {len(self)}"
        if isinstance(image, Path) and not image.is_file():
            raise LeftOut(f"a frame is missing: {name}, {image.name}")
        try:
            pixels = decode_image(image, name) if isinstance(image, bytes) else read_image(image)
        except InputError as error:
            raise LeftOut(f"a frame is damaged: {name}, {error}") from error
        if pixels.shape[2] == 4 and pixels[..., 3].min() < 255:
            raise LeftOut(f"a frame is transparent in some places: {name}")
        size = pixels.shape[:2]
        self._size = self._size or size
        if size != self._size:
            (height, width), (high, wide) = size, self._size
            raise LeftOut(f"its frames are of different sizes: {name} of {height}x{width}, others of {high}x{wide}")
        return pixels[..., :3]


def numbered_frames(folder: Path, name: str, rows: int, first: int = 0) -> ImageFrames:
    """The frames of images that are numbered from 0, one for each row.

    Args:
        folder: of the images.
        name: of each, with {} for its number.
        rows: how many there must be.
        first: the number of the first that is wanted.

    Raises:
        LeftOut: there is no such folder, or it has not as many images as there are rows.
    """
    if not folder.is_dir():
        raise LeftOut(f"it has not all cameras: no {folder.name}")
    start, end = name.split("{}")
    found = {entry.name for entry in os.scandir(folder)}
    missing = next((number for number in range(rows) if name.format(number) not in found), None)
    if missing is not None:
        raise LeftOut(f"a frame is missing: {folder.name}/{name.format(missing)}, of {rows}")
    count = sum(each.startswith(start) and each.endswith(end) for each in found)
    if count > rows:
        raise LeftOut(f"it has more frames than rows: {count} in {folder.name}, {rows} rows")
    return ImageFrames([folder / name.format(number) for number in range(first, rows)])


class ArrayFrames:
    """Frames that are held in memory, or in a file that numpy maps.

    Args:
        array: uint8 [T, H, W, 3], RGB.
    """

    def __init__(self, array: np.ndarray) -> None:
        assert array.dtype == np.uint8 and array.ndim == 4 and array.shape[-1] == 3, f"{array.dtype} {array.shape}"
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames start to stop - 1, uint8 [stop - start, H, W, 3]."""
        return self._array[start:stop]


def nearest(times: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """The frames whose times are nearest to some others: int64, as many as `seconds`.

    Args:
        times: float64 [T], of the frames, increasing.
        seconds: on the same clock.
    """
    after = np.searchsorted(times, seconds).clip(0, len(times) - 1)
    before = np.maximum(after - 1, 0)
    closer = np.abs(seconds - times[before]) < np.abs(times[after] - seconds)
    return np.where(closer, before, after)
