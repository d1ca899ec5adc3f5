"""When each frame of a video file is shown, and where decoding has to begin for it: found out once for each file.

A file whose packets tell all is not decoded for it: MP4, MOV, MKV and WebM with a codec of one frame a packet. Any
other file (AVI, MPEG program and transport streams, VP8 with its hidden frames, streams without times, or cut within a
group of pictures) is decoded once. Where its times cannot be relied on afterwards, a checksum of each frame is kept, by
which it is known again.
"""

from __future__ import annotations

import logging
from array import array
from dataclasses import dataclass, fields
from itertools import islice, pairwise
from os import PathLike
from pathlib import Path
from typing import Any
from zlib import crc32

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from tqdm import tqdm

from vgen.errors import InputError
from vgen.media.clock import USUAL_RATE, beat
from vgen.media.colour import FrameConverter, has_alpha, plane_bytes
from vgen.media.container import Decoder, open_container, tick_of
from vgen.notices import warn_once

logger = logging.getLogger(__name__)

TRUE_TIMES = ("mov", "matroska")  # containers that keep the time at which each packet's frame is shown
ONE_A_PACKET = frozenset(
    {"av1", "dnxhd", "ffv1", "h264", "hevc", "huffyuv", "mjpeg", "mpeg4", "png", "prores", "qtrle", "rawvideo", "vp9"}
)
# The dimensions and kinds of what is kept of an index.
KEPT = {"times": (1, "f"), "stamps": (1, "i"), "checksums": (1, "u"), "keys": (1, "i"), "seeks": (1, "i")}
KEPT |= dict.fromkeys(("end", "tick", "fps"), (0, "f")) | dict.fromkeys(("height", "width"), (0, "i"))
KEPT |= dict.fromkeys(("steady", "alpha", "plain", "closed", "fast"), (0, "b"))
SHORT = 0.02  # of the length that a file says: less is a matter of counting
HEAD = 40  # frames that are decoded to see whether the packets tell the truth


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """What is known of a file's T frames, in shown order, and of the K places where decoding can begin.

    Attributes:
        times: float64 [T], when each frame is shown, in seconds on the file's own clock; increasing.
        end: when the last frame is no longer shown.
        tick: seconds between two times that the file can tell apart.
        fps: frames per second; of a variable rate, that of the closer frames.
        steady: whether the rate is constant.
        height, width: of a frame as it is read: upright, its pixels square.
        alpha: whether frames have an alpha channel.
        plain: whether they are as FFmpeg's own conversion to RGB gives them: no turn, no stretch, no alpha, no HDR.
        closed: whether no frame needs any from before the key frame that it follows, and none is hidden.
        stamps: int64 [T], the timestamp of each frame as it is decoded; empty where those are not to be relied on.
        checksums: uint32 [T], of the bytes of each decoded frame; empty where `stamps` is not.
        keys: int64 [K], the first frame of each place, increasing.
        seeks: int64 [K], the timestamp to seek to for it.
        fast: whether decord was seen to give the same frames.
    """

    times: np.ndarray
    end: float
    tick: float
    fps: float
    steady: bool
    height: int
    width: int
    alpha: bool
    plain: bool
    closed: bool
    stamps: np.ndarray
    checksums: np.ndarray
    keys: np.ndarray
    seeks: np.ndarray
    fast: bool = False

    def __len__(self) -> int:
        return len(self.times)

    def is_frame(self, number: int, frame: VideoFrame) -> bool:
        """Whether a decoded frame is that one."""
        if len(self.stamps):
            return bool(frame.pts == self.stamps[number])
        return bool(checksum(frame) == self.checksums[number])

    def save(self, file: Path) -> None:
        """Writes the index. Raises: OSError."""
        with file.open("wb") as out:
            np.savez(out, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, file: Path) -> FrameIndex | None:
        """The index in a file; None where there is none, or it is damaged."""
        try:
            with np.load(file, allow_pickle=False) as kept:
                values = {field.name: kept[field.name] for field in fields(cls)}
        except Exception:  # of a damaged file, zipfile and numpy raise nearly any
            return None
        if any((value.ndim, value.dtype.kind) != KEPT[name] for name, value in values.items()):
            return None
        return cls(**{name: value if value.ndim else value.item() for name, value in values.items()})


