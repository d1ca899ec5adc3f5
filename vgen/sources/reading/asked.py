"""What is asked of a source: options, layout, and cameras, of which there may not be all in every take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from vgen.errors import InputError, unknown_key
from vgen.sources.source import Reading

Item = TypeVar("Item")
SAMPLE = 24  # takes that are looked at before all are read


def option(reading: Reading, name: str, choices: Sequence[str]) -> str:
    """The value of an option, by default the first of its choices.

    Raises:
        InputError: it is none of them.
    """
    value = reading.more.get(name, choices[0])
    if value not in choices:
        raise unknown_key(value, choices, f"the values of {name}")
    return value


def only_layout(reading: Reading, layout: str, source: str) -> None:
    """Refuses another layout than the one that a source has.

    Raises:
        InputError: another one is wanted.
    """
    if reading.layout not in (None, layout):
        raise InputError(f"layout={reading.layout}: what {source} has is of layout {layout}; leave it out")


def sample(items: Sequence[Item], count: int = SAMPLE) -> Sequence[Item]:
    """Some from all over: the same in every process."""
    return items[:: max(1, len(items) // count)][:count]


def of_all(cameras: Sequence[set[str]], folder: Path) -> tuple[str, ...]:
    """The cameras that all takes have, but for those that have none.

    Raises:
        InputError: there is none.
    """
    held = [found for found in cameras if found]
    if not held:
        raise InputError(f"{folder}: no camera was found in the takes that were looked at, {len(cameras)} of them")
    common = sorted(set.intersection(*held))
    if not common:
        known = ", ".join(sorted(set().union(*held)))
        raise InputError(f"{folder} has no camera that all takes have; choose one with --cameras: {known}")
    return tuple(common)
