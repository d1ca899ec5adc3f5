"""A video of hands as it is read: at one rate, upright, not mirrored, and with what its file says of the lens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vgen.errors import InputError
from vgen.media.container import open_container
from vgen.media.video import VideoInfo, open_video
from vgen.sources.reading.frames import VideoFrames, pieces
from vgen.sources.source import LeftOut

MOST_FPS = 30  # of a data set that does not say: hands are told no better by more
SHORTER_SIDE = 480  # pixels of the frames of a data set that does not say
SAME_SHAPE = 0.05  # by which the ratio of the sides may differ
SAME_RATE = 0.005  # share by which a rate may be off: 29.97 is 30
FOCAL_TAGS = ("com.apple.quicktime.camera.focal_length.35mm_equivalent", "focal_length.35mm_equivalent")
LENS = (8.0, 1000.0)  # mm, 35 mm equivalent


class HandVideo:
    """The frames of a video at a rate, and what else is known of it.

    Args:
        path: of the file.
        fps: frames per second. A steady video of this rate, or of a whole multiple of it, gives its own frames; of any
            other, such as a phone's variable rate, each frame is the one that is shown then.
        mirrored: whether it is a mirror image, as a selfie camera may film it; it is turned over.

    Raises:
        LeftOut: the file is missing or is no video.

    Attributes:
        size: (H, W), upright.
        repeated: how many frames are shown again, as the video has fewer in a second.
    """

    def __init__(self, path: Path, fps: int, mirrored: bool = False) -> None:
        every = VideoFrames(path)  # which says what is wrong with a file
        info = open_video(path).info
        step = round(info.fps / fps)
        self.size, self._mirrored = (info.height, info.width), mirrored
        if info.steady and step and abs(info.fps / fps / step - 1) <= SAME_RATE:
            self._frames = VideoFrames(path, np.arange(0, info.frames, step))
        else:
            count = max(1, int(every.end * fps + 1e-3))
            self._frames = VideoFrames(path, seconds=np.arange(count) / fps)
        self.repeated = int((np.diff(self._frames.times) == 0).sum())

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames start to stop - 1; see `Frames`."""
        frames = self._frames.read(start, stop)
        return frames[:, :, ::-1] if self._mirrored else frames

    def each(self) -> Iterator[np.ndarray]:
        """All frames in order, uint8 [H, W, 3].

        Raises:
            LeftOut: one is damaged.
        """
        for piece in pieces(self):
            yield from piece


def looked_at(paths: Sequence[Path]) -> list[VideoInfo]:
    """What those of some videos hold that can be read.

    Raises:
        InputError: that is none.
    """
    found, problem = [], None
    for path in paths:
        try:
            found.append(open_video(path).info)
        except InputError as error:
            problem = problem or error
    if problem is not None and not found:
        raise problem
    return found


def usual_rate(videos: Sequence[VideoInfo]) -> int:
    """The rate of the slowest of some videos as a whole number, and at most 30."""
    return min(MOST_FPS, *(max(1, round(video.fps)) for video in videos))


def usual_size(video: VideoInfo) -> tuple[int, int]:
    """The (H, W) in which frames are written: even, and 480 pixels at most on the shorter side."""
    scale = min(1.0, SHORTER_SIDE / min(video.height, video.width))
    height, width = (2 * math.ceil(side * scale / 2 - 0.5) for side in (video.height, video.width))
    return height, width


def same_shape(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes (H, W) have nearly one ratio of the sides."""
    return abs(math.log(size[0] / size[1] * other[1] / other[0])) <= SAME_SHAPE


@dataclass(frozen=True)
class Lens:
    """The focal length of a camera in millimetres, as 35 mm equivalent, and who says so: "given", "file" or
    "assumed"."""

    millimetres: float
    said_by: str


def lens_of(path: Path) -> float | None:
    """The focal length that a video file says, in millimetres as 35 mm equivalent; None where it says none. Some phones
    write it; most do not."""
    try:
        container, stream = open_container(path)
    except InputError as error:
        raise LeftOut(f"its video cannot be read: {error}") from error
    with container:
        told = {**container.metadata, **stream.metadata}
    for tag in FOCAL_TAGS:
        try:
            millimetres = float(told.get(tag, ""))
        except ValueError:
            continue
        if LENS[0] <= millimetres <= LENS[1]:
            return millimetres
    return None
