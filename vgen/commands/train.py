"""Trains what a recipe says: vgen train configs/train/nano_codec.yaml [key=value ...]

A run whose folder holds a checkpoint goes on from it. Under a launcher (torchrun, deepspeed) every rank runs this.
Ctrl-C or SIGTERM writes a checkpoint and ends with status 0, told as "stopped at step N of M"; a second Ctrl-C ends at
once with status 130, and the run then goes on from the checkpoint before.
With --dry-run it prints what the run would do and need (weights, clips, memory per GPU, steps), writes nothing, and
refuses what the run would refuse. With --prepare it encodes what the run needs of its data, on all nodes, and stops.

Exit codes: 0 done, or stopped in order; 1 the run cannot go on; 2 something that you gave cannot be used; 75 something
outside stopped it, such as a full disk: once that is mended, the same command goes on; 130 ended at once by Ctrl-C.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vgen.commands.options import make_parser
from vgen.errors import InputError, Parser

if TYPE_CHECKING:
    from vgen.train.config import TrainConfig


def parser() -> Parser:
    """The options."""
    parser = make_parser("train", __doc__)
    parser.add_argument("recipe", help="a YAML file, as in configs/train")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values that replace the recipe's")
    parser.add_argument("--local_rank", type=int, default=0, help=argparse.SUPPRESS)  # given by the deepspeed launcher
    parser.add_argument("--launch", help=argparse.SUPPRESS)  # by which launch/train_multinode.sh knows its own ranks
    ends = parser.add_mutually_exclusive_group()
    ends.add_argument("--dry-run", action="store_true", help="print the plan of the run and stop")
    ends.add_argument("--prepare", action="store_true", help="encode clips and captions, on all nodes, and stop")
    parser.add_argument("--gpus", type=int, help="how many --dry-run plans for; default: the ranks, or the GPUs here")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains, as the options say."""
    options = parser().parse_intermixed_args(arguments)
    if options.gpus is not None and not options.dry_run:
        rule = "is what --dry-run plans for; a run has as many ranks as its launcher starts: leave it out"
        raise InputError(f"--gpus {options.gpus} {rule}")
    first = os.environ.get("RANK", "0") == "0"
    logging.basicConfig(
        level=logging.INFO if first else logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )
    from vgen.train.config import load_config
    from vgen.train.requirements import check_data, check_results

    config = load_config(options.recipe, options.overrides)
    check_results(config, options.recipe)
    if options.dry_run:
        if first:
            print_plan(config, options.gpus)
        return
    check_data(config, options.recipe)
    from vgen.train.distributed import end_rank  # late, so that a wrong recipe is refused at once
    from vgen.train.loop import train
    from vgen.train.stop import Stop

    stop = Stop()
    run = train(config, stop, options.prepare)
    if first:
        print(f"{stop.report or ('prepared' if options.prepare else 'done')}: {run}")
    end_rank()


def print_plan(config: TrainConfig, gpus: int | None) -> None:
    """Prints what a run would do and need.

    Raises:
        InputError: the run would be refused.
    """
    import torch

    from vgen.train.dry_run import dry_run, report

    ranks = int(os.environ.get("WORLD_SIZE", "0")) or torch.cuda.device_count() or 1
    run = dry_run(config, ranks if gpus is None else gpus)
    for line in report(run, config):
        print(line)
    run.check_data()
