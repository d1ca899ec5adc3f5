"""Data sets: those of others and videos of your own hands, to LeRobot v3; checked; packed for another machine.

    vgen data convert folder --from clips --out data/mine --layout position4 --size 128x128
    vgen data convert bridge --from bridge/raw --out data/bridge --size 256x256 --workers 8
    vgen data convert bridge --from bridge/raw --out shards/1 --shard 1/4 --workers 8
    vgen data join shards/1 shards/2 shards/3 shards/4 --out data/bridge
    vgen data hands cup.mp4 door.mov --out data/mine --text "pick up the cup"
    vgen data check data/bridge --out checks/bridge
    vgen data pack data/metaworld data/adroit --out pack --max-mb 45
    vgen data pack data/metaworld data/metaworld_cf --out pack --fps metaworld=40 metaworld_cf=40 --splits train
    vgen data unpack pack --out data

`vgen data convert --help` lists the sources. What packing loses is measured and printed. What is unpacked is trained on
as the data sets that were packed (data.dataset: data/metaworld), on a machine without simulators, PyAV and decord.
Packing and unpacking need OpenCV (pip install opencv-python-headless).
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from typing import TypeAlias

from vgen.commands.data import check, conversions, hands, packs
from vgen.commands.options import make_parser
from vgen.errors import Parser

Choices: TypeAlias = "argparse._SubParsersAction[LateHelp]"


class LateHelp(Parser):
    """A parser whose last words of help are made when they are asked for, as they take imports."""

    late: Callable[[], str] | None = None

    def format_help(self) -> str:
        """Called by argparse."""
        self.epilog = self.late() if self.late else self.epilog
        return super().format_help()


def parser() -> Parser:
    """The options of all of them."""
    parser = make_parser("data", __doc__)
    choices = parser.add_subparsers(metavar="WHAT", title="what", dest="what", required=True, parser_class=LateHelp)
    for group in (conversions, hands, check, packs):
        group.add(choices)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Does what the options say."""
    found = parser()
    parsed, rest = found.parse_known_args(arguments)
    options = vars(parsed)
    run, what = options.pop("run"), options.pop("what")
    if what == conversions.CONVERT:  # options of a source, wherever they stand
        late = [text for text in rest if "=" in text and not text.startswith("-")]
        options["more"] += late
        rest = [text for text in rest if text not in late]
    if rest:
        choices = next(each for each in found._actions if isinstance(each, argparse._SubParsersAction))
        choices.choices[what].error(f"unrecognized arguments: {' '.join(rest)}")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run(options)
