"""Video files in (decord) and out (PyAV), images in (Pillow), and the conversion to and from [-1, 1]."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import decord
import numpy as np
import torch
from av.video.stream import VideoStream
from PIL import Image, ImageOps

from vgen.errors import InputError

CRF = 18  # visually lossless for h264
GOP = 8  # frames between key frames: short, because training reads clips at random places

decord.logging.set_level(decord.logging.QUIET)  # a damaged file is told once, by an InputError


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds: number of frames, frames per second, height and width in pixels."""

    frames: int
    fps: float
    height: int
    width: int


class VideoFile:
    """A video file that is open for random access, on one thread.

    Raises:
        InputError: the file is missing or is not a video.

    Attributes:
        info: frame count, rate and size.
        times: float64 [T], when each frame is shown, in seconds on the file's own clock.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        if not Path(path).is_file():
            raise InputError(f"{path}: no such video file")
        try:
            with av.open(str(path)) as container:  # decord itself would print to the terminal what is wrong
                if not container.streams.video:
                    raise InputError(f"{path}: holds no video")
            self._reader = decord.VideoReader(str(path), num_threads=1)
            first = self._reader[0].asnumpy()
        except (av.FFmpegError, decord.DECORDError, RuntimeError, IndexError) as error:
            reason = error.strerror if isinstance(error, av.FFmpegError) else "no frame of it can be decoded"
            raise InputError(f"{path}: not a readable video file ({reason})") from error
        # decord takes the padding of some narrow videos' rows for further channels, and fails to read them in batches
        self._padded = first.shape[2] != 3
        self.info = VideoInfo(len(self._reader), float(self._reader.get_avg_fps()), *first.shape[:2])
        self.times = self._reader.get_frame_timestamp(range(len(self._reader)))[:, 0].astype(np.float64)

    def read(self, frames: Sequence[int]) -> np.ndarray:
        """Decode the numbered frames, in the order given.

        Returns:
            uint8 [T, H, W, 3], RGB.

        Raises:
            InputError: a frame number outside the video, or a file that breaks off.
        """
        indices, last = np.asarray(frames, dtype=np.int64), self.info.frames - 1
        outside = indices[(indices < 0) | (indices > last)]
        if outside.size:
            raise InputError(f"{self._path}: frame {outside[0]} is not in the video; it has frames 0 to {last}")
        if not indices.size:
            raise InputError(f"{self._path}: no frames asked for; name one or more of 0 to {last}")
        try:
            if self._padded:
                return np.stack([self._without_padding(self._reader[i].asnumpy()) for i in indices.tolist()])
            return self._reader.get_batch(indices.tolist()).asnumpy()
        except (decord.DECORDError, RuntimeError) as error:
            raise InputError(f"{self._path}: cannot be decoded; the file is damaged") from error

    def _without_padding(self, frame: np.ndarray) -> np.ndarray:
        height, width = self.info.height, self.info.width
        return frame.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3)


def read_video(path: str | Path, frames: Sequence[int] | None = None) -> np.ndarray:
    """Read a video file, or the numbered frames of it.

    Args:
        path: a video file.
        frames: frame numbers from 0, in any order; None reads them all.

    Returns:
        uint8 [T, H, W, 3], RGB.

    Raises:
        InputError: a missing or corrupt file, or a frame number outside it.
    """
    file = VideoFile(path)
    return file.read(range(file.info.frames) if frames is None else frames)


def video_info(path: str | Path) -> VideoInfo:
    """Read the frame count, frame rate and size of a video file.

    Raises:
        InputError: a missing or corrupt file.
    """
    return VideoFile(path).info


def write_video(path: str | Path, video: np.ndarray, fps: float, crf: int = CRF, gop: int = GOP) -> None:
    """Write an h264 file (yuv420p, no B-frames), the same bytes on every machine.

    Args:
        path: where to write; the container follows the suffix, and the folder must exist.
        video: uint8 [T, H, W, 3], RGB; H and W even.
        fps: frames per second, above 0.
        crf: x264 quality, 0 (lossless) to 51; smaller is better.
        gop: key-frame distance in frames; smaller is faster to seek in, and larger on disk.

    Raises:
        InputError: an array, size or rate that h264 cannot hold, or a disk error.
    """
    _check_video(video, fps)
    try:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
            stream.height, stream.width = video.shape[1:3]
            stream.pix_fmt = "yuv420p"
            stream.options = {"crf": str(crf), "g": str(gop), "bf": "0", "preset": "veryfast"}
            stream.thread_count = 1  # x264's output depends on its number of threads
            for image in video:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
            container.mux(stream.encode())
    except (OSError, av.FFmpegError) as error:
        raise InputError(f"{path}: cannot write the video ({_first_line(error)})") from error


def join_videos(parts: Sequence[str | Path], path: str | Path) -> None:
    """Join videos of one size, rate and encoder setting end to end, without encoding them again.

    Args:
        parts: files that `write_video` wrote with the same settings, one or more.
        path: where to write the joined file.

    Raises:
        InputError: a part that cannot be read, or a disk error.
    """
    try:
        with av.open(str(path), "w") as out:
            stream, start = None, 0
            for part in parts:
                with av.open(str(part)) as container:
                    source = container.streams.video[0]
                    stream = stream or out.add_stream_from_template(source)
                    start += _copy_packets(source, stream, start)
    except (OSError, av.FFmpegError) as error:
        raise InputError(f"{path}: cannot join the videos ({_first_line(error)})") from error


def read_image(path: str | Path) -> np.ndarray:
    """Read an image file, turned upright as its EXIF data says.

    Returns:
        uint8 [H, W, 3], or [H, W, 4] where the image has transparency; 16-bit grey is scaled to 8 bits.

    Raises:
        InputError: a missing or corrupt file, one of floating-point pixels, or one of more than 178 million pixels.
    """
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such image file") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # all that Pillow raises
        raise InputError(f"{path}: not a readable image file ({_first_line(error)})") from error
    if image.mode == "F":
        raise InputError(f"{path}: holds floating-point pixels, whose range is unknown; save it with 8 bits")
    if image.mode.startswith("I"):  # Pillow's own conversion would clip all above 255 to white
        image = Image.fromarray((np.asarray(image) / 257).round().clip(0, 255).astype(np.uint8))
    return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))


def to_unit(pixels: np.ndarray | torch.Tensor) -> torch.Tensor:
    """uint8 pixels, 0 to 255, of any shape, to float32 in [-1, 1]."""
    return torch.as_tensor(pixels).float() / 127.5 - 1.0


def to_uint8(unit: torch.Tensor) -> torch.Tensor:
    """Values in [-1, 1], of any shape, to uint8 pixels; values outside are clamped."""
    return ((unit.float() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)


def _check_video(video: np.ndarray, fps: float) -> None:
    if video.dtype != np.uint8 or video.ndim != 4 or video.shape[-1] != 3 or not len(video):
        raise InputError(f"video of {video.dtype} {list(video.shape)} is not uint8 [T, H, W, 3] with T of 1 or more")
    height, width = video.shape[1:3]
    if height % 2 or width % 2:
        even = f"{height + height % 2}x{width + width % 2}"
        raise InputError(f"video of {height}x{width} is not of even height and width, as h264 needs; nearest: {even}")
    if not fps > 0:
        raise InputError(f"fps={fps} is not above 0")


def _copy_packets(source: VideoStream, stream: VideoStream, start: int) -> int:
    """Copy the packets of one part, shifted by `start` ticks; returns the part's length in ticks."""
    ticks = round(1 / (source.average_rate * source.time_base))
    frames = 0
    for packet in source.container.demux(source):
        if packet.dts is None:  # the demuxer's closing packet
            continue
        packet.pts += start
        packet.dts += start
        packet.stream = stream
        stream.container.mux(packet)
        frames += 1
    return frames * ticks


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
