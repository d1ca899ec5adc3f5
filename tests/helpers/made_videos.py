"""Video files for tests, written by PyAV: each picture carries its number, and the wanted kind of container, codec,
groups of pictures and times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from bench_common.numbered import picture
from bench_common.priority import usual_priority

CASES = Path(__file__).parents[2] / "../shared/cases"
SIZE = (96, 160)


@dataclass(frozen=True)
class Clip:
    """A video file to make.

    Attributes:
        suffix: of the file; the container follows it.
        codec: an encoder of FFmpeg's.
        options: of the encoder.
        frames: how many.
        rate: frames per second.
        times: when each frame is shown, in ticks of `tick`; default: evenly, by the rate.
        tick: of `times`.
        pixels: FFmpeg's name of the pixel format.
        container: name of the container, where the suffix does not tell it.
        muxer: options of the container.
        live: written to a sink that cannot seek: no duration, no list of key frames.
        size: (H, W).
        first: number of the first picture.
    """

    suffix: str
    codec: str
    options: dict[str, str] = field(default_factory=dict)
    frames: int = 40
    rate: Fraction = Fraction(25)
    times: Sequence[int] | None = None
    tick: Fraction = Fraction(1, 1000)
    pixels: str = "yuv420p"
    container: str | None = None
    muxer: dict[str, str] = field(default_factory=dict)
    live: bool = False
    size: tuple[int, int] = SIZE
    first: int = 0


class Sink:
    """A file that cannot seek, as a network connection."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, data: bytes) -> int:
        return self._file.write(data)

    def close(self) -> None:
        self._file.close()


def pictures(clip: Clip) -> Iterator[av.VideoFrame]:
    """The frames of a clip, with their times."""
    for place in range(clip.frames):
        frame = av.VideoFrame.from_ndarray(picture(clip.first + place, clip.size), format="rgb24")
        frame = frame.reformat(format=clip.pixels)
        frame.pts = place if clip.times is None else clip.times[place]
        frame.time_base = 1 / clip.rate if clip.times is None else clip.tick
        yield frame


@usual_priority()
def make(folder: Path, name: str, clip: Clip, prepare: Callable[[av.VideoStream], None] | None = None) -> Path:
    """Writes a clip and returns its file.

    Args:
        prepare: changes the stream before anything is written.
    """
    path = folder / f"{name}.{clip.suffix}"
    target = Sink(path) if clip.live else str(path)
    with av.open(target, "w", format=clip.container, options=clip.muxer) as out:
        stream = add_stream(out, clip)
        if prepare:
            prepare(stream)
        for frame in pictures(clip):
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    if clip.live:
        target.close()
    return path


def add_stream(out: av.container.OutputContainer, clip: Clip) -> av.VideoStream:
    """The clip's stream in a container."""
    stream = out.add_stream(clip.codec, rate=clip.rate, options=clip.options)
    stream.height, stream.width = clip.size
    stream.pix_fmt = clip.pixels
    stream.codec_context.thread_count = 1
    if clip.times is not None:
        stream.codec_context.time_base = stream.time_base = clip.tick
    return stream


def plain_decode(path: Path) -> np.ndarray:
    """uint8 [T, H, W, 3]: all frames in the order in which FFmpeg gives them."""
    with av.open(str(path), metadata_errors="ignore") as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(container.streams.video[0])])


def remux(
    source: Path,
    target: Path,
    change: Callable[[list[av.Packet]], list[av.Packet]] = list,
    muxer: dict[str, str] | None = None,
    container: str | None = None,
) -> Path:
    """Copies the packets of a file's video into another file, without coding them again.

    Args:
        change: makes the packets that are written of those that were read, in stored order.
    """
    with av.open(str(source)) as old, av.open(str(target), "w", format=container, options=muxer or {}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in change([packet for packet in old.demux(old.streams.video[0]) if packet.size]):
            packet.stream = stream
            new.mux(packet)
    return target
