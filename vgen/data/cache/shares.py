"""Long work that is shared between processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.multiprocessing.spawn import ProcessExitedException, spawn
from tqdm import tqdm

from vgen.errors import InputError, RunStopped, TryAgain

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue
    from multiprocessing.sharedctypes import Synchronized


class Share(Protocol):
    """What each process does; another process gets a copy of it."""

    def __call__(self, worker: int, workers: int, device: torch.device, progress: Callable[[int], object]) -> None:
        """The share of worker number `worker` of `workers`; `progress` learns of how much more is done."""


def worker_count(on_cpu: int) -> int:
    """One process per GPU of this machine, or `on_cpu` where there is none."""
    return torch.cuda.device_count() or on_cpu


def run_shares(share: Share, workers: int, total: int, label: str) -> None:
    """Does the work, under a progress bar.

    Args:
        workers: processes that share it; the first alone runs in this process.
        total: of what `progress` is told.
        label: what the bar says.

    Raises:
        InputError, RunStopped: as a process raises them; TryAgain also where one is ended from outside.
    """
    with tqdm(total=total, desc=label, delay=2) as bar:
        if workers == 1:
            share(0, 1, _device(0), bar.update)
        else:
            _run_processes(share, workers, bar)


def _run_processes(share: Share, workers: int, bar: tqdm[Any]) -> None:
    """Several processes, and a bar that follows them. What one of them refuses ends all."""
    context = torch.multiprocessing.get_context("spawn")
    problems, done = context.SimpleQueue(), context.Value("q", 0)
    given = (workers, share, problems, done)
    processes = spawn(_run, given, nprocs=workers, join=False)  # type: ignore[no-untyped-call]  # torch's
    try:
        over = False
        while not over and problems.empty():
            over = processes.join(timeout=0.5)
            bar.update(done.value - bar.n)
    except ProcessExitedException as error:
        raise TryAgain(
            f"{bar.desc}: a process was ended from outside ({error.signal_name or error.exit_code}), as for want of "
            "memory; what is done is kept: start the same command again"
        ) from error
    finally:
        for process in processes.processes:
            process.terminate()
            process.join()
    if not problems.empty():
        raise problems.get()


def _run(
    worker: int,
    workers: int,
    share: Share,
    problems: SimpleQueue[Exception],
    done: Synchronized[int],
) -> None:
    def progress(more: int) -> None:
        with done.get_lock():
            done.value += more

    torch.set_num_threads(1)
    try:
        share(worker, workers, _device(worker), progress)
    except (InputError, RunStopped) as error:
        problems.put(error)


def _device(worker: int) -> torch.device:
    return torch.device("cuda", worker) if torch.cuda.is_available() else torch.device("cpu")
