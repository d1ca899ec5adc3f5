"""Frames as a small H.264 file, written by PyAV, and read by OpenCV one after the other.

H.264 because all builds of OpenCV decode it: AV1 they do not, and at the rates of a pack HEVC and VP9 held these frames
no better. Colours are those of BT.601, which is what OpenCV takes all files to have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vgen.errors import InputError
from vgen.media import pyav

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet

# x264: `slow` is about as fast as recorded videos are read; without adaptive quantisation what moves is 0.7 dB better.
OPTIONS = {"preset": "slow", "x264-params": "bframes=8:ref=8:aq-mode=0:scenecut=0:keyint=infinite:forced-idr=1"}
BT601 = 6  # AVColorSpace, AVColorPrimaries and AVColorTransferCharacteristic of SMPTE 170M
LIMITED = 1  # AVColorRange
# ITU-R BT.601, limited range, of 8 bits
RGB_TO_YUV = (
    np.array([[65.481, -37.797, 112.0], [128.553, -74.203, -93.786], [24.966, 112.0, -18.214]], np.float32) / 255
)
CUT_OFF = 0.86  # of a luma: readers round RGB down, by 1 in the mean
YUV_ZERO = np.array([16 + CUT_OFF, 128, 128], np.float32)
RATE = 25  # of a file while it is encoded: x264 gives less to frames that are shown shorter
SAMPLE_BYTES = 16  # of an MP4's tables for each frame, about


@dataclass(frozen=True)
class CodedEpisode:
    """An episode in a file: its first packet, its packets, which are its frames, and their bytes."""

    first: int
    frames: int
    size: int


def encode(file: Path, episodes: Iterable[np.ndarray], crf: int) -> None:
    """Writes episodes, uint8 [T, H, W, 3] each, one after the other; each begins with a key frame that no frame is
    predicted across.

    Raises:
        InputError: PyAV is not installed, or frames of odd height or width.
        OSError: the file cannot be written.
    """
    pyav.need("packing videos")
    import av

    shown = 0
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options=OPTIONS | {"crf": str(crf), "forced-idr": "1"})
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1  # x264's output depends on its number of threads
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = BT601
        context.color_range = LIMITED
        for pixels in episodes:
            if not shown:
                stream.height, stream.width = pixels.shape[1:3]
            for place, image in enumerate(pixels):
                frame = av.VideoFrame.from_ndarray(_planes(image), format="yuv420p")
                frame.pts, frame.time_base = shown, Fraction(1, RATE)
                frame.pict_type = av.video.frame.PictureType.I if place == 0 else av.video.frame.PictureType.NONE
                container.mux(stream.encode(frame))
                shown += 1
        container.mux(stream.encode())


def _planes(image: np.ndarray) -> np.ndarray:
    """An RGB image uint8 [H, W, 3] as yuv420p, uint8 [H·3/2, W]. Luma is raised by what readers cut off."""
    height, width, _ = image.shape
    yuv = image.astype(np.float32) @ RGB_TO_YUV + YUV_ZERO
    chroma = yuv[..., 1:].reshape(height // 2, 2, width // 2, 2, 2).mean((1, 3))
    planes = np.concatenate([yuv[..., 0].ravel(), chroma[..., 0].ravel(), chroma[..., 1].ravel()])
    whole: np.ndarray = np.rint(planes).clip(0, 255).astype(np.uint8).reshape(height * 3 // 2, width)
    return whole


def coded_episodes(file: Path, lengths: Sequence[int]) -> list[CodedEpisode]:
    """What the episodes of a file that `encode` wrote take, in their order."""
    import av

    with av.open(str(file)) as container:
        sizes = [packet.size for packet in _packets(container)]
    firsts = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    if len(sizes) != firsts[-1]:
        raise InputError(f"{file}: {len(sizes)} packets of {firsts[-1]} frames; its encoder is not as it should be")
    sums = np.concatenate([[0], np.cumsum(sizes)])
    return [
        CodedEpisode(first, length, int(sums[first + length] - sums[first]) + SAMPLE_BYTES * length)
        for first, length in zip(firsts[:-1], lengths, strict=True)
    ]


def copy_episodes(source: Path, parts: Sequence[tuple[Path, Sequence[CodedEpisode]]], fps: float) -> None:
    """Copies episodes of a file that `encode` wrote into others of a rate, without encoding them again. All follow one
    another as they do in the source.

    Raises:
        OSError: a file cannot be written.
    """
    import av

    step = 1 / Fraction(fps).limit_denominator(1001)
    with av.open(str(source)) as container:
        numbered = enumerate(_packets(container))
        for file, episodes in parts:
            shown = 0
            with av.open(str(file), "w") as out:
                stream = out.add_stream_from_template(container.streams.video[0])
                stream.time_base = step
                for episode in episodes:
                    for packet in _of_episode(numbered, episode):
                        assert packet.pts is not None and packet.dts is not None and packet.time_base
                        ticks = round(1 / (RATE * packet.time_base))
                        packet.pts = packet.pts // ticks - episode.first + shown
                        packet.dts = packet.dts // ticks - episode.first + shown
                        packet.duration, packet.stream, packet.time_base = 1, stream, step
                        out.mux(packet)
                    shown += episode.frames


def _of_episode(numbered: Iterator[tuple[int, Packet[Any]]], episode: CodedEpisode) -> Iterator[Packet[Any]]:
    """The packets of an episode out of all that are left of its file."""
    for number, packet in numbered:
        if number >= episode.first:
            yield packet
        if number == episode.first + episode.frames - 1:
            return


def _packets(container: InputContainer) -> Iterator[Packet[Any]]:
    """Those that hold frames, in the order in which they are decoded."""
    for packet in container.demux(container.streams.video[0]):
        if packet.pts is not None and packet.dts is not None:
            yield packet


class FrameStream:
    """The frames of some files, one after the other as one video, read by OpenCV.

    Args:
        files: with the number of frames of each.

    Raises:
        InputError: OpenCV is not installed.
    """

    def __init__(self, files: Sequence[tuple[Path, int]]) -> None:
        try:
            import cv2
        except ImportError as error:
            raise InputError(
                "packed frames are read by OpenCV, which is not installed: pip install opencv-python-headless"
            ) from error
        self._cv2, self._files = cv2, list(files)
        self._starts = np.concatenate([[0], np.cumsum([frames for _, frames in files])]).tolist()
        self._capture: Any = None
        self._open, self._next = -1, 0

    def read(self, first: int, count: int) -> np.ndarray:
        """`count` frames from frame `first` on, all of one file: uint8 [count, H, W, 3], RGB. Quick where they come
        after those that were read before.

        Raises:
            InputError: the file does not hold them.
        """
        place = int(np.searchsorted(self._starts, first, "right")) - 1
        if place != self._open or first < self._next:
            self._go_to(place)
        while self._next < first:
            self._grab()
        frames = []
        for _ in range(count):
            self._grab()
            found, image = self._capture.retrieve()
            if not found:
                raise self._short()
            frames.append(image[:, :, ::-1])
        return np.stack(frames)

    def close(self) -> None:
        """Lets go of the file that is open."""
        if self._capture is not None:
            self._capture.release()
        self._capture, self._open = None, -1

    def _go_to(self, place: int) -> None:
        self.close()
        with suppress(self._cv2.error):
            self._capture = self._cv2.VideoCapture(str(self._files[place][0]), self._cv2.CAP_FFMPEG)
        self._open, self._next = place, self._starts[place]
        if self._capture is None or not self._capture.isOpened():
            raise InputError(f"{self._files[place][0]}: OpenCV cannot read it as a video")

    def _grab(self) -> None:
        if not self._capture.grab():
            raise self._short()
        self._next += 1

    def _short(self) -> InputError:
        file, frames = self._files[self._open]
        return InputError(f"{file}: breaks off after {self._next - self._starts[self._open]} of {frames} frames")
