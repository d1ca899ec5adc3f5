"""Parts of checks in processes: while one runs, the next one imports what it needs.

So a part that breaks its process, or the state of the device in it, harms no other one, and its memory is freed."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vgen

BENCHMARKS = Path(__file__).parents[1]
VGEN = Path(vgen.__file__).parents[1]  # where it is imported from
KEPT = 3000  # letters of what a failed part has printed


@dataclass(frozen=True)
class Job:
    """One part of one check.

    Attributes:
        check, part: their names; part is "" where there is only one.
        module: whose `run` it is.
        limit: seconds that it may take.
    """

    check: str
    part: str
    module: str
    limit: float

    @property
    def name(self) -> str:
        """How it is called in a line."""
        return f"{self.check} {self.part}".rstrip()


class Worker:
    """The process of a job, which waits to be told to go. `close` ends it."""

    def __init__(self, job: Job, toy: bool, model: str, scratch: str) -> None:
        self.job = job
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`
        about = json.dumps({"module": job.module, "part": job.part, "toy": toy, "model": model})
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", "gpu_suite.child", about],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=environment(scratch),
        )  # fmt: skip
        self._messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None, "it is a pipe"
        for line in self._process.stdout:
            with suppress(ValueError):  # of a line that was cut short
                self._messages.put(json.loads(line))
        self._messages.put(None)

    def run(self, known: Mapping[str, float]) -> Iterator[dict[str, Any]]:
        """Lets it go, and gives its messages as they come; the last one has `ended` or `failed`."""
        assert self._process.stdin is not None, "it is a pipe"
        with suppress(OSError):  # it may have ended already, and has said why
            self._process.stdin.write(json.dumps(dict(known)).encode() + b"\n")
            self._process.stdin.flush()
        ends = time.monotonic() + self.job.limit
        while True:
            try:
                message = self._messages.get(timeout=max(0.0, ends - time.monotonic()))
            except queue.Empty:
                yield {"failed": f"stopped after {self.job.limit:.0f} s"}
                return
            if message is None:
                yield {"failed": f"its process ended with {self._process.wait()}: {self._last_line()}"}
                return
            yield message
            if "ended" in message or "failed" in message:
                return

    def printed(self) -> str:
        """The end of what it has printed."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-KEPT:]

    def _last_line(self) -> str:
        return next((line for line in reversed(self.printed().splitlines()) if line.strip()), "it printed nothing")

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with suppress(OSError):  # what it was not told before it ended
                self._process.stdin.close()
        self._log.close()


class Workers:
    """The workers of jobs that follow each other; as a context, it leaves none behind."""

    def __init__(self, jobs: Sequence[Job], toy: bool, model: str) -> None:
        # Of all temporary files, since a process that is ended leaves its own behind.
        self._scratch = tempfile.TemporaryDirectory(prefix="gpu_check", ignore_cleanup_errors=True)
        self._jobs, self._about = list(jobs), (toy, model, self._scratch.name)
        self._waiting: dict[int, Worker] = {}
        self._start(0)

    def _start(self, place: int) -> None:
        if place < len(self._jobs):
            self._waiting[place] = Worker(self._jobs[place], *self._about)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._waiting.values():
            worker.close()
        self._scratch.cleanup()

    def __iter__(self) -> Iterator[Worker]:
        """Each worker in turn, the one after it started; it is closed when the next one is asked for."""
        for place in range(len(self._jobs)):
            self._start(place + 1)
            yield self._waiting[place]
            self._waiting.pop(place).close()


def environment(scratch: str) -> dict[str, str]:
    """That of this process, in which the suite and vgen are found, nothing is looked for on the network, and temporary
    files go to a folder."""
    paths = [str(BENCHMARKS), str(VGEN), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1", "TMPDIR": scratch}
