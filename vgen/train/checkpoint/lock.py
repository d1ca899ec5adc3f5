"""One run, one folder: a file in it says which process trains there."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path

from vgen.errors import InputError, RunStopped
from vgen.train.distributed import Ranks
from vgen.train.guard import all_or_none

logger = logging.getLogger(__name__)

LOCK = "run.lock"
BEAT = 15.0  # seconds between two signs of life
SILENT = 300.0  # seconds without one after which a process on another host counts as dead


@dataclass(frozen=True)
class Holder:
    """A process that trains in a run folder."""

    host: str
    pid: int
    begun: str  # of the process, in ticks of its machine's clock: a later process may have the same pid
    machine: str  # the boot of its machine, and the space that its pid counts in: containers have their own
    job: str  # of the scheduler, and how often it was started again
    since: str  # local time with its offset

    @classmethod
    def here(cls) -> Holder:
        """This process."""
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        job = ":".join(os.environ.get(name, "0") for name in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT"))
        return cls(socket.gethostname(), os.getpid(), _begun(os.getpid()) or "", _machine(), job, since)

    def dead(self, mine: Holder) -> bool | None:
        """Whether it has ended, as seen from another process; None where that cannot be seen from there."""
        if self.job != mine.job and _number(self.job) == _number(mine.job) != "0":
            return True  # the scheduler has started its job again
        if (self.host, self.machine) != (mine.host, mine.machine):
            return None
        begun = _begun(self.pid)
        return begun is None or begun != self.begun

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


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
    """The lock of a run folder, `<run>/run.lock`. It holds on file systems that many hosts share, NFS among them: it
    comes to be whole or not at all, by a hard link, and its time of change is a sign of life."""

    def __init__(self, run: Path) -> None:
        self.path, self.holder = run / LOCK, Holder.here()
        self._aside = run / f".{LOCK}.{self.holder.host}.{self.holder.pid}"
        self._over = threading.Event()
        self._beat: threading.Thread | None = None

    def take(self) -> str | None:
        """Takes the lock, also of a process that has ended; returns why not, in one line, where another one has it.
        Where a holder on another host cannot be seen, it is watched until it gives a sign of life or is silent for
        `SILENT` seconds."""
        while not self._create():
            other = read_holder(self.path)
            if other is None:
                continue  # it has gone, or is being written
            if not self._ended(other):
                return (
                    f"{self.path.parent} is in use by {other}; wait until that has ended, stop it, or give another run="
                )
            self._clear(other)
        self._beat = threading.Thread(target=self._live, daemon=True)
        self._beat.start()
        return None

    def release(self) -> None:
        """Gives the lock back, where it is still this process's."""
        self._over.set()
        if self._beat is not None:
            self._beat.join()
            if read_holder(self.path) == self.holder:
                with suppress(OSError):
                    self.path.unlink()

    def lost(self) -> str:
        """Who has taken the lock from this process, which had seemed dead; "" as long as nobody has."""
        other = read_holder(self.path)
        return "" if other is None or other == self.holder else str(other)

    def _create(self) -> bool:
        """Whether there was no lock and now is this process's."""
        try:
            self._aside.write_text(json.dumps(asdict(self.holder)) + "\n")
            try:
                os.link(self._aside, self.path)
            except FileExistsError:
                return os.stat(self._aside).st_nlink == 2  # NFS may have done it and lost its answer
            except OSError:  # no hard links here
                with suppress(FileExistsError), self.path.open("x") as file:
                    file.write(self._aside.read_text())
                    return True
                return False
            return True
        finally:
            self._aside.unlink(missing_ok=True)

    def _ended(self, other: Holder) -> bool:
        dead = other.dead(self.holder)
        if dead is not None:
            return dead
        last, told = self._changed(), False
        while (now := self._changed()) == last:
            if now is None:
                return True
            if (silent := self._clock() - now) > SILENT:
                return True
            if not told:
                logger.warning(
                    "%s is held by %s, silent for %.0f s: waiting for a sign of life, up to %.0f s",
                    self.path, other, max(0.0, silent), SILENT,
                )  # fmt: skip
                told = True
            time.sleep(min(1.0, BEAT))
        return now is None

    def _clear(self, dead: Holder) -> None:
        """Removes the lock of a process that has ended, and no other that came meanwhile."""
        logger.warning("%s is left over from %s, which has ended: taken over", self.path, dead)
        with suppress(FileNotFoundError):
            os.rename(self.path, self._aside)
            if read_holder(self._aside) != dead:
                with suppress(OSError):
                    os.link(self._aside, self.path)
            self._aside.unlink(missing_ok=True)

    def _live(self) -> None:
        while not self._over.wait(BEAT):
            with suppress(OSError):  # a file system that is away for a while
                if read_holder(self.path) == self.holder:
                    os.utime(self.path)

    def _changed(self) -> float | None:
        """When the lock last gave a sign of life; opened for it, since NFS may remember an older time."""
        try:
            with self.path.open() as file:
                return os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return None

    def _clock(self) -> float:
        """Now, by the clock of the file system, which may be another host's."""
        self._aside.write_text("")
        try:
            return self._aside.stat().st_mtime
        finally:
            self._aside.unlink(missing_ok=True)


def read_holder(path: Path) -> Holder | None:
    """Who holds a lock; None where there is none. Of one that cannot be read nothing is known but its signs of life."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    try:
        held = json.loads(text)
        return Holder(**{field.name: held[field.name] for field in fields(Holder)})
    except (ValueError, LookupError, TypeError):
        return Holder("an unknown host", 0, "", "", "0:0", "an unknown time")


def check_lock(lock: RunLock, ranks: Ranks) -> None:
    """Ends a run whose folder another process has taken, as it does where this one was silent for `SILENT` seconds.

    Raises:
        RunStopped: it has, on all ranks.
    """
    if other := ranks.gather(lock.lost() if ranks.first else "")[0]:
        raise RunStopped(f"{lock.path.parent} was taken over by {other}, since this run had given no sign of life")


def _begun(pid: int) -> str | None:
    """When a process of this machine began; "" where that is not told, None where it has ended."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return _begun_elsewhere(pid)
    return None if state in "ZX" else rest[18]


def _begun_elsewhere(pid: int) -> str | None:
    """When a process began, where there is no /proc."""
    if Path("/proc/self/stat").exists() or pid < 1:
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:  # another user's
        return ""
    return ""


def _machine() -> str:
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    try:
        return f"{boot.read_text().strip()} {space.readlink()}"
    except OSError:
        return ""


def _number(job: str) -> str:
    return job.split(":")[0]
