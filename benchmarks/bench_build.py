"""Builds a bench of video completion from any folder of videos: clips, patches, masks, and the canvases to complete.

    vgen bench build --videos my_videos --out bench
    vgen bench build --videos my_videos --out small --size 128x128 --frames 17 --min-sharpness 50 --min-flow 0.5
    vgen bench build --videos data/metaworld --camera first_person --out robot --size 128x128 --frames 17 --fps 80 \\
        --min-sharpness 20 --min-flow 0.2 --clips 40
    vgen bench canvas --bench small --model nano --out results/nano

It is VideoCanvasBench (arXiv 2510.08555) as its paper describes it, and with its numbers unless they are changed: 100
clips of 77 frames at 15 fps; 900 cases of patches (AnyP2V), 900 of whole images (AnyI2V) and 230 of clips (AnyV2V).

Clips. Every video is tried in an order drawn from --seed, in which captions take turns. A video gives its middle clip,
or else one beside it, that is sharp enough (variance of the Laplacian), moves enough (mean optical flow of Farneback,
pixels a frame) and has no change of scene. Both are measured at the size and the rate of the bench: where --size is
below 384x672, --min-flow wants to be lower in proportion. What is left out is counted by its reason, and where too few
clips pass, the nearest thresholds are said.
Images. Frames 0, 40 and 76 of 77 (the same shares of other lengths) are given alone, in pairs and all three: seven
cases of each clip. Each of them starts a latent of a codec that has one for four frames; --given names other frames.
Pairs and triplets of unrelated images have no true video. AnyP2V gives a patch of each: of every second frame an
object, of the others a random crop of 20 to 60 % of each side.
Objects are found by a segmentation network (--segmenter), or, without one, by motion and GrabCut; where none is found,
a random crop stands in. The manifest says which of them each patch is.
Clips. Inpainting hides an interior rectangle of 20 to 50 % of each side, outpainting 60 to 90 % of the area, on all
frames; a transition joins the first quarter of one clip to the last quarter of an unrelated one.
Prompts are the captions: a .txt beside each video, metadata.csv, metadata.jsonl or --captions; of a data set its tasks.

The same videos and options give the same bench, byte for byte; bench.json names every file with its SHA-256. Clips
are kept without loss. A build that is interrupted goes on where it was when it is started again.
Needs OpenCV: pip install opencv-python-headless.
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from pathlib import Path

from bench_common.options import make_parser
from bench_sets.bench import GROUPS
from bench_sets.build import BENCH, Built, build
from bench_sets.nearest import nearest, reasons, spans
from bench_sets.objects import MotionFinder
from bench_sets.recordings import find_recordings
from bench_sets.settings import BuildSettings

from vgen import checks
from vgen.canvas.spec import parse_size
from vgen.errors import InputError, exit_on_input_error
from vgen.results import check_folder

DEFAULTS = BuildSettings()


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--videos", type=Path, required=True, metavar="FOLDER", help="of videos, or a LeRobot v3 data set")
    add("--out", type=Path, required=True, metavar="BENCH", help="folder for the bench")
    add("--overwrite", action="store_true", help="replace an older bench")
    add("--captions", type=Path, metavar="FILE", help="CSV or JSONL of the videos to take and what they show")
    add("--camera", help="of a LeRobot data set; may be left out where it has one")
    add("--split", help="of a LeRobot data set (default: test)")
    add(
        "--size", default=f"{DEFAULTS.height}x{DEFAULTS.width}", help="HEIGHTxWIDTH of all clips (default: %(default)s)"
    )
    add("--frames", type=int, default=DEFAULTS.frames, help="of a clip: 1 + 4k, 9 or more (default: %(default)s)")
    add("--fps", type=float, default=DEFAULTS.fps, help="frames per second of a clip (default: %(default)g)")
    add("--clips", type=int, default=DEFAULTS.clips, help="to choose at most; all else follows (default: %(default)s)")
    add("--per-video", type=int, default=1, metavar="N", help="clips of one video at most (default: 1)")
    add("--min-sharpness", type=float, default=DEFAULTS.min_sharpness, help="variance of Laplacian (default: 200)")
    add("--min-flow", type=float, default=DEFAULTS.min_flow, help="mean flow, pixels a frame (default: 5)")
    add("--min-seconds", type=float, default=0.0, help="length of a video (default: that of a clip)")
    add("--pairs", type=int, metavar="N", help="of unrelated images (default: half as many as clips)")
    add("--triplets", type=int, metavar="N", help="of unrelated images (default: half as many as clips)")
    add("--clip-pairs", type=int, metavar="N", help="of unrelated clips (default: three for ten clips)")
    add("--given", metavar="A,B,C", help="frames that may be given (default: the first, the middle and the last)")
    add("--segmenter", type=Path, metavar="FOLDER", help="a segmentation model of transformers, that finds objects")
    add("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    height, width = parse_size(args.size)
    named = {name: getattr(args, name) for name in vars(DEFAULTS) if name not in ("height", "width")}
    settings = BuildSettings(height=height, width=width, **{**named, "given": _frames(args.given)})
    check_folder(args.out, BENCH, args.overwrite)
    recordings = find_recordings(args.videos, args.captions, args.camera, args.split)
    finder = MotionFinder()
    if args.segmenter:
        from bench_sets.segmenter import Segmenter

        finder = Segmenter(args.segmenter)
    print(report(build(recordings, settings, finder, args.out, args.overwrite), settings, args.out))


def _frames(text: str | None) -> tuple[int, int, int] | None:
    """The frames that are given. Raises: InputError: they are no three whole numbers."""
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        raise InputError(f"--given {checks.show(text)} must be three frames between commas, such as 2,9,13")
    return int(parts[0]), int(parts[1]), int(parts[2])


def report(built: Built, settings: BuildSettings, out: Path) -> str:
    """What was built and what was left out, in lines to read."""
    search, manifest = built.search, built.manifest
    opened = f"{search.videos} of {built.recordings} videos"
    lines = [f"looked at {len(search.looks)} clips of {opened}: {spans(search)}"]
    lines += [f"left out: {why}" for why in reasons(search, settings)]
    clips = manifest["clips"]
    sources = len({clip["source"] for clip in clips})
    lines.append(f"chosen: {len(clips)} clips of {sources} videos, {settings.frames} frames of {out_size(settings)}")
    if len(clips) < settings.clips and (near := nearest(search, settings)):
        lines.append(f"that is fewer than --clips {settings.clips}; nearest for more: {near}")
    patches = manifest["patches"]
    lines.append("patches: " + ", ".join(f"{count} {name}" for name, count in patches.items()))
    if without := sum(not clip["caption"] for clip in clips):
        lines.append(f"{without} of {len(clips)} clips have no caption: their prompts are empty")
    lines += _group_lines(manifest["cases"])
    lines.append(f"written: {out}; complete it with: vgen bench canvas --bench {out} --model nano --out RESULTS")
    return "\n".join(lines)


def out_size(settings: BuildSettings) -> str:
    return f"{settings.height}x{settings.width} at {settings.fps:g} fps"


def _group_lines(cases: list[dict[str, str]]) -> list[str]:
    """How many cases each group has, and of which kinds; those with one, two and three images are counted together."""
    lines = []
    for group in GROUPS:
        kinds = [case["kind"] for case in cases if case["group"] == group]
        counts = Counter(_told(kind) for kind in kinds)
        lines.append(f"{group}: {len(kinds)} cases: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))
    return lines


def _told(kind: str) -> str:
    if kind in ("inpainting", "outpainting", "transition"):
        return kind
    scenes = "unrelated scenes" if kind.startswith("unrelated-") else "one scene"
    return f"of {scenes}"


if __name__ == "__main__":
    exit_on_input_error(main)
