import os
from dataclasses import dataclass

import pytest

from vgen.data.cache.shares import run_shares
from vgen.errors import InputError, TryAgain


@dataclass(frozen=True)
class Share:
    """Worker 1 refuses, or is ended as for want of memory."""

    killed: bool = False

    def __call__(self, worker, workers, device, progress):
        progress(1)
        if worker == 1 and self.killed:
            os.kill(os.getpid(), 9)
        if worker == 1:
            raise InputError("row 3 is not to be had")


def test_one_worker_is_this_process():
    seen = []
    run_shares(lambda worker, workers, device, progress: seen.append((worker, workers, str(device))), 1, 1, "rows")
    assert seen == [(0, 1, "cpu")]


def test_what_one_of_several_processes_refuses_is_said_in_its_words():
    with pytest.raises(InputError, match=r"^row 3 is not to be had$"):
        run_shares(Share(), 2, 2, "rows")
    with pytest.raises(TryAgain, match=r"^rows: a process was ended from outside \(SIGKILL\), as for want of memory; "):
        run_shares(Share(killed=True), 2, 2, "rows")