def make_index(file: str | PathLike[str]) -> FrameIndex:
    """The index of a file.

    Raises:
        InputError: there is no such file, it is no video, or no frame of it can be decoded.
    """
    decoder = Decoder(file)
    try:
        packets = _read_packets(file)
        found = _from_packets(file, decoder, packets) or _from_frames(file, decoder, packets)
        _tell_of_end(file, decoder.stream, found)
    finally:
        decoder.close()
    return found


def _tell_of_end(file: str | PathLike[str], stream: VideoStream, found: FrameIndex) -> None:
    """Logs that a file ends before the length that it says, as half of a download does."""
    said = _said_length(stream)
    length = found.end - found.times[0]
    if said is not None and length < said - max(said * SHORT, 3 / found.fps):
        warn_once(logger, f"{file}: breaks off; it says {said:.2f} s and holds {length:.2f} s ({len(found)} frames)")


def _said_length(stream: VideoStream) -> float | None:
    """How many seconds a video lasts, as its file says."""
    if stream.container.format.name == "avi" and stream.frames and stream.average_rate:
        return float(stream.frames / stream.average_rate)  # its duration is put right by the size of the file
    if stream.duration:
        return float(stream.duration * tick_of(stream))
    try:  # as Matroska has it
        hours, minutes, seconds = map(float, stream.metadata["DURATION"].split(":"))
        return 3600 * hours + 60 * minutes + seconds
    except (KeyError, ValueError):
        container = stream.container
        assert isinstance(container, InputContainer)
        alone = len(container.streams) == 1
        return container.duration / av.time_base if alone and container.duration else None


def checksum(frame: VideoFrame) -> int:
    """The CRC-32 of the bytes of a decoded frame's pixels, without the padding of its rows."""
    value = 0
    for number, plane in enumerate(frame.planes):
        data = plane_bytes(plane)
        if plane.line_size:  # a palette has none
            data = np.ascontiguousarray(data.reshape(plane.height, plane.line_size)[:, : _row_bytes(frame, number)])
        value = crc32(data.data, value)
    return value


