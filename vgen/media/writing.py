"""Video files out, by PyAV: h264 in BT.709, and said so in the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from vgen import checks
from vgen.errors import InputError
from vgen.files import refusal, whole_file
from vgen.media import pyav

if TYPE_CHECKING:  # imported late: much of what can write a video also works where none is written
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream

CRF = 18  # visually lossless for h264
BT709 = 1  # AVColorSpace, AVColorPrimaries and AVColorTransferCharacteristic
LIMITED = 1  # AVColorRange
TAGS = {"colorspace": BT709, "color_range": LIMITED, "color_primaries": BT709, "color_trc": BT709}
SLOWEST, FASTEST = 1e-3, 1e5  # frames per second that a file can tell
GOP = 8  # frames between key frames: short, because training reads clips at random places


class VideoWriter:
    """Writes an h264 file piece by piece (yuv420p in BT.709, limited range, no B-frames), the same bytes on every
    machine and of all sizes of pieces. Used as a context: the file is there when the block ends. Where it raises, or is
    killed, what was at `path` before is as it was.

    Args:
        path: where to write; the container follows the suffix, and the folder must exist.
        fps: frames per second, 0.001 to 100000.
        crf: x264 quality, 0 (lossless) to 51; smaller is better.
        gop: key-frame distance in frames; smaller is faster to seek in, and larger on disk.

    Raises:
        InputError: frames of a type, size or rate that h264 cannot hold, `path` must not be written, or PyAV is not
            installed.
        TryAgain: the disk is full.
    """

    def __init__(self, path: str | Path, fps: float, crf: int = CRF, gop: int = GOP) -> None:
        pyav.need(f"writing {path}")
        self._path, self._fps = path, checks.real("fps", fps, SLOWEST, FASTEST)
        self._options: dict[str, object] = {"crf": str(crf), "g": str(gop), "bf": "0", "preset": "veryfast"}
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()
        self._aside = ExitStack()  # where the file lies until it is whole
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None

    def add(self, frames: np.ndarray) -> None:
        """The next frames, uint8 [T, H, W, 3], RGB; H and W even, and the same of all."""
        frames = np.asarray(frames)
        _check_video(frames)
        height, width = frames.shape[1:3]
        if self._stream is not None and (height, width) != (self._stream.height, self._stream.width):
            first = f"{self._stream.height}x{self._stream.width}"
            raise InputError(f"video of {height}x{width} follows one of {first} in {self._path}; all is of one size")
        with _refusals(self._path, "write the video"):
            stream = self._stream or self._open(height, width)
            assert self._container is not None, "it is open"
            for image in frames:
                self._container.mux(stream.encode(_coded(image, self._reformatter)))

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._container is None or self._stream is None:
            return
        if kind is None:
            with _refusals(self._path, "write the video"), self._aside:
                self._container.mux(self._stream.encode())
                self._container.close()
            return
        with suppress(Exception):  # what the block raised counts
            self._container.close()
        self._aside.__exit__(kind, error, trace)

    def _open(self, height: int, width: int) -> VideoStream:
        import av

        container = _container_of(self._path)
        self._container = av.open(str(self._aside.enter_context(whole_file(self._path))), "w", format=container)
        stream = self._container.add_stream("libx264", rate=Fraction(self._fps).limit_denominator(1001))
        stream.height, stream.width = height, width
        stream.pix_fmt = "yuv420p"
        stream.options = self._options
        stream.thread_count = 1  # x264's output depends on its number of threads
        for name, value in TAGS.items():
            setattr(stream.codec_context, name, value)
        self._stream = stream
        return stream


def write_video(path: str | Path, video: np.ndarray, fps: float, crf: int = CRF, gop: int = GOP) -> None:
    """Write a video that is held in memory, uint8 [T, H, W, 3]; see `VideoWriter`, whose errors it raises."""
    with VideoWriter(path, fps, crf, gop) as writer:
        writer.add(video)


def join_videos(parts: Sequence[str | Path], path: str | Path) -> None:
    """Join videos of one size, rate and encoder setting end to end, without encoding them again. What was at `path`
    before is as it was until all is joined.

    Args:
        parts: files that `write_video` wrote with the same settings, one or more.
        path: where to write the joined file.

    Raises:
        InputError: a part that cannot be read, `path` must not be written, or PyAV is not installed.
        TryAgain: the disk is full.
    """
    pyav.need(f"writing {path}")
    import av

    with (
        _refusals(path, "join the videos"),
        whole_file(path) as aside,
        av.open(str(aside), "w", format=_container_of(path)) as out,
    ):
        stream, start = None, 0
        for part in parts:
            with av.open(str(part)) as container:
                stream = stream or out.add_stream_from_template(container.streams.video[0])
                start += _copy_packets(container, out, stream, start)


def cut_video(path: str | Path, start: int, stop: int, out: str | Path) -> None:
    """Frames start to stop - 1 of a video, without encoding them again: what `join_videos` has joined, apart again.
    What was at `out` before is as it was until all is cut.

    Args:
        path: a video that `join_videos` or `write_video` wrote.
        start, stop: frame numbers; a joined part begins at `start`, so that a key frame is there.
        out: where to write them.

    Raises:
        InputError: the video cannot be read, has not these frames or no key frame at `start`, or `out` must not be
            written.
        TryAgain: the disk is full.
    """
    pyav.need(f"writing {out}")
    import av

    with _refusals(out, f"be cut out of {path}"), whole_file(out) as aside:
        with av.open(str(path)) as container, av.open(str(aside), "w", format=_container_of(out)) as new:
            source = container.streams.video[0]
            stream = new.add_stream_from_template(source)
            ticks = _frame_ticks(source)
            container.seek(start * ticks, stream=source)
            found = 0
            for packet in container.demux(source):
                if packet.pts is None or packet.dts is None or packet.pts < start * ticks:
                    continue
                if packet.pts >= stop * ticks:
                    break
                if not found and not (packet.is_keyframe and packet.pts == start * ticks):
                    break
                found += 1
                _move(packet, -start * ticks)
                packet.stream = stream
                new.mux(packet)
        if found != stop - start:
            raise InputError(f"{path} does not hold frames {start} to {stop - 1} behind a key frame; it is damaged")


@contextmanager
def _refusals(path: str | Path, what: str) -> Iterator[None]:
    """Says in one line what keeps a video from being written."""
    import av

    from vgen.media.container import reason_of

    try:
        yield
    except InputError:  # a ValueError too
        raise
    except OSError as error:
        raise refusal(path, error, kept="") from error
    except av.FFmpegError as error:
        raise InputError(f"{path}: cannot {what} ({reason_of(error)})") from error
    except ValueError as error:  # PyAV finds the container by the suffix
        nearest = Path(path).with_suffix(".mp4")
        raise InputError(f"cannot write {path}: its suffix names no container of h264; nearest: {nearest}") from error


def _container_of(path: str | Path) -> str:
    """FFmpeg's name of the container that the suffix of a path stands for; nothing is made at the path.

    Raises:
        ValueError: it stands for none, or for one of several files, as a playlist is.
    """
    import av

    with av.open(str(path), "w") as container:
        if container.format.no_file:
            raise ValueError(f"{container.format.name} is written as several files")
        return container.format.name


def _coded(image: np.ndarray, reformatter: VideoReformatter) -> VideoFrame:
    """An RGB image in the colours that the file says.

    Args:
        image: uint8 [H, W, 3].
        reformatter: for all images of a video, as a new one takes longer to prepare than a frame to convert.
    """
    from av.video.frame import VideoFrame
    from av.video.reformatter import ColorRange, Colorspace

    frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    frame = reformatter.reformat(
        frame, format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, threads=1
    )
    for name, value in TAGS.items():
        setattr(frame, name, value)
    return frame


def _check_video(video: np.ndarray) -> None:
    if video.dtype != np.uint8 or video.ndim != 4 or video.shape[-1] != 3 or not len(video):
        raise InputError(f"video of {video.dtype} {list(video.shape)} is not uint8 [T, H, W, 3] with T of 1 or more")
    height, width = video.shape[1:3]
    if height % 2 or width % 2:
        even = f"{height + height % 2}x{width + width % 2}"
        raise InputError(f"video of {height}x{width} is not of even height and width, as h264 needs; nearest: {even}")


def _copy_packets(part: InputContainer, out: OutputContainer, stream: VideoStream, start: int) -> int:
    """Copy the packets of one part, shifted by `start` ticks; returns the part's length in ticks."""
    source = part.streams.video[0]
    ticks, frames = _frame_ticks(source), 0
    for packet in part.demux(source):
        if packet.dts is None or packet.pts is None:  # the demuxer's closing packet
            continue
        _move(packet, start)
        packet.stream = stream
        out.mux(packet)
        frames += 1
    return frames * ticks


def _frame_ticks(stream: VideoStream) -> int:
    """How many ticks a frame lasts in a video that `write_video` wrote."""
    from vgen.media.container import tick_of

    assert stream.average_rate, "it was written at one"
    return round(1 / (stream.average_rate * tick_of(stream)))


def _move(packet: Packet[VideoStream], ticks: int) -> None:
    assert packet.pts is not None and packet.dts is not None, "it is no closing packet"
    packet.pts += ticks
    packet.dts += ticks
