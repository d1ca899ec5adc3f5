"""Decord, the faster reader of large frames, for the files of which it was seen to give the frames that PyAV gives.

Decord decodes in a thread of its own beside the conversion to RGB. It counts frames from key frames in their packets'
order, and so gives other ones where groups of pictures are open, packets are hidden or times are missing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike

import numpy as np

from vgen.errors import InputError
from vgen.media.colour import FrameConverter
from vgen.media.index import FrameIndex
from vgen.media.reader import ExactReader

logger = logging.getLogger(__name__)

SAME_TIME = 1e-3  # seconds: decord keeps times as float32
SAMPLES = 3  # key frames at which frames are compared


class FastReader:
    """Frames of a file by number, by decord, on one thread.

    Raises:
        RuntimeError: it cannot read the file.
    """

    _getpid = staticmethod(os.getpid)  # which is there until the end, as modules are not

    def __init__(self, file: str | PathLike[str]) -> None:
        import decord  # late: it is slow to import, and much of what vgen does needs no video

        decord.logging.set_level(decord.logging.QUIET)
        with _errors():
            self._reader = decord.VideoReader(str(file), num_threads=1)
        self._process = os.getpid()

    def __del__(self) -> None:
        """Left as it is in a forked process, where it would wait for ever for its thread, which is not there."""
        if getattr(self, "_process", None) not in (None, self._getpid()):
            self._reader._handle = None

    def times(self) -> np.ndarray:
        """float64 [T], when each frame is shown as decord sees it, in seconds."""
        with _errors():
            stamps: np.ndarray = self._reader.get_frame_timestamp(range(len(self._reader)))
        return stamps[:, 0].astype(np.float64)

    def read(self, numbers: Sequence[int]) -> np.ndarray:
        """uint8 [K, H, W, 3].

        Raises:
            RuntimeError: a frame cannot be decoded.
        """
        with _errors():
            pixels: np.ndarray = self._reader.get_batch(list(numbers)).asnumpy()
        return pixels


@contextmanager
def _errors() -> Iterator[None]:
    """Decord's errors, which have no kind of their own, as a RuntimeError."""
    from decord import DECORDError

    try:
        yield
    except (DECORDError, IndexError, ValueError, UnicodeError) as error:
        raise RuntimeError((str(error).strip().splitlines() or ["decord failed"])[-1]) from error


def gives_the_same(file: str | PathLike[str], index: FrameIndex) -> bool:
    """Whether decord gives the frames of the index: the file has neither open groups of pictures nor hidden packets nor
    pixels that decord does not turn into what is meant, decord's times are those of the index (which it counts from
    the first frame in some files), and frames at the first, a middle and the last key frame, and the last frame of all,
    are the same to the bit."""
    if not (index.closed and index.plain and len(index.keys)):
        return False
    places = sorted({0, len(index.keys) // 2, len(index.keys) - 1})[:SAMPLES]
    numbers = sorted({int(index.keys[place]) + step for place in places for step in (0, 1)} | {len(index) - 1})
    numbers = [number for number in numbers if number < len(index)]
    try:
        reader = FastReader(file)
        times = reader.times()
        if len(times) != len(index) or np.ptp(times - index.times) > SAME_TIME:
            return False
        given = [reader.read([number])[0] for number in reversed(numbers)][::-1]
        converter, exact = FrameConverter(file), ExactReader(file, index)
        return all(
            np.array_equal(converter.pixels(frame), other)
            for frame, other in zip(exact.frames(numbers), given, strict=True)
        )
    except (RuntimeError, InputError) as error:
        logger.debug("decord does not read %s: %s", file, error)
        return False
