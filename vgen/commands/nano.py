"""Makes nano anew: data, codec, canvas, hand, Stage I, benchmarks, and a model folder with its card.

    vgen nano --profile cpu --out runs/nano_cpu
    vgen nano --profile gpu --stage data          # before a machine with a GPU is at hand: records, and decodes
    vgen nano --profile gpu --minutes 9
    vgen nano --profile gpu --dry-run

Whatever ends it, a kill too: the same command goes on where it was. --minutes is divided among the stages, but for the
data; what one leaves, the later ones have. OUT/model is a whole model from the first export on.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

from vgen.commands.options import make_parser
from vgen.errors import InputError, Parser, unknown_key


def parser() -> Parser:
    """The options."""
    parser = make_parser("nano", __doc__)
    parser.add_argument("--profile", default="cpu", help="cpu, gpu, or a YAML file like theirs (default: cpu)")
    parser.add_argument("--minutes", type=float, help="for all stages but the data; default: the profile's")
    parser.add_argument("--out", type=Path, help="folder for all that is made (default: runs/nano_PROFILE)")
    parser.add_argument("--stage", help="run this one alone: data, codec, canvas, hand, state, bench, export")
    parser.add_argument("--pack", type=Path, help="folder of packed data, instead of recording")
    parser.add_argument("--dry-run", action="store_true", help="print what it would do, take and need, and stop")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values that replace the profile's")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Makes the model, as the options say."""
    options = parser().parse_intermixed_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if options.minutes is not None and not 0 < options.minutes < math.inf:
        raise InputError(f"--minutes {options.minutes:g} is no number of minutes; give 1 or more")
    from vgen.reproduce.profile import STAGES, load_profile

    minutes = [] if options.minutes is None else [f"minutes={options.minutes}"]
    profile = load_profile(options.profile, [*options.overrides, *minutes])
    if options.stage is not None and options.stage not in STAGES:
        raise unknown_key(options.stage, STAGES, "the stages")
    if options.stage is not None and options.stage not in profile.stages:
        rule = f"has no share of the minutes of {options.profile}; give it one, such as {options.stage}.share=0.2"
        raise InputError(f"--stage {options.stage} {rule}")
    out = options.out or Path("runs") / f"nano_{Path(options.profile).stem}"
    from vgen.reproduce.stages import Way

    way = Way(profile, out, options.pack)
    if options.dry_run:
        from vgen.reproduce.estimate import plan

        for line in plan(way, options.stage):
            print(line)
        return
    ended = way.run(options.stage)
    print(ended or f"done: {f'stage {options.stage}, in {out}' if options.stage else out / 'model'}")
