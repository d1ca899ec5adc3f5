"""A command in a process of its own, forked from one that has imported everything: limited in time and memory, without
network, and watched."""

from __future__ import annotations

import faulthandler
import os
import resource
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vgen.errors import exit_on_input_error

TOOLS = Path(__file__).parents[2] / "tools"
MEMORY = 4 * 2**30  # bytes that a child may take beyond what it was forked with
WRITTEN = 2**30  # bytes of the largest file that it may write
ASKS_THE_NETWORK = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}
RUNS_PROGRAMS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty"}
COMPILER = "gcc"  # which DeepSpeed looks for, whatever the input


@dataclass(frozen=True)
class Outcome:
    """How a child ended.

    Attributes:
        code: its exit code; None where a signal ended it.
        signal: that signal, by name; "" for none.
        timed_out: whether it was ended for its time.
        seconds: that it took.
        megabytes: that it held at most, those that it was forked with included.
        output, errors: what it wrote.
        watched: what it tried that no input may make it do.
    """

    code: int | None
    signal: str
    timed_out: bool
    seconds: float
    megabytes: float
    output: str
    errors: str
    watched: list[str]


def load_commands() -> dict[str, Callable[[], object]]:
    """The `main` of every command, by the name of its file."""
    names = ("blend", "edit_trajectory", "export", "infer", "rollout", "train")
    return {name: runpy.run_path(str(TOOLS / f"{name}.py"))["main"] for name in names}


class Child:
    """One command at work.

    Args:
        main: of the command.
        name: of the command.
        options: its command line.
        folder: where it runs; what it writes and what is noted of it lies beside, in `<folder>.notes`.
        seconds: that it may take.
    """

    def __init__(
        self, main: Callable[[], object], name: str, options: Sequence[str], folder: Path, seconds: float
    ) -> None:
        self.notes = folder.with_name(folder.name + ".notes")
        self.notes.mkdir()
        self._began, self._seconds = time.monotonic(), seconds
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _live(main, [f"{name}.py", *options], folder, self.notes, seconds)

    def poll(self) -> Outcome | None:
        """How it ended; None while it goes on. One that has had its time is ended."""
        late = time.monotonic() - self._began > self._seconds
        if late:
            self.kill()
        pid, status, used = os.wait4(self.pid, 0 if late else os.WNOHANG)
        if pid == 0:
            return None
        self.kill()  # what it has started
        ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        return Outcome(
            code=None if ended else os.WEXITSTATUS(status),
            signal=signal.Signals(ended).name if ended else "",
            timed_out=late or ended == signal.SIGXCPU,
            seconds=time.monotonic() - self._began,
            megabytes=used.ru_maxrss / 1024,
            output=self._read("stdout"),
            errors=self._read("stderr"),
            watched=self._read("watched").splitlines(),
        )

    def kill(self) -> None:
        """Ends it and all that it has started."""
        for end, number in ((os.killpg, self.pid), (os.kill, self.pid)):
            with suppress(ProcessLookupError):
                end(number, signal.SIGKILL)

    def _read(self, name: str) -> str:
        file = self.notes / name
        return file.read_text(encoding="utf-8", errors="backslashreplace") if file.exists() else ""


def _live(main: Callable[[], object], arguments: list[str], folder: Path, notes: Path, seconds: float) -> None:
    """All that a child does."""
    code = 1
    try:
        os.setpgid(0, 0)
        for number, name, flags in ((0, os.devnull, os.O_RDONLY), (1, "stdout", None), (2, "stderr", None)):
            how = os.O_WRONLY | os.O_CREAT | os.O_APPEND if flags is None else flags
            os.dup2(os.open(name if flags is not None else notes / name, how, 0o600), number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, errors="backslashreplace") for number in (1, 2))
        faulthandler.enable(sys.stderr, all_threads=False)
        os.chdir(folder)
        _limit(seconds)
        _watch(notes / "watched")
        sys.argv = arguments
        exit_on_input_error(main)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _limit(seconds: float) -> None:
    held = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    for kind, most in (
        (resource.RLIMIT_AS, held + MEMORY),
        (resource.RLIMIT_CPU, int(2 * seconds) + 1),
        (resource.RLIMIT_FSIZE, WRITTEN),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))


def _watch(file: Path) -> None:
    """Notes and refuses what goes to the network or starts a program. A hook stays for good, as a child has but one
    command to run."""

    def hook(event: str, details: tuple) -> None:
        if event in ASKS_THE_NETWORK or event in RUNS_PROGRAMS:
            if details[0] != COMPILER:
                with file.open("a") as notes:
                    notes.write(f"{event} {details!r}"[:300].replace("\n", " ") + "\n")
            raise PermissionError(f"{event} is not allowed here")

    sys.addaudithook(hook)