def _row_bytes(frame: VideoFrame, number: int) -> int:
    plane, layout = frame.planes[number], frame.format
    inside = [part for part in layout.components if part.plane == number]
    if len(inside) == len(layout.components):  # packed
        bits = plane.width * layout.padded_bits_per_pixel
    else:
        bits = plane.width * sum(-(-part.bits // 8) * 8 for part in inside)
    return min(plane.line_size, bits // 8)


@dataclass(frozen=True, eq=False)
class _Packets:
    """What the packets of a stream say, in the order in which they are stored.

    container: FFmpeg's name of the container.
    shown, sent: int64, when the frame is shown, and when the decoder gets it; `NONE` where it is not said.
    lengths: int64, for how long it is shown; 0 where it is not said.
    key, hidden, damaged: bool.
    """

    container: str
    shown: np.ndarray
    sent: np.ndarray
    lengths: np.ndarray
    key: np.ndarray
    hidden: np.ndarray
    damaged: np.ndarray

    @property
    def seeks(self) -> np.ndarray:
        """The timestamps by which the container finds packets."""
        return self.shown if "matroska" in self.container or (self.sent == NONE).any() else self.sent


NONE = np.iinfo(np.int64).min


def _read_packets(file: str | PathLike[str]) -> _Packets:
    container, stream = open_container(file)
    values = array("q")
    with container:
        try:
            for packet in container.demux(stream):
                if packet.size:
                    times = (NONE if time is None else time for time in (packet.pts, packet.dts, packet.duration or 0))
                    values.extend((*times, packet.is_keyframe, packet.is_discard, packet.is_corrupt))
        except av.FFmpegError:  # the file breaks off
            pass
        shown, sent, lengths, *marks = np.array(values, np.int64).reshape(-1, 6).T.copy()
        return _Packets(container.format.name, shown, sent, lengths, *(mark.astype(bool) for mark in marks))


def _from_packets(file: str | PathLike[str], decoder: Decoder, packets: _Packets) -> FrameIndex | None:
    """The index as packets tell it; None where they do not tell all, or something else than the first frames."""
    stamps = np.sort(packets.shown[~packets.hidden])
    told = (
        packets.container.startswith(TRUE_TIMES)
        and decoder.stream.codec_context.codec.canonical_name in ONE_A_PACKET
        and len(stamps)
        and packets.key[0]
        and NONE < packets.shown[0] <= stamps[0]
        and (np.diff(stamps) > 0).all()
        and not packets.damaged.any()
    )
    if not told:
        return None
    head = list(islice(decoder.frames(), HEAD))
    if [frame.pts for frame in head] != stamps[:HEAD].tolist():
        return None
    last = int(np.flatnonzero(packets.shown == stamps[-1])[-1])
    keys, seeks = _places(stamps, packets)
    tick = float(tick_of(decoder.stream))
    return _described(
        file,
        decoder.stream,
        head[0],
        times=stamps * tick,
        last=packets.lengths[last] * tick,
        closed=_closed(packets),
        stamps=stamps,
        checksums=np.zeros(0, np.uint32),
        keys=keys,
        seeks=seeks,
    )


def _places(stamps: np.ndarray, packets: _Packets) -> tuple[np.ndarray, np.ndarray]:
    """`keys` and `seeks` of an index, by the times of the key packets."""
    key = packets.key & (packets.shown <= stamps[-1]) & (packets.shown != NONE) & (packets.seeks != NONE)
    keys, first = np.unique(np.searchsorted(stamps, packets.shown[key]), return_index=True)
    return keys, packets.seeks[key][first]


def _closed(packets: _Packets) -> bool:
    """Whether every frame is shown after the key frame that it is stored behind, and none is hidden."""
    latest_key = np.maximum.accumulate(np.where(packets.key, np.arange(len(packets.key)), 0))
    return bool((packets.shown >= packets.shown[latest_key]).all() and not packets.hidden.any())


def _from_frames(file: str | PathLike[str], decoder: Decoder, packets: _Packets) -> FrameIndex:
    """The index of a file that has to be decoded for it."""
    first, stamps, checksums, key = None, [], [], []
    for frame in tqdm(decoder.frames(), f"decoding {Path(file).name} once", unit="frame", delay=2):
        first = first or frame
        stamps.append(frame.pts)
        checksums.append(checksum(frame))
        key.append(frame.key_frame)
    if first is None:
        raise InputError(f"{file}: not a readable video file (no frame of it can be decoded)")
    if decoder.damaged:
        raise InputError(f"{file}: cannot be decoded; the file is damaged ({decoder.damaged} packets within it)")
    stream = decoder.stream  # not before: it is another one where the file was opened anew
    known = [stamp for stamp in stamps if stamp is not None]
    timed = len(known) == len(stamps) and all(before < after for before, after in pairwise(known))
    rate = float(stream.average_rate or stream.guessed_rate or USUAL_RATE)
    times = np.array(stamps) * float(tick_of(stream)) if timed else np.arange(len(stamps)) / rate
    known_by_time = timed and packets.container.startswith(TRUE_TIMES)
    if known_by_time:
        keys, seeks = _places(np.array(stamps), packets)
    else:
        keys, seeks = np.flatnonzero(key), packets.seeks[packets.key]
        if len(keys) != len(seeks) or (seeks == NONE).any():  # which frame belongs to which packet is not known
            keys = seeks = np.zeros(0, np.int64)
    return _described(
        file,
        stream,
        first,
        times=times,
        last=(frame.duration or 0) * float(tick_of(stream)) if timed else 0.0,
        closed=False,
        stamps=np.array(stamps if known_by_time else [], np.int64),
        checksums=np.array([] if known_by_time else checksums, np.uint32),
        keys=keys,
        seeks=seeks,
    )


def _described(
    file: str | PathLike[str], stream: VideoStream, first: VideoFrame, times: np.ndarray, last: float, **found: Any
) -> FrameIndex:
    """The index, with what the first frame and the times say.

    Args:
        last: for how many seconds the last frame is shown; 0 where that is not known.
    """
    fps, steady = beat(times, float(tick_of(stream)), float(stream.average_rate or 0))
    converter = FrameConverter(file, stream.sample_aspect_ratio)
    height, width = converter.pixels(first).shape[:2]
    return FrameIndex(
        times=times,
        end=float(times[-1]) + (last or 1 / fps),
        tick=float(tick_of(stream)),
        fps=fps,
        steady=steady,
        height=height,
        width=width,
        alpha=has_alpha(first),
        plain=converter.plain(first),
        **found,
    )
