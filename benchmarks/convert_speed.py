"""How fast is a data set converted, beside what its frames take to decode and nothing else?

    vgen bench convert lerobot21 --from data/old --size 128x128
    vgen bench convert folder --from clips --layout position4 --repeats 5

Both take turns in one process: `vgen data convert` of the whole source into a temporary folder, with one worker, and a
plain loop that decodes every picture of the source's files, videos by PyAV and images by Pillow, and drops it. Frames
are those of all cameras. A source that is drawn (robosuite, libero) or that keeps its pictures inside other files
(bridge_rlds) has nothing to decode plainly, which is told.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import av
from bench_common.options import add_out, check_counts, check_free, make_parser
from bench_common.report import number, plain_args, publish, row, versions
from PIL import Image

from vgen.canvas.spec import parse_size
from vgen.errors import exit_on_input_error
from vgen.media.video import VIDEO_SUFFIXES
from vgen.sources.conversion.convert import Conversion, convert
from vgen.sources.source import Reading, read_options

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


def decoded(folder: Path) -> int:
    """Decodes every picture below a folder, as far as its files can be read; how many they were."""
    frames = 0
    for file in sorted(folder.rglob("*")):
        try:
            if file.suffix.lower() in VIDEO_SUFFIXES:
                with av.open(str(file)) as container:
                    for frame in container.decode(container.streams.video[:1]) if container.streams.video else ():
                        frame.to_ndarray(format="rgb24")
                        frames += 1
            elif file.suffix.lower() in IMAGE_SUFFIXES:
                with Image.open(file) as image:
                    image.convert("RGB").load()
                frames += 1
        except (OSError, ValueError, av.error.FFmpegError, Image.DecompressionBombError):
            continue
    return frames


def converted(source: str, reading: Reading, size: tuple[int, int] | None) -> int:
    """Converts a source into a folder that is then removed; how many frames it wrote, of all cameras.

    Raises:
        InputError: as `convert`.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = convert(Conversion(source, reading, Path(folder, "out"), size, splits={}))
    return report.frames * len(report.settings["cameras"])


def run(args: argparse.Namespace) -> dict:
    """Frames and seconds of every turn, and the medians."""
    reading = Reading(args.folder, layout=args.layout, more=read_options(args.options))
    size = parse_size(args.size) if args.size else None
    turns = []
    for _ in range(args.repeats):
        began = time.perf_counter()
        frames = converted(args.source, reading, size)
        middle = time.perf_counter()
        plain = decoded(args.folder)
        turns.append(
            {
                "frames": frames,
                "seconds": middle - began,
                "plain_frames": plain,
                "plain_seconds": time.perf_counter() - middle,
            }
        )
    speeds = [turn["frames"] / turn["seconds"] for turn in turns]
    plain = [turn["plain_frames"] / turn["plain_seconds"] for turn in turns if turn["plain_frames"]]
    ratios = [speed / other for speed, other in zip(speeds, plain, strict=True)] if plain else []
    medians = {
        "frames_per_second": statistics.median(speeds),
        "plain_frames_per_second": statistics.median(plain) if plain else None,
        "ratio": statistics.median(ratios) if ratios else None,
    }
    return {"settings": plain_args(args), "versions": versions(), "turns": turns, **medians}


def table(results: dict) -> str:
    """The medians, to read."""
    settings, turns = results["settings"], results["turns"]
    lines = [row(f"{settings['source']}, {len(turns)} turns", ["frames", "a second"])]
    lines.append(row("  converted", [str(turns[0]["frames"]), number(results["frames_per_second"], 0)]))
    if results["ratio"] is None:
        return "\n".join([*lines, "  nothing below the folder is a video or an image: there is no plain decoding"])
    lines.append(
        row("  plainly decoded", [str(turns[0]["plain_frames"]), number(results["plain_frames_per_second"], 0)])
    )
    return "\n".join([*lines, row("  ratio", ["", number(results["ratio"])])])


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = make_parser(__doc__)
    parser.add_argument("source", metavar="SOURCE", help="as of vgen data convert")
    parser.add_argument("options", nargs="*", metavar="KEY=VALUE", help="options of the source")
    parser.add_argument("--from", type=Path, required=True, dest="folder", metavar="DIR", help="the data set")
    parser.add_argument("--layout", metavar="NAME", help="of the trajectory, where the source does not fix it")
    parser.add_argument("--size", metavar="HxW", help="of the frames (default: as they are)")
    parser.add_argument("--repeats", type=int, default=3, help="turns (default: 3)")
    add_out(parser)
    return parser.parse_args(arguments)


def main() -> None:
    """Converts, decodes, and prints the speeds."""
    logging.basicConfig(level=logging.WARNING)
    args = parse_args()
    check_counts(args, "repeats")
    check_free(args)
    results = run(args)
    publish(results, table(results), args.out)


if __name__ == "__main__":
    exit_on_input_error(main)
