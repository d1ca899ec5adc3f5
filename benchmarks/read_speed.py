"""How fast are video files read, and are the frames the right ones? vgen's reader beside decord, a plain loop over
PyAV and, where it is installed, torchcodec, in one process, taking turns.

    python benchmarks/read_speed.py
    python benchmarks/read_speed.py --quick
    python benchmarks/read_speed.py --sizes 640x360 --rounds 9
    python benchmarks/read_speed.py --videos recordings/

Without --videos, films of 10 s are made in a temporary folder: H.264 with groups of 8, 60 and 250 pictures, with and
without B-frames, HEVC with closed and open groups, VP9 and AV1. Each picture carries its number.

Measured, on one thread a reader, files being open: frames per second in clips of 17 frames at random places, and from
the first to the last frame in runs of 17; the median over the rounds. `ratio` is vgen's speed over decord's in the same
round (median). `right` is the share of frames that were the ones asked for. `index` is what vgen needs once for a file,
before its first frame. The memory is how far a process grows that reads 60 clips of a film of 10 s, or of 10 minutes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path

import av
import numpy as np
from bench_common.numbered import number_of, picture
from bench_common.options import check_counts, make_parser
from bench_common.priority import usual_priority
from PIL import Image

from vgen.errors import InputError, exit_on_input_error
from vgen.media.fast import gives_the_same
from vgen.media.index import make_index
from vgen.media.video import VIDEO_SUFFIXES, VideoFile

CLIP = 17
RATE = 30
FRAMES = 10 * RATE
CLIPS = 8  # of a round
LOOPS = 60  # 10 s become 10 minutes
MEMORY_CLIPS = 60
SIZES = ("256x256", "640x360", "1920x1080")
TARGET = 0.9  # of decord's speed, where decord is right
ALIKE = 0.5  # of 255: how far apart two conversions of one frame may be in a small picture of it
SMALL = (32, 18)
STATUS = Path("/proc/self/status")  # of Linux

Reader = Callable[[Sequence[int]], np.ndarray]  # frame numbers to uint8 [K, H, W, 3]


@dataclass(frozen=True)
class Film:
    """A film to make: its container, encoder and the encoder's options."""

    suffix: str
    codec: str
    options: dict[str, str]


def _h264(gop: int, b_frames: int) -> Film:
    return Film("mp4", "libx264", {"preset": "veryfast", "g": str(gop), "bf": str(b_frames), "crf": "23"})


def _hevc(open_gop: int) -> Film:
    parameters = f"log-level=none:keyint=60:min-keyint=60:bframes=3:open-gop={open_gop}"
    return Film("mp4", "libx265", {"preset": "ultrafast", "x265-params": parameters})


