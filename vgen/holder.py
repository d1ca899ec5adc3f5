"""Which process holds a folder: a file in it says so, also on file systems that many hosts share, NFS among them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, fields
from datetime import datetime
from pathlib import Path

from vgen.files import aside

NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)  # of file systems without hard links


@dataclass(frozen=True)
class Holder:
    """A process that holds a folder."""

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

    def same(self, other: Holder) -> bool:
        """Whether both are one process."""
        return astuple(self)[:4] == astuple(other)[:4]

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


class Hold:
    """A file that names the one process that holds a folder. It comes to be with the name in it, by a hard link, so
    that nobody who is killed leaves a file which says nothing; only where there are no hard links may that happen."""

    def __init__(self, file: Path) -> None:
        self.file, self.mine = file, Holder.here()

    def take(self, ended: Callable[[Holder, Path], bool]) -> Holder | None:
        """Takes the hold, also of a process that has ended; returns who has it, or None: this process.

        Of several that take it from one that has ended, one becomes the heir, in a file that is named after the ended
        one, and then puts that file in place of the ended one's. An heir that is killed between the two has heirs too.
        A name is never used again, so whoever comes late sees that the hold has changed.

        Args:
            ended: whether a process has ended, and the file in which its name is, which may have gone meanwhile.

        Raises:
            OSError: the name cannot be written.
        """
        while True:
            first = read_holder(self.file)
            if first is None:
                if self._write(self.file):
                    return None
                continue
            dead: list[Path] = []
            last, file = first, self.file
            while ended(last, file):
                heir = self._heir(last)
                if self._write(heir):
                    if read_holder(self.file) != first:  # another one was faster
                        heir.unlink()
                        break
                    heir.replace(self.file)
                    for file in dead:
                        file.unlink(missing_ok=True)
                    return None
                found = read_holder(heir)
                if found is None:  # it holds by now, or was too late
                    break
                dead.append(heir)
                last, file = found, heir
            else:
                return last

    def release(self) -> None:
        """Gives the hold back, where it is still this process's."""
        with suppress(OSError):
            if (found := read_holder(self.file)) is not None and found.same(self.mine):
                self.file.unlink()

    def _heir(self, dead: Holder) -> Path:
        key = hashlib.sha256(json.dumps(asdict(dead)).encode()).hexdigest()[:16]
        return self.file.with_name(f".{self.file.name}.after.{key}")

    def _write(self, file: Path) -> bool:
        """Whether there was no such file and now is, with this process's name."""
        own, text = aside(file), json.dumps(asdict(self.mine)) + "\n"
        try:
            own.write_text(text)
            try:
                os.link(own, file)
            except FileExistsError:
                return own.stat().st_nlink == 2  # NFS may have done it and lost its answer
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                with suppress(FileExistsError), file.open("x") as only:
                    only.write(text)
                    return True
                return False
            return True
        finally:
            own.unlink(missing_ok=True)


def read_holder(path: Path) -> Holder | None:
    """Who holds a lock; None where there is none. Of one that cannot be read nothing is known but its signs of life."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        held = json.loads(text)
        return Holder(**{field.name: held[field.name] for field in fields(Holder)})
    except (ValueError, LookupError, TypeError):
        return Holder("an unknown host", 0, "", "", "0:0", "an unknown time")


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
