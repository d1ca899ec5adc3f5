"""Run by both ranks of test_preparation.py, whose connections give up after a second: who prepares when, and how all of
them end where one is refused."""

import logging
import socket
import sys
import time
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

from vgen.errors import InputError, TryAgain
from vgen.train import distributed, preparation
from vgen.train.stop import StopAsked

folder = Path(sys.argv[1])
preparation.BEAT, preparation.POLL = 0.2, (0.05, 0.1)
ranks = distributed.start(1)
dist.distributed_c10d._set_pg_timeout(timedelta(seconds=1))
heard = []
handler = logging.Handler()
handler.emit = heard.append
logging.getLogger().addHandler(handler)


class Slow:
    """Takes longer than any connection waits; what it makes, others find."""

    def __init__(self, name: str, seconds: float, error: BaseException | None) -> None:
        self.name, self.seconds, self.error = name, seconds, error

    def prepare(self) -> None:
        logging.getLogger("vgen").warning("one video is bad")
        begun = time.time()
        if not list(folder.glob(f"{self.name}-*")) or socket.gethostname().startswith("node"):
            time.sleep(self.seconds)
        (folder / f"{self.name}-{ranks.rank}").write_text(f"{begun} {time.time()}")
        if self.error and ranks.rank == 1:
            raise self.error


def ended(name: str, seconds: float = 0.0, error: BaseException | None = None) -> str:
    try:
        preparation.prepare(Slow(name, seconds, error), ranks)
    except BaseException as caught:
        return f"{type(caught).__name__}: {caught}"
    return "well"


assert ended("one", 2.0) == "well"
assert len(heard) == ranks.first, heard
assert ended("refused", error=InputError("no such folder")) == "InputError: no such folder"
assert ended("full", error=TryAgain("no room")) == "TryAgain: no room"
assert ended("stopped", error=StopAsked()) == "StopAsked: "
end, host = ended("failed", error=KeyError("x")), socket.gethostname()
kept = "while data were prepared; what is prepared is kept: start the same command again"
assert end == ("KeyError: 'x'" if ranks.rank else f"RunStopped: rank 1 on {host} has failed {kept}"), end
socket.gethostname = lambda: f"node{ranks.rank}"
assert ended("two", 2.0) == "well"
preparation.SILENT = 0.5
assert ended("alive", 2.0 * ranks.rank) == "well"
preparation.BEAT = 60.0
end = ended("silent", 2.0 * ranks.rank)
silent = f"RunStopped: rank 1 on node1 gave no sign of life for 0 s {kept}"
assert end == silent, end
(folder / f"ended-{ranks.rank}").touch()
distributed.end_rank()
