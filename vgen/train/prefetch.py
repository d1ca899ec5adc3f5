"""Batches that are made while the steps before them are computed."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Place = TypeVar("Place")
Made = TypeVar("Made")
SWITCH = 1e-4  # seconds after which a thread of Python lets another one go on


def ahead(
    make: Callable[[Place], Made], places: Iterator[Place], count: int
) -> Generator[tuple[Place, Made], None, None]:
    """What `make` makes of each place, with the place, in order.

    Args:
        make: is called in threads, for several places at a time.
        places: without an end; each is asked for when it is the next to be made.
        count: how many threads there are, and how many places are under way beside the one that is asked for.
    """
    with _quick_turns(), ThreadPoolExecutor(count) as pool:
        waiting: deque[tuple[Place, Future[Made]]] = deque()
        try:
            while True:
                while len(waiting) <= count:
                    place = next(places)
                    waiting.append((place, pool.submit(make, place)))
                yield waiting[0][0], waiting.popleft()[1].result()  # a name would hold the batch beyond its step
        finally:
            for _, future in waiting:
                future.cancel()


@contextmanager
def _quick_turns() -> Iterator[None]:
    """Threads of Python take turns more often. Each operation of torch gives its turn away and waits for the next one:
    by default up to 5 ms where a thread computes in Python, while a GPU asks for thousands of operations a step."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, SWITCH))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
