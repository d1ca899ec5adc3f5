"""Makes a model between two models of one shape, such as a fine-tune and what it began from.

    vgen blend nano runs/my_canvas/model --share transformer=0.6 --out runs/blend

A fine-tune forgets; between the weights of both lie models that keep most of what either knows (WiSE-FT, arXiv
2109.01903). A share says how far a component goes from the first model, 0, to the second, 1. All else is the second's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vgen.commands.options import add_overwrite, make_parser
from vgen.errors import InputError, Parser


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


def parser() -> Parser:
    """The options."""
    parser = make_parser("blend", __doc__)
    parser.add_argument("before", help="model where share is 0: nano or a diffusers folder")
    parser.add_argument("after", help="model where share is 1, and of all that is not blended")
    parser.add_argument("--share", action="append", required=True, metavar="COMPONENT=SHARE", help="may be repeated")
    parser.add_argument("--out", type=Path, required=True, help="model folder to make")
    add_overwrite(parser, "model")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Blends, as the options say."""
    options = parser().parse_args(arguments)
    shares: dict[str, float] = {}
    for text in options.share:
        name, share = read_share(text)
        if name in shares:
            raise InputError(f"--share {text}: {name} has a share already, {shares[name]:g}; keep one")
        shares[name] = share

    from vgen.train.blend import blend

    blend(options.before, options.after, shares, options.out, options.overwrite)
    print(f"wrote {options.out}")
