#!/usr/bin/env python
"""Makes a model between two models of one shape, such as a fine-tune and what it began from.

    python tools/blend.py runs/nano_canvas_long/model runs/nano_ego/model --share transformer=0.6 --out runs/blend

A fine-tune forgets; between the weights of both lie models that keep most of what either knows (WiSE-FT, arXiv
2109.01903). A share says how far a component goes from the first model, 0, to the second, 1. All else is the second's.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vgen.errors import InputError, Parser, exit_on_input_error


def read_share(text: str) -> tuple[str, float]:
    """A component and a share from COMPONENT=SHARE.

    Raises:
        InputError: the text does not have this form.
    """
    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError as error:
        raise InputError(f"--share {text} must be COMPONENT=SHARE, such as transformer=0.5") from error


def main() -> None:
    """Parses the command line and blends."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("before", type=Path, help="model folder where share is 0")
    parser.add_argument("after", type=Path, help="model folder where share is 1, and of all that is not blended")
    parser.add_argument("--share", action="append", required=True, metavar="COMPONENT=SHARE", help="may be repeated")
    parser.add_argument("--out", type=Path, required=True, help="model folder to make")
    args = parser.parse_args()
    for folder in (args.before, args.after):
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder; name the folder of a model")
    shares = dict(map(read_share, args.share))

    from vgen.train.blend import blend

    blend(args.before, args.after, shares, args.out)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    exit_on_input_error(main)