FILMS = {
    **{f"h264_g{gop}_b{b_frames}": _h264(gop, b_frames) for gop in (8, 60, 250) for b_frames in (0, 3)},
    "hevc_closed": _hevc(0),
    "hevc_open": _hevc(1),
    "vp9": Film("webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "g": "60", "b": "2M"}),
    "av1": Film("mp4", "libsvtav1", {"preset": "10", "g": "60", "crf": "20"}),
}
QUICK = ("h264_g8_b0", "h264_g60_b3", "hevc_open")


@dataclass
class ReaderResult:
    """What one reader did with one file: frames per second of each round, and how many frames were right."""

    clips: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    right: int = 0
    frames: int = 0
    failure: str | None = None


@usual_priority()
def make_film(path: Path, film: Film, size: tuple[int, int], frames: int | None = None) -> Path:
    """Writes a film, of FRAMES pictures unless told otherwise; they are drawn at a quarter of the size, as real ones
    are smooth too."""
    height, width = size
    with av.open(str(path), "w") as out:
        stream = out.add_stream(film.codec, rate=RATE, options=film.options)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for number in range(frames or FRAMES):
            drawn = av.VideoFrame.from_ndarray(picture(number, (height // 4, width // 4)), format="rgb24")
            frame = drawn.reformat(width, height, "yuv420p")
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def loop_film(path: Path, target: Path, loops: int) -> Path:
    """Writes a film that shows another so many times: its packets are copied."""
    with av.open(str(path)) as source, av.open(str(target), "w") as out:
        origin = source.streams.video[0]
        stream = out.add_stream_from_template(origin)
        length = round(origin.frames / RATE / origin.time_base)
        for turn in range(loops):
            source.seek(0)
            for packet in source.demux(origin):
                if packet.size:
                    packet.pts, packet.dts, packet.stream = (
                        packet.pts + turn * length,
                        packet.dts + turn * length,
                        stream,
                    )
                    out.mux(packet)
    return target


def open_vgen(path: Path) -> Reader:
    return VideoFile(path).read


def open_decord(path: Path) -> Reader:
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    reader = decord.VideoReader(str(path), num_threads=1)
    return lambda numbers: reader.get_batch(list(numbers)).asnumpy()


def open_pyav(path: Path) -> Reader:
    """What a script would do: seek to the time of the first frame, and decode on from there."""
    container = av.open(str(path))
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1
    begin, ticks = stream.start_time or 0, 1 / (stream.average_rate * stream.time_base)
    frames, coming = container.decode(stream), 0

    def read(numbers: Sequence[int]) -> np.ndarray:
        nonlocal frames, coming
        first = begin + round(numbers[0] * ticks)
        if numbers[0] != coming:
            container.seek(first, stream=stream)
            frames = container.decode(stream)
        found: list[np.ndarray] = []
        while len(found) < len(numbers):
            frame = next(frames)
            if frame.pts is None or frame.pts >= first:
                found.append(frame.to_ndarray(format="rgb24"))
        coming = numbers[-1] + 1
        return np.stack(found)

    return read


def open_torchcodec(path: Path) -> Reader:
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=1)
    return lambda numbers: decoder.get_frames_at(list(numbers)).data.numpy()


READERS = {"vgen": open_vgen, "decord": open_decord, "pyav": open_pyav}
if find_spec("torchcodec"):
    READERS["torchcodec"] = open_torchcodec


class Truth:
    """Which frames are right: by the number in the picture, or, of other people's files, by small pictures of all
    frames as FFmpeg decodes them in order."""

    def __init__(self, path: Path, numbered: bool) -> None:
        self._numbered = numbered
        if not numbered:
            with av.open(str(path)) as container:
                small = [_small(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
            self._small = np.stack(small)

    def right(self, numbers: Sequence[int], pixels: np.ndarray) -> int:
        """How many of the frames that were read are those of the numbers."""
        return sum(self._is(number, frame) for number, frame in zip(numbers, pixels, strict=True))

    def _is(self, number: int, pixels: np.ndarray) -> bool:
        if self._numbered:
            return number_of(pixels) == number
        apart = np.abs(self._small - _small(pixels)).mean(axis=(1, 2))
        return bool(apart[number] <= apart.min() + ALIKE)


def _small(pixels: np.ndarray) -> np.ndarray:
    """float32 grey of `SMALL`."""
    image = Image.fromarray(pixels).convert("L").resize(SMALL, Image.Resampling.BOX)
    return np.asarray(image, dtype=np.float32)


def measure(path: Path, frames: int, truth: Truth, rounds: int) -> dict[str, ReaderResult]:
    """All readers on one file, in turns; chance orders those of a round."""
    results, readers = {name: ReaderResult() for name in READERS}, {}
    for name, opener in READERS.items():
        with _failures(results[name]):
            readers[name] = opener(path)
    whole = [range(start, min(start + CLIP, frames)) for start in range(0, frames, CLIP)]
    for number in range(rounds):
        chance = random.Random(number)
        starts = [chance.randrange(max(1, frames - CLIP + 1)) for _ in range(CLIPS)]
        clips = [range(start, min(start + CLIP, frames)) for start in starts]
        for name in chance.sample(list(readers), len(readers)):
            result = results[name]
            if result.failure is None:
                with _failures(result):
                    result.clips.append(_speed(readers[name], clips, truth, result))
                    result.whole.append(_speed(readers[name], whole, truth, result))
    return results


@contextmanager
def _failures(result: ReaderResult) -> Iterator[None]:
    """Whatever a reader raises is its result."""
    try:
        yield
    except Exception as error:
        result.failure = (str(error).rpartition("Check failed: ")[2].strip().splitlines() or [type(error).__name__])[-1]


def _speed(read: Reader, parts: Sequence[range], truth: Truth, result: ReaderResult) -> float:
    """Frames per second; what is right is counted while the clock stands."""
    seconds = 0.0
    for numbers in parts:
        began = time.perf_counter()
        pixels = read(numbers)
        seconds += time.perf_counter() - began
        result.right += truth.right(numbers, pixels)
        result.frames += len(numbers)
    return sum(map(len, parts)) / seconds


def index_seconds(path: Path) -> float:
    """What vgen needs for a file that it has not seen before."""
    began = time.perf_counter()
    gives_the_same(path, make_index(path))
    return time.perf_counter() - began


def _grow(path: Path, found: Connection) -> None:
    before = _peak()
    file, chance = VideoFile(path), random.Random(0)
    for _ in range(MEMORY_CLIPS):
        start = chance.randrange(file.info.frames - CLIP)
        file.read(range(start, start + CLIP))
    found.send((file.info.frames, _peak() - before))


def _peak() -> int:
    """The peak of this process's memory, in kB: what getrusage says begins with the memory of the parent."""
    return next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))


def memory(path: Path) -> tuple[int, float]:
    """Frames of a file, and by how many MB a process of its own grows at most that reads clips of it."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_grow, args=(path, there))
    process.start()
    frames, kilobytes = here.recv()
    process.join()
    return frames, kilobytes / 1024


def ratio(own: list[float], other: list[float]) -> float:
    """The median over rounds of one reader's speed over another's."""
    return statistics.median(one / two for one, two in zip(own, other, strict=True))


def rows(name: str, results: dict[str, ReaderResult], seconds: float) -> list[str]:
    """The lines of the table for one file."""
    lines, decord = [], results["decord"]
    for reader, result in results.items():
        if result.failure:
            lines.append(f"{name:28} {reader:10} {result.failure[:70]}")
            continue
        cells = [f"{statistics.median(speeds):9.0f}" for speeds in (result.clips, result.whole)]
        if reader == "vgen" and not decord.failure:
            pairs = (result.clips, decord.clips), (result.whole, decord.whole)
            against = [f"{ratio(*pair):6.2f}" for pair in pairs]
        else:
            against = ["      "] * 2
        last = f"{1000 * seconds:8.0f}" if reader == "vgen" else ""
        share = f"{100 * result.right / result.frames:6.1f} %"
        lines.append(f"{name:28} {reader:10} {cells[0]} {against[0]} {cells[1]} {against[1]} {share} {last}".rstrip())
    return lines


HEADER = (
    f"{'file':28} {'reader':10} {'clips/s':>9} {'ratio':>6} {'whole/s':>9} {'ratio':>6} {'right':>8} {'index ms':>8}"
)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line.

    Raises:
        InputError: an option that makes no sense.
    """
    parser = make_parser(__doc__)
    parser.add_argument("--videos", type=Path, metavar="FOLDER", help="measure the videos there; they are only read")
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="WxH", help="of films (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each reader (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="three films of the smallest size, and two rounds at most")
    args = parser.parse_args(argv)
    check_counts(args, "rounds")
    args.sizes = [_size(text) for text in (args.sizes[:1] if args.quick else args.sizes)]
    args.rounds = min(args.rounds, 2) if args.quick else args.rounds
    return args


def _size(text: str) -> tuple[int, int]:
    """(H, W) of "WxH"."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and min(int(width), int(height)) >= 64):
        raise InputError(f"--sizes {text} is not WIDTHxHEIGHT of 64 or more; for example 640x360")
    return int(height) // 4 * 4, int(width) // 4 * 4


def films(args: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Path, bool]]:
    """Names and paths of the files to measure, and whether their pictures carry numbers."""
    if args.videos is not None:
        found = sorted(path for path in args.videos.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
        if not found:
            raise InputError(f"{args.videos}: holds no video")
        yield from ((path.name[-28:], path, False) for path in found)
        return
    for height, width in args.sizes:
        for name in QUICK if args.quick else FILMS:
            film = FILMS[name]
            path = make_film(folder / f"{name}.{film.suffix}", film, (height, width))
            yield f"{width}x{height} {name}", path, True
            path.unlink()


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder, ratios = Path(temporary), []
        print(HEADER)
        for name, path, numbered in films(args, folder):
            seconds = index_seconds(path)
            results = measure(path, VideoFile(path).info.frames, Truth(path, numbered), args.rounds)
            print("\n".join(rows(name, results, seconds)), flush=True)
            own, decord = results["vgen"], results["decord"]
            if not (own.failure or decord.failure) and decord.right == decord.frames:
                ratios += [ratio(own.clips, decord.clips), ratio(own.whole, decord.whole)]
        if ratios:
            print(f"vgen over decord, where decord is right: {min(ratios):.2f} at least; target: {TARGET}")
        if args.videos is None and STATUS.exists():
            short = make_film(folder / "short.mp4", FILMS["h264_g60_b0"], args.sizes[0])
            for path in (short, loop_film(short, folder / "long.mp4", LOOPS)):
                frames, grown = memory(path)
                print(f"memory: {grown:.0f} MB more for {MEMORY_CLIPS} clips of a film of {frames / RATE:.0f} s")
        print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    exit_on_input_error(main)
