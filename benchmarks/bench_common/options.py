"""The options that benchmarks share, each written once."""

from __future__ import annotations

import argparse
from pathlib import Path

from vgen.errors import InputError, Parser
from vgen.results import check_file


def make_parser(about: str | None) -> Parser:
    """A parser of a benchmark's options; its `--help` begins with what the benchmark is about."""
    return Parser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)


def add_model_options(parser: Parser, model: str, clips: str, guidance: str) -> None:
    """The model under test, on which clips of the data it is tried, and how it is run.

    Args:
        parser: to add them to.
        model: what may be given as a model.
        clips: what `--clips` counts.
        guidance: what the guidance weighs.
    """
    parser.add_argument("--model", default="nano", help=f"{model} (default: nano)")
    parser.add_argument("--split", default="test", help="a split of the data, as test or unseen (default: test)")
    parser.add_argument("--clips", type=int, default=64, help=f"{clips} (default: 64)")
    parser.add_argument("--steps", type=int, help="of denoising (default: the model's own)")
    parser.add_argument("--guidance", type=float, help=f"{guidance}; 1 is none (default: the model's own)")
    parser.add_argument("--batch", type=int, default=16, help="clips at once; changes the speed and nothing else")
    parser.add_argument("--bf16", action="store_true", help="matrix products in bfloat16: about twice as fast")
    parser.add_argument("--seed", type=int, default=0, help="of the noise, and of all that is drawn (default: 0)")
    parser.add_argument("--contact-sheets", type=Path, metavar="DIR", help="folder for a few pictures of results")


def add_out(parser: Parser) -> None:
    """Where the results are kept, and whether older ones may be replaced."""
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON file for all results")
    parser.add_argument("--overwrite", action="store_true", help="replace older results")


def check_free(args: argparse.Namespace) -> None:
    """Refuses places for results that hold something, unless it may be replaced.

    Raises:
        InputError: it names the place.
    """
    sheets: Path | None = getattr(args, "contact_sheets", None)
    if args.out:
        check_file(args.out, args.overwrite)
    if sheets and not args.overwrite and sheets.exists() and any(sheets.iterdir()):
        raise InputError(f"{sheets} holds something already; name another folder, or replace it with --overwrite")


def check_counts(args: argparse.Namespace, *names: str) -> None:
    """Refuses options below 1; those that were not given are None.

    Raises:
        InputError: it names the first.
    """
    for name in names:
        value = getattr(args, name)
        if value is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')} {value} must be 1 or more; nearest: 1")
