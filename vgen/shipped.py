"""What travels with the package: in it once it is installed from a wheel, beside it in a checkout."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path

from vgen.errors import InputError

_PACKAGE = Path(__file__).parent


def folder(name: str) -> Path:
    """The folder `configs` or `benchmarks`.

    Raises:
        InputError: the package was installed without it.
    """
    for root in (_PACKAGE, _PACKAGE.parent):
        if (root / name).is_dir():
            return root / name
    raise InputError(f"this vgen has no {name}: it is neither a wheel nor a checkout; install it with pip install vgen")


def find(path: str | PathLike[str]) -> str:
    """A path as it is given; but that of the package where it lies below configs/ and nothing is there.

    So the commands of the documentation work in any folder, and what a user has in the working directory goes first.
    """
    given = Path(path)
    if given.parts[:1] != ("configs",) or given.exists():
        return fspath(path)
    own = folder("configs").joinpath(*given.parts[1:])
    return str(own) if own.exists() else fspath(path)
