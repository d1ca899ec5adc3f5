"""Being told to stop: by Ctrl-C, or by a scheduler's SIGTERM."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
REPEAT = 1.0  # seconds within which a Ctrl-C is the same one: launchers pass on what the terminal has sent already
SOON = 2.0  # seconds within which a signal to all processes of a job reaches the last of them


class StopAsked(KeyboardInterrupt):
    """Raised out of work that is told to stop and goes on later from where it is. Like Ctrl-C it is no `Exception`, so
    that no clip counts as bad because of it."""


class Stop:
    """Hears SIGTERM and Ctrl-C. The first asks to stop in order. A second Ctrl-C, a second or more after it, ends the
    process at once with KeyboardInterrupt; a second SIGTERM changes nothing.

    Attributes:
        asked: whether this process was told to stop.
        report: what a run that was stopped says in place of being done; "" for one that was not.
    """

    def __init__(self) -> None:
        self.asked, self.report = False, ""
        self._owner, self._raises, self._heard = os.getpid(), False, 0.0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While it lasts, the signals are heard; in the main thread alone."""
        before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """While it lasts, being told to stop raises StopAsked; it does so right away where that was before."""
        if self.asked:
            raise StopAsked
        self._raises = True
        try:
            yield
        finally:
            self._raises = False

    def soon(self) -> bool:
        """Whether this process was told to stop, or is within a moment: what fails may have failed because another
        process of the same job was told before."""
        end = time.monotonic() + SOON
        while not self.asked and time.monotonic() < end:
            time.sleep(0.05)
        return self.asked

    def _hear(self, number: int, _: object) -> None:
        if os.getpid() != self._owner:  # a process that was forked from it ends as if nobody listened
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        first, now = not self.asked, time.monotonic()
        if not first and number == signal.SIGINT and now - self._heard > REPEAT:
            raise KeyboardInterrupt
        if first:
            self.asked, self._heard = True, now
            if self._raises:
                self._raises = False
                raise StopAsked
            if os.environ.get("RANK", "0") == "0":
                logger.warning("told to stop: first a checkpoint is written; Ctrl-C once more ends at once, without it")
