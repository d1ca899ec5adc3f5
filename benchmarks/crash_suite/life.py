"""One life of a command: a process for every rank, forked from one that has imported everything."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

from fuzz_suite.child import load_commands

from vgen.errors import exit_on_input_error
from vgen.train.checkpoint.folder import checkpoints

FORK = get_context("fork")
POLL = 0.002  # seconds between looks at a command
GRACE = 10.0  # seconds that other ranks have, once one has failed, until they are ended as a launcher ends them
LONGEST = 0.1  # seconds; who aims at a moment comes within these of its start
SAID = re.compile(r"error: .*|(?:done|stopped|prepared|wrote|interrupted|terminated)\b.*")  # how a command says its end
TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True)
class End:
    """How a life ended.

    Attributes:
        codes: the exit codes of its ranks; those of signals are negative.
        line: the last that it said of its end; "" where that is nothing.
        faults: what no life may do.
    """

    codes: tuple[int, ...]
    line: str
    faults: tuple[str, ...]

    @property
    def code(self) -> str:
        """The exit codes, once where they are alike."""
        return "/".join(str(code) for code in dict.fromkeys(self.codes))


class Life:
    """A command at work, on all its ranks, in a process group of their own. It begins within a second.

    Args:
        command: its name, as that of a file in tools.
        options: its command line.
        output: the file that it writes its output and errors to.
        ranks: processes.
        seconds: that it may take.
    """

    def __init__(
        self, command: str, options: Sequence[str], output: Path, ranks: int = 1, seconds: float = 600
    ) -> None:
        self.began, self._output, self._late = time.time(), output, time.monotonic() + seconds
        self._faults: list[str] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.processes: list[BaseProcess] = []
        main = load_commands()[command]
        for rank in range(ranks):
            environment = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "MASTER_PORT": port}
            environment |= {"MASTER_ADDR": "127.0.0.1"}
            arguments = (main, [command, *options], environment, output, self.processes[:1])
            process = FORK.Process(target=_live, args=arguments)
            process.start()
            self.processes.append(process)
            with suppress(OSError):  # here and in the process, whichever comes first
                os.setpgid(process.pid, self.processes[0].pid)

    def __enter__(self) -> Life:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def alive(self) -> bool:
        """Whether a rank is at work still. One that has had its time is ended."""
        if time.monotonic() > self._late:
            self._faults.append("no end in time")
            self.kill()
        return None in [process.exitcode for process in self.processes]

    def signal(self, number: signal.Signals) -> None:
        """A signal to all ranks at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.processes[0].pid, number)

    def kill(self) -> None:
        """SIGKILL to all ranks at once, and to all that they have started."""
        self.signal(signal.SIGKILL)
        for process in self.processes:
            process.join()

    def hold(self, moment: Callable[[], bool], chance: random.Random, longest: float = LONGEST) -> bool:
        """Stops a life while a moment lasts, up to `longest` seconds into it; False where the life ended before."""
        while self.alive():
            if moment():
                time.sleep(chance.uniform(0, longest))
                self.signal(signal.SIGSTOP)
                if moment():
                    return True
                self.signal(signal.SIGCONT)
                longest *= 0.5  # it may be shorter than that
            time.sleep(POLL)
        return False

    def end(self) -> End:
        """Waits for it. Once a rank has failed, the others are ended as a launcher would end them."""
        while self.alive() and not any(process.exitcode for process in self.processes):
            time.sleep(5 * POLL)
        grace = time.monotonic() + GRACE
        while self.alive():
            if time.monotonic() > grace:
                self.signal(signal.SIGTERM)
                time.sleep(1)
                self.kill()
            time.sleep(5 * POLL)
        self.kill()  # what it has started
        text = self._output.read_text(errors="backslashreplace")
        if TRACEBACK in text:
            self._faults.append(f"a traceback: {text.rsplit(TRACEBACK, 1)[1].strip().splitlines()[-1][:200]}")
        said = [match[0] for line in text.splitlines() if (match := SAID.match(line))]
        errors = [line for line in said if line.startswith("error: ")]
        codes = tuple(process.exitcode for process in self.processes)
        return End(codes, (errors or said or [""])[0 if errors else -1], tuple(self._faults))


def _live(
    main: Callable[[], object], arguments: list[str], environment: dict, output: Path, first: list[BaseProcess]
) -> None:
    """What a rank does."""
    with suppress(OSError):
        os.setpgid(0, first[0].pid if first else 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # which a shell has ignored for what runs in its background
    with output.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    os.environ.update({name: str(value) for name, value in environment.items()})
    sys.argv = arguments
    exit_on_input_error(main)


def newest_step(run: Path) -> int:
    """The step of the newest finished checkpoint; 0 where there is none."""
    return max((step_of(path) for path in checkpoints(run)), default=0)


def step_of(checkpoint: Path) -> int:
    """The step of a checkpoint, by its name."""
    return int(checkpoint.name.removesuffix(".part").split("-")[1])


def changed(path: Path) -> float:
    """When a file last was; 0 where there is none."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
