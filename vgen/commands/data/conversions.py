"""`vgen data convert` and `vgen data join`: data sets of others, to LeRobot v3."""

from __future__ import annotations

import argparse
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vgen.commands.options import add_overwrite
from vgen.sources import SOURCES, kind, missing_extra, summary
from vgen.sources.conversion.splits import DEFAULT

if TYPE_CHECKING:
    from vgen.commands.data import Choices
    from vgen.sources.conversion.report import Report

CONVERT = "convert"
ABOUT = """A data set in the format of its makers, to a LeRobot v3.0 folder in vgen's layouts.

    vgen data convert folder --from clips --out data/mine --layout position4 --size 128x128
    vgen data convert folder --from clips --out data/mine delay=0.12

Takes that are done wait in DIR.converting: a conversion that was broken off goes on when it is started again. A take
that is damaged is left out and counted; the report is printed, and kept in meta/conversion.json. docs/sources.md tells
how each source must lie, and what is read of it.
"""
ABOUT_JOIN = """The shards that several machines have converted (`vgen data convert --shard`), as the one data set that
a single machine would have made. All of them must be there, once, and made with the same settings.

    vgen data join shards/1 shards/2 shards/3 shards/4 --out data/bridge
"""


def add(choices: Choices) -> None:
    """Adds both commands."""
    raw: dict[str, Any] = {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter}
    about = "a data set of others, to LeRobot v3"
    convert = choices.add_parser(CONVERT, help=about, description=ABOUT, **raw)
    convert.late = _list_of_sources
    _add_convert(convert)
    convert.set_defaults(run=_convert)
    about = "the shards of a conversion, as one data set"
    join = choices.add_parser("join", help=about, description=ABOUT_JOIN, **raw)
    join.add_argument("shards", nargs="+", type=Path, metavar="SHARD", help="folders of `vgen data convert --shard`")
    join.add_argument("--out", type=Path, required=True, metavar="DIR", help="data set to make")
    add_overwrite(join, "data sets")
    join.set_defaults(run=_join)


def _add_convert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", choices=list(SOURCES), metavar="SOURCE", help="one of those below")
    parser.add_argument("--from", type=Path, required=True, metavar="DIR", help="the data set as its makers lay it out")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="data set to make")
    about = "those that are wanted, by the source's names; default: all"
    parser.add_argument("--cameras", nargs="+", default=[], metavar="NAME", help=about)
    parser.add_argument("--layout", metavar="NAME", help="of the trajectory, where the source does not fix it")
    parser.add_argument("--fps", type=int, metavar="N", help="frames per second to write; default: the source's own")
    about = "of the frames: they are scaled until they cover it and cut around their middle, and what is told in the "
    about += "image (boxes, intrinsics) goes with them; default: as they are"
    parser.add_argument("--size", metavar="HxW", help=about)
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes: one per core; default: 1")
    about = "the I-th of N parts, for as many machines; `vgen data join` makes one data set of them"
    parser.add_argument("--shard", metavar="I/N", help=about)
    about = "share of the scenes or participants in each split beside train, where the source's makers say none; "
    about += f"several with commas, test=0 for none; default: {DEFAULT}"
    parser.add_argument("--splits", default=DEFAULT, metavar="NAME=SHARE", help=about)
    add_overwrite(parser, "data sets")
    about = "options of the source, see below"
    parser.add_argument("more", nargs="*", metavar="KEY=VALUE", help=about)


def _list_of_sources() -> str:
    """What each source is, and its options; what is missing for it, where it cannot be imported."""
    lines = ["sources, and their options:"]
    for name in SOURCES:
        lines.append(textwrap.fill(summary(name), 118, initial_indent=f"  {name:12}", subsequent_indent=" " * 14))
        if not missing_extra(name):
            told = [f"{key}=VALUE: {about}" for key, about in kind(name).options.items()]
            lines += [textwrap.fill(each, 118, initial_indent=" " * 14, subsequent_indent=" " * 18) for each in told]
    return "\n".join(lines)


def _convert(options: dict[str, Any]) -> None:
    from vgen.data.buckets import parse_sizes
    from vgen.sources.conversion.convert import Conversion, convert
    from vgen.sources.conversion.splits import parse_shard, parse_splits
    from vgen.sources.source import Reading, read_options

    late = [text for text in options["cameras"] if "=" in text]  # behind --cameras, which takes all that follows
    cameras = tuple(name for name in options["cameras"] if name not in late)
    more = read_options([*options["more"], *late])
    reading = Reading(options["from"], cameras, options["layout"], options["fps"], more)
    begun = time.monotonic()
    report = convert(
        Conversion(
            options["source"],
            reading,
            options["out"],
            parse_sizes([options["size"]], 2)[0] if options["size"] else None,
            options["workers"],
            parse_shard(options["shard"]) if options["shard"] else (1, 1),
            parse_splits(options["splits"].split(",")),
            options["overwrite"],
        )
    )
    took = time.monotonic() - begun
    _tell(report, options["out"], f" in {took:.0f} s, {report.frames / took:.0f} rows/s")


def _join(options: dict[str, Any]) -> None:
    from vgen.sources.conversion.join import join

    report = join(options["shards"], options["out"], options["overwrite"])
    _tell(report, options["out"])


def _tell(report: Report, out: Path, how: str = "") -> None:
    print("\n".join([*report.lines(), f"wrote {out}{how}"]))
