"""Any frames of a video file, exactly: decoded by PyAV from the key frame before, and known again by the index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike

import numpy as np
from av.video.frame import VideoFrame

from vgen.errors import InputError
from vgen.media.container import Decoder
from vgen.media.index import FrameIndex

STEPS_BACK = 4  # key frames to try, one before the other, ahead of the beginning of the file
STRAY = 64  # frames that may come beyond those expected, where frames are known by their checksum alone
SEEK = 4  # frames that could be decoded in the time of a seek


class ExactReader:
    """Decodes frames of a file by number.

    Args:
        file: the video.
        index: of it.

    Raises:
        InputError: the file cannot be opened.

    Attributes:
        aspect: width of a pixel over its height; None where the file does not say.
    """

    def __init__(self, file: str | PathLike[str], index: FrameIndex) -> None:
        self._file, self._index = file, index
        self._decoder = Decoder(file)
        self.aspect = self._decoder.stream.sample_aspect_ratio
        self._frames: Iterator[VideoFrame] = iter(())
        self._next: int | None = None  # the number of the frame that comes next, where that is known

    def frames(self, numbers: Sequence[int]) -> Iterator[VideoFrame]:
        """The frames of some numbers, 0 to T - 1, quickest in increasing order.

        Raises:
            InputError: a frame that cannot be decoded (any more).
        """
        for number in numbers:
            yield self._find(number)

    def _find(self, number: int) -> VideoFrame:
        index = self._index
        before = int(np.searchsorted(index.keys, number, side="right"))  # places to begin at, up to the frame
        nearest = int(index.keys[before - 1]) if before else 0
        skipped = -1 if self._next is None else number - self._next
        if 0 <= skipped <= number - nearest + SEEK:
            frame = self._forward(number, skipped)
            if frame is not None:
                return frame
        for place in range(before - 1, max(-1, before - 1 - STEPS_BACK), -1):
            self._frames = self._decoder.frames(int(index.seeks[place]))
            frame = self._forward(number, number - int(index.keys[place]))
            if frame is not None:
                return frame
        self._frames = self._decoder.frames()
        frame = self._forward(number, number)
        if frame is None:
            raise InputError(
                f"{self._file}: frame {number} ({index.times[number]:.3f} s) cannot be decoded; the file is damaged"
            )
        return frame

    def _forward(self, number: int, expected: int) -> VideoFrame | None:
        """Decodes on to a frame; None where it does not come.

        Args:
            expected: how many frames come before it.
        """
        self._next = None
        stamps = self._index.stamps
        for count, frame in enumerate(self._frames):
            if self._index.is_frame(number, frame):
                if self._decoder.damaged:  # what was lost before it may be missing in it
                    return None
                self._next = number + 1
                return frame
            passed = frame.pts is not None and frame.pts > stamps[number] if len(stamps) else count > expected + STRAY
            if passed:
                return None
        return None
