"""Measure with a benchmark of vgen: vgen bench NAME [options]; vgen bench NAME --help tells more of each.

    vgen bench canvas --data data/metaworld --model nano --split test
    vgen bench train --recipe configs/train/nano_canvas.yaml

The files are those of benchmarks/, which may also be run one by one: python benchmarks/canvas_bench.py --help
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence

from vgen import shipped
from vgen.commands.options import make_parser
from vgen.errors import Parser

FILES = {
    "build": ("bench_build", "a bench of video completion, from any folder of videos"),
    "canvas": ("canvas_bench", "how well a canvas model completes videos, beside simple baselines"),
    "compare": ("bench_compare", "two or more results of one bench, with their differences and intervals"),
    "still": ("still_bench", "how long a picture stays what it is that is given alone, by prompt"),
    "codec": ("codec_bench", "how well a codec holds clips and pictures, in image mode and in video mode"),
    "given": ("given_bench", "what more conditions bring, a clip or its frames, strength, and pixels put back"),
    "long": ("long_bench", "what becomes of colours, sharpness and identity in videos of 1,000 frames; loops"),
    "sets": ("sets_bench", "whether FVD and KVD put sets of clips in the order that they must"),
    "ego": ("ego_bench", "how well a model follows, plays, predicts and explains trajectories"),
    "ablations": ("ego_ablations", "a table of several ego runs"),
    "paradigms": ("paradigms", "rival ways of conditioning, trained alike on one backbone, and a table of them"),
    "train": ("train_speed", "how fast a recipe trains here"),
    "conditions": ("conditions_speed", "what conditions cost, computed at every step or remembered"),
    "gpu": ("gpu_check", "whether vgen does on this GPU what it should, and how fast"),
    "read": ("read_speed", "how fast and how exactly videos are read here"),
    "convert": ("convert_speed", "how fast a data set is converted, beside plain decoding of its frames"),
    "crash": ("crash_test", "runs that are killed, on full disks, damaged and stopped"),
    "fuzz": ("fuzz_inputs", "commands on damaged and odd inputs"),
    "golden": ("golden", "values that a change of the code must leave as they are; of a checkout"),
    "walks": ("walks", "how often a command's way through the code comes back to a file; of a checkout"),
}


def parser() -> Parser:
    """The choice of a benchmark; its own options are those of its file."""
    parser = make_parser("bench", __doc__)
    choices = parser.add_subparsers(metavar="NAME", title="benchmarks", dest="name", required=True)
    for name, (_, about) in FILES.items():
        choices.add_parser(name, help=about, add_help=False)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a benchmark in this process, as if its file had been called."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    name = parser().parse_args(given[:1]).name
    folder = shipped.folder("benchmarks")
    sys.path.insert(0, str(folder))  # where the files find what they share
    sys.argv = [f"vgen bench {name}", *given[1:]]
    runpy.run_path(str(folder / f"{FILES[name][0]}.py"), run_name="__main__")
