"""The subcommand `vgen data check`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vgen.commands.options import add_overwrite

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from vgen.errors import Parser

ABOUT = """Is a data set what it says? A table of its columns, what looks like another unit, sign or order, and the
delay between motion in the picture and in the trajectory; with --out, episodes with their trajectory drawn.

    vgen data check data/bridge --out checks/bridge
    vgen data check data/bridge --episodes 40 --camera image_1
    vgen data check data/bridge --episodes 3 17 20:25 --out checks/some
"""


def add(choices: _SubParsersAction[Parser]) -> None:
    """Its options."""
    about = "is a data set what it says: ranges, units, signs, and the delay between picture and trajectory"
    raw = argparse.RawDescriptionHelpFormatter
    parser = choices.add_parser("check", help=about, description=ABOUT, formatter_class=raw, allow_abbrev=False)
    parser.add_argument("folder", type=Path, metavar="DATASET", help="LeRobot v3 folder")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the report and the drawn episodes")
    about = (
        "whose frames are looked at: how many (default: 12), or names of takes, numbers or FIRST:STOP; those are drawn"
    )
    parser.add_argument("--episodes", nargs="+", default=[], metavar="EPISODE", help=about)
    about = "the trajectory; default: observation.state, or the first column whose layout the data set says"
    parser.add_argument("--column", metavar="NAME", help=about)
    parser.add_argument("--layout", metavar="NAME", help="of that column; default: as the data set says")
    parser.add_argument("--camera", metavar="NAME", help="whose frames are looked at; default: the first")
    add_overwrite(parser, "checks")
    parser.set_defaults(run=run)


def run(options: dict[str, Any]) -> None:
    """Checks, and prints what was found."""
    from vgen.sources.check.check import check

    print("\n".join(check(**options).lines()))
