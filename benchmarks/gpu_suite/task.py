"""What a check is asked, and how it tells what it has found."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

LONGEST = 300  # letters of an error that a line repeats


@dataclass(frozen=True)
class Task:
    """One part of one check.

    Attributes:
        part: which part; "" of a check that has one only.
        toy: whether it runs on the CPU, with tiny shapes, to tell whether it runs.
        model: of the checks that run a whole model.
        known: what checks before it have found, as `tflops` of a matrix product.
    """

    part: str = ""
    toy: bool = False
    model: str = "nano"
    known: Mapping[str, float] = field(default_factory=dict)

    @property
    def device(self) -> str:
        """Where it computes."""
        return "cpu" if self.toy else "cuda"


class Tell(Protocol):
    """Tells a finding at once: its name, a line to read, and its values; `error` among them where it failed."""

    def __call__(self, name: str, line: str, **values: Any) -> None:
        """Called by a check for each finding."""


def one_line(error: BaseException) -> str:
    """An error's type and message, short and in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:LONGEST]


@contextmanager
def attempt(tell: Tell, name: str) -> Iterator[None]:
    """What fails within is told as one finding, and the check goes on."""
    try:
        yield
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        tell(name, f"{name} FAILED: {one_line(error)}", error=one_line(error))
