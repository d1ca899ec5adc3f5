"""A video file, opened by PyAV: its stream, and the frames that it shows, in order, from any place on."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from os import PathLike, path
from typing import cast

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vgen.errors import InputError

# What may be opened. Others of FFmpeg's would read text as pictures, or follow a list to other files and hosts.
FORMATS = (
    "mov,matroska,avi,mpeg,mpegts,mpegvideo,m4v,h264,hevc,obu,ivf,gif,apng,flv,asf,ogg,mxf,dv,nut,yuv4mpegpipe,mjpeg"
)
MAX_PIXELS = 2**28  # of a frame; more is a damaged header, or a trap
PICTURES = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")  # brands of ISO files
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders of these leave the alpha out


def open_container(file: str | PathLike[str]) -> tuple[InputContainer, VideoStream]:
    """Opens a video file and finds the stream that it shows: the first that is not a cover picture.

    Raises:
        InputError: there is no such file, or it holds no video.
    """
    if not path.isfile(file):
        raise InputError(f"{file}: no such video file")
    if _is_picture(file):
        raise InputError(f"{file}: a picture, animated or not, and no video; vgen.media.source.open_clip reads those")
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    try:
        container = av.open(f"file:{path.abspath(file)}", container_options=options, metadata_errors="ignore")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{file}: not a readable video file ({reason_of(error)})") from error
    still = Disposition.attached_pic | Disposition.still_image
    stream = next((each for each in container.streams.video if not each.disposition & still), None)
    if stream is None or stream.codec_context is None:
        container.close()
        raise InputError(f"{file}: holds no video" if stream is None else f"{file}: its codec is not known")
    return container, stream


def tick_of(stream: VideoStream) -> Fraction:
    """How many seconds one step of a stream's timestamps takes."""
    assert stream.time_base is not None  # FFmpeg gives one to every stream that it opens
    return stream.time_base


def _is_picture(file: str | PathLike[str]) -> bool:
    """Whether a file is a WebP or of the kin of AVIF, of which FFmpeg would see the first picture or none."""
    try:
        with open(file, "rb") as data:
            head = data.read(12)
    except OSError:
        return False
    return (head[:4], head[8:]) == (b"RIFF", b"WEBP") or (head[4:8] == b"ftyp" and head[8:] in PICTURES)


def reason_of(error: BaseException) -> str:
    """An error of FFmpeg's in a few words."""
    said = getattr(error, "strerror", None) or str(error)
    return (said.strip().splitlines() or [type(error).__name__])[0]


class Decoder:
    """The frames of a file in the order in which they are shown; frames that an edit list hides are not among them.

    Raises:
        InputError: as `open_container`.

    Attributes:
        stream: PyAV's; another one, and the old one gone, once frames were begun anew.
        damaged: packets between the first and the latest frame since the last start that could not be decoded. What
            fails before the first was cut off from what it needs, and what fails after the last is where a file ends.
    """

    def __init__(self, file: str | PathLike[str]) -> None:
        self._file = file
        self._open()
        self._moved = False  # whether anything was read
        self.damaged = 0

    def frames(self, since: int | None = None) -> Iterator[VideoFrame]:
        """Frames from a place on; only the latest such iterator may be used.

        Args:
            since: a timestamp of the stream; decoding begins at the key frame there, or at one before. None: at the
                beginning of the file.
        """
        self._start(since)
        self.damaged, failed, begun = 0, 0, False
        for packet in self._packets():
            try:
                frames = self._context.decode(packet)
            except av.FFmpegError:  # as players do, go on with the next
                failed += 1
                continue
            for frame in frames:
                self.damaged += failed if begun else 0
                failed, begun = 0, True
                yield frame

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    def _open(self) -> None:
        self._container, self.stream = open_container(self._file)
        self._context = _context(self.stream)

    def _start(self, since: int | None) -> None:
        if since is not None:
            self._moved = True
            try:
                self._container.seek(since, stream=self.stream)
            except av.FFmpegError:  # some containers cannot go to a time: from the beginning, then
                pass
            else:
                self._context.flush_buffers()
                return
        if self._moved:  # no time is sure to be that of the first packet
            self.close()
            self._open()
        self._moved = True

    def _packets(self) -> Iterator[av.Packet[VideoStream] | None]:
        """The packets that hold data, and None at the end; a file that breaks off ends there."""
        packets = self._container.demux(self.stream)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.FFmpegError):
                yield None
                return
            if packet.size:
                yield packet


def _context(stream: VideoStream) -> av.VideoCodecContext:
    """A decoder of the stream, on one thread: training reads many files side by side."""
    context = stream.codec_context
    if stream.metadata.get("alpha_mode") == "1" and context.name in ALPHA_DECODERS:
        context = cast(av.VideoCodecContext, av.CodecContext.create(ALPHA_DECODERS[context.name], "r"))
    context.thread_count = 1
    context.options = {"max_pixels": str(MAX_PIXELS)}
    return context
