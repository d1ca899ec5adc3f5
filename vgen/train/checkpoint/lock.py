"""One run, one folder: a file in it says which process trains there."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vgen.errors import InputError, RunStopped
from vgen.files import aside
from vgen.holder import Hold, Holder, read_holder
from vgen.train.distributed import Ranks
from vgen.train.guard import all_or_none

logger = logging.getLogger(__name__)

LOCK = "run.lock"
BEAT = 15.0  # seconds between two signs of life
SILENT = 300.0  # seconds without one after which a process on another host counts as dead


@contextmanager
def run_lock(run: Path, ranks: Ranks) -> Iterator[RunLock]:
    """While it lasts, the run folder is this run's alone; rank 0 holds it for all ranks. The folder is made where there
    is none, and one that was made and has stayed empty goes with the lock.

    Raises:
        InputError: another process trains there.
        RunStopped: the lock cannot be written.
    """
    lock = RunLock(run)
    refusal = made = None
    with all_or_none(ranks, f"the lock {lock.path}", run):
        if ranks.first:
            made = not run.exists()
            run.mkdir(parents=True, exist_ok=True)
            refusal = lock.take()
    if refusal := ranks.gather(refusal)[0]:
        raise InputError(refusal)
    try:
        yield lock
    finally:
        if ranks.first:
            lock.release()
            if made:
                with suppress(OSError):  # it is not empty
                    run.rmdir()


class RunLock:
    """The lock of a run folder, `<run>/run.lock`, whose time of change is a sign of life."""

    def __init__(self, run: Path) -> None:
        self.path = run / LOCK
        self._hold = Hold(self.path)
        self._over = threading.Event()
        self._beat: threading.Thread | None = None

    @property
    def holder(self) -> Holder:
        """This process."""
        return self._hold.mine

    def take(self) -> str | None:
        """Takes the lock, also of a process that has ended; returns why not, in one line, where another one has it.
        Where a holder on another host cannot be seen, it is watched until it gives a sign of life or is silent for
        `SILENT` seconds."""
        if other := self._hold.take(self._ended):
            return f"{self.path.parent} is in use by {other}; wait until that has ended, stop it, or give another run="
        self._beat = threading.Thread(target=self._live, daemon=True)
        self._beat.start()
        return None

    def release(self) -> None:
        """Gives the lock back, where it is still this process's."""
        self._over.set()
        if self._beat is not None:
            self._beat.join()
            self._hold.release()

    def lost(self) -> str:
        """Who has taken the lock from this process, which had seemed dead; "" as long as nobody has."""
        other = read_holder(self.path)
        return "" if other is None or other == self.holder else str(other)

    def _ended(self, other: Holder, file: Path) -> bool:
        dead = other.dead(self.holder)
        if dead is None:
            dead = self._silent(other, file)
        if dead:
            logger.warning("%s is left over from %s, which has ended", self.path, other)
        return dead

    def _silent(self, other: Holder, file: Path) -> bool:
        """Whether a process gives no sign of life in the file in which its name is, or has gone from there."""
        last, told = _changed(file), False
        while (now := _changed(file)) == last:
            if now is None:
                return True
            if (silent := _clock(file) - now) > SILENT:
                return True
            if not told:
                logger.warning(
                    "%s is held by %s, silent for %.0f s: waiting for a sign of life, up to %.0f s",
                    self.path, other, max(0.0, silent), SILENT,
                )  # fmt: skip
                told = True
            time.sleep(min(1.0, BEAT))
        return now is None

    def _live(self) -> None:
        while not self._over.wait(BEAT):
            with suppress(OSError):  # a file system that is away for a while
                if read_holder(self.path) == self.holder:
                    os.utime(self.path)


def check_lock(lock: RunLock, ranks: Ranks) -> None:
    """Ends a run whose folder another process has taken, as it does where this one was silent for `SILENT` seconds.

    Raises:
        RunStopped: it has, on all ranks.
    """
    if other := ranks.gather(lock.lost() if ranks.first else "")[0]:
        raise RunStopped(f"{lock.path.parent} was taken over by {other}, since this run had given no sign of life")


def _changed(file: Path) -> float | None:
    """When a file last gave a sign of life; opened for it, since NFS may remember an older time."""
    try:
        with file.open() as opened:
            return os.fstat(opened.fileno()).st_mtime
    except FileNotFoundError:
        return None


def _clock(file: Path) -> float:
    """Now, by the clock of the file system, which may be another host's."""
    probe = aside(file)
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
