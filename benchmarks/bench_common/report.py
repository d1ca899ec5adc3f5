"""Results as JSON to keep, and the cells of a table to read."""

from __future__ import annotations

import argparse
import json
import math
import platform
from collections.abc import Sequence
from pathlib import Path

from vgen.files import package_versions, write_whole, writing

PACKAGES = ("torch", "diffusers", "transformers", "torchmetrics", "numpy")


def write_json(results: dict, path: Path) -> None:
    """Writes results; nan, where a metric is not defined, becomes null.

    Raises:
        InputError: the path must not be written.
        TryAgain: the disk is full.
    """
    with writing(path, kept=""):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(as_json(results), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def publish(results: dict, table: str, out: Path | None) -> None:
    """Keeps the results as JSON, where a file is named, and prints their table."""
    if out:
        write_json(results, out)
    print(table)


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str | None]:
    """The versions of Python and of the packages that make the numbers."""
    return {"python": platform.python_version(), **package_versions(packages)}


def plain_args(args: argparse.Namespace) -> dict:
    """The options as JSON can hold them."""

    def plain(value: object) -> object:
        if isinstance(value, list):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, Path) else value

    return {key: plain(value) for key, value in vars(args).items()}


def row(head: str, cells: list[str], head_width: int = 30, width: int = 13) -> str:
    """A line of the table; a cell that ends in a mark or a space for one keeps its digits in line with the others."""
    padded = "".join(f"{cell if cell.endswith(('*', ' ')) else cell + ' ':>{width}}" for cell in cells)
    return f"{head:<{head_width}}{padded}".rstrip()


def number(value: float, digits: int = 2) -> str:
    """A number, or a dash where it is not defined."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def as_json(value: object) -> object:
    """A value as JSON keeps it: nan becomes null, other floats six digits."""
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.6g}")
    return value
