"""Video files out, by PyAV: h264 in BT.709, and said so in the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vgen.errors import InputError, TryAgain
from vgen.files import refusal
from vgen.media import pyav

if TYPE_CHECKING:  # imported late: much of what can write a video also works where none is written
    from av.container import InputContainer, OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

CRF = 18  # visually lossless for h264
BT709 = 1  # AVColorSpace, AVColorPrimaries and AVColorTransferCharacteristic
LIMITED = 1  # AVColorRange
TAGS = {"colorspace": BT709, "color_range": LIMITED, "color_primaries": BT709, "color_trc": BT709}
GOP = 8  # frames between key frames: short, because training reads clips at random places


class VideoWriter:
    """Writes an h264 file piece by piece (yuv420p in BT.709, limited range, no B-frames), the same bytes on every
    machine and of all sizes of pieces. Used as a context: where its block raises, nothing is left of the file.

    Args:
        path: where to write; the container follows the suffix, and the folder must exist.
        fps: frames per second, above 0.
        crf: x264 quality, 0 (lossless) to 51; smaller is better.
        gop: key-frame distance in frames; smaller is faster to seek in, and larger on disk.

    Raises:
        InputError: frames of a type, size or rate that h264 cannot hold, `path` must not be written, or PyAV is not
            installed.
        TryAgain: the disk is full.
    """

    def __init__(self, path: str | Path, fps: float, crf: int = CRF, gop: int = GOP) -> None:
        pyav.need(f"writing {path}")
        self._path, self._fps = path, fps
        self._options: dict[str, object] = {"crf": str(crf), "g": str(gop), "bf": "0", "preset": "veryfast"}
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None

    def add(self, frames: np.ndarray) -> None:
        """The next frames, uint8 [T, H, W, 3], RGB; H and W even, and the same of all."""
        frames = np.asarray(frames)
        _check_video(frames, self._fps)
        with self._refusals():
            stream = self._stream or self._open(frames.shape[1], frames.shape[2])
            assert self._container is not None, "it is open"
            for image in frames:
                self._container.mux(stream.encode(_coded(image)))

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._container is None or self._stream is None:
            return
        if kind is None:
            with self._refusals():
                self._container.mux(self._stream.encode())
                self._container.close()
            return
        with suppress(Exception):  # what the block raised counts
            self._container.close()
        with suppress(OSError):
            Path(self._path).unlink()

    def _open(self, height: int, width: int) -> VideoStream:
        import av

        self._container = av.open(str(self._path), "w")
        stream = self._container.add_stream("libx264", rate=Fraction(self._fps).limit_denominator(1001))
        stream.height, stream.width = height, width
        stream.pix_fmt = "yuv420p"
        stream.options = self._options
        stream.thread_count = 1  # x264's output depends on its number of threads
        for name, value in TAGS.items():
            setattr(stream.codec_context, name, value)
        self._stream = stream
        return stream

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Says in one line what keeps a video from being written."""
        import av

        try:
            yield
        except (OSError, av.FFmpegError) as error:
            raise _refused(self._path, "write the video", error) from error
        except ValueError as error:  # PyAV finds the container by the suffix
            nearest = Path(self._path).with_suffix(".mp4")
            rule = f"its suffix names no container of h264; nearest: {nearest}"
            raise InputError(f"cannot write {self._path}: {rule}") from error


def write_video(path: str | Path, video: np.ndarray, fps: float, crf: int = CRF, gop: int = GOP) -> None:
    """Write a video that is held in memory, uint8 [T, H, W, 3]; see `VideoWriter`, whose errors it raises."""
    with VideoWriter(path, fps, crf, gop) as writer:
        writer.add(video)


def join_videos(parts: Sequence[str | Path], path: str | Path) -> None:
    """Join videos of one size, rate and encoder setting end to end, without encoding them again.

    Args:
        parts: files that `write_video` wrote with the same settings, one or more.
        path: where to write the joined file.

    Raises:
        InputError: a part that cannot be read, `path` must not be written, or PyAV is not installed.
        TryAgain: the disk is full.
    """
    pyav.need(f"writing {path}")
    import av

    try:
        with av.open(str(path), "w") as out:
            stream, start = None, 0
            for part in parts:
                with av.open(str(part)) as container:
                    stream = stream or out.add_stream_from_template(container.streams.video[0])
                    start += _copy_packets(container, out, stream, start)
    except (OSError, av.FFmpegError) as error:
        raise _refused(path, "join the videos", error) from error


def _refused(path: str | Path, what: str, error: Exception) -> InputError | TryAgain:
    """The error of a video that could not be written. Nothing is left of it."""
    with suppress(OSError):
        Path(path).unlink()
    if isinstance(error, OSError):
        return refusal(path, error, kept="")
    from vgen.media.container import reason_of

    return InputError(f"{path}: cannot {what} ({reason_of(error)})")


def _coded(image: np.ndarray) -> VideoFrame:
    """An RGB image in the colours that the file says."""
    from av.video.frame import VideoFrame
    from av.video.reformatter import ColorRange, Colorspace

    frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
    for name, value in TAGS.items():
        setattr(frame, name, value)
    return frame


def _check_video(video: np.ndarray, fps: float) -> None:
    if video.dtype != np.uint8 or video.ndim != 4 or video.shape[-1] != 3 or not len(video):
        raise InputError(f"video of {video.dtype} {list(video.shape)} is not uint8 [T, H, W, 3] with T of 1 or more")
    height, width = video.shape[1:3]
    if height % 2 or width % 2:
        even = f"{height + height % 2}x{width + width % 2}"
        raise InputError(f"video of {height}x{width} is not of even height and width, as h264 needs; nearest: {even}")
    if not fps > 0:
        raise InputError(f"fps={fps} is not above 0")


def _copy_packets(part: InputContainer, out: OutputContainer, stream: VideoStream, start: int) -> int:
    """Copy the packets of one part, shifted by `start` ticks; returns the part's length in ticks."""
    from vgen.media.container import tick_of

    source = part.streams.video[0]
    assert source.average_rate  # of whatever `write_video` wrote
    ticks = round(1 / (source.average_rate * tick_of(source)))
    frames = 0
    for packet in part.demux(source):
        if packet.dts is None or packet.pts is None:  # the demuxer's closing packet
            continue
        packet.pts += start
        packet.dts += start
        packet.stream = stream
        out.mux(packet)
        frames += 1
    return frames * ticks
