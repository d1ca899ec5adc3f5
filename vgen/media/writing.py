"""Video files out, by PyAV: h264 in BT.709, and said so in the file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
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


def write_video(path: str | Path, video: np.ndarray, fps: float, crf: int = CRF, gop: int = GOP) -> None:
    """Write an h264 file (yuv420p in BT.709, limited range, no B-frames), the same bytes on every machine.

    Args:
        path: where to write; the container follows the suffix, and the folder must exist.
        video: uint8 [T, H, W, 3], RGB; H and W even.
        fps: frames per second, above 0.
        crf: x264 quality, 0 (lossless) to 51; smaller is better.
        gop: key-frame distance in frames; smaller is faster to seek in, and larger on disk.

    Raises:
        InputError: an array, size or rate that h264 cannot hold, `path` must not be written, or PyAV is not installed.
        TryAgain: the disk is full.
    """
    pyav.need(f"writing {path}")
    import av

    video = np.asarray(video)
    _check_video(video, fps)
    try:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
            stream.height, stream.width = video.shape[1:3]
            stream.pix_fmt = "yuv420p"
            stream.options = {"crf": str(crf), "g": str(gop), "bf": "0", "preset": "veryfast"}
            stream.thread_count = 1  # x264's output depends on its number of threads
            for name, value in TAGS.items():
                setattr(stream.codec_context, name, value)
            for image in video:
                container.mux(stream.encode(_coded(image)))
            container.mux(stream.encode())
    except (OSError, av.FFmpegError) as error:
        raise _refused(path, "write the video", error) from error
    except ValueError as error:  # PyAV finds the container by the suffix
        nearest = Path(path).with_suffix(".mp4")
        raise InputError(f"cannot write {path}: its suffix names no container of h264; nearest: {nearest}") from error


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
