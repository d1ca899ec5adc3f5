"""Long work over many rows, in several processes, that goes on where it was stopped."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch.multiprocessing.spawn import ProcessExitedException
from tqdm import tqdm

from vgen.data.jsonl import read_summed, summed_line
from vgen.errors import InputError, RunStopped, TryAgain
from vgen.files import append, preallocate, writing

TODO, DONE, BAD = 0, 1, 2
STATE = "state.bin"
REASONS = "bad.jsonl"

Encode = Callable[[Sequence[int]], dict[int, str]]
"""Encodes rows and writes them where they belong; returns the bad ones among them, each with its reason."""


class Work(Protocol):
    """What is to be done; another process gets a copy of it."""

    def open(self, device: torch.device) -> Encode:
        """Loads what the encoding needs."""


def worker_count(on_cpu: int) -> int:
    """One process per GPU of this machine, or `on_cpu` where there is none."""
    return torch.cuda.device_count() or on_cpu


def run_shares(folder: Path, rows: int, work: Work, at_once: int, workers: int, label: str) -> dict[int, str]:
    """Does the work on every row that is not done yet.

    What is done is kept in `folder`, row by row: a later call, with as many workers or others, goes on from there.

    Args:
        folder: holds the state of the rows, and may hold their results.
        rows: how many there are.
        at_once: rows in one call of the encoding.
        workers: processes that share the rows; the first alone runs in this process.
        label: what the progress bar says.

    Returns:
        The bad rows with their reasons.

    Raises:
        InputError, RunStopped: as the work raises them; or the folder cannot be written to, or a process was killed.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / STATE).exists():
            preallocate(folder / STATE, rows)
    state = read_state(folder)
    assert len(state) == rows, f"{folder} is of {len(state)} rows, not {rows}"
    left = np.flatnonzero(state == TODO)
    workers = max(1, min(workers, -(-len(left) // at_once)))
    if len(left):
        with tqdm(total=rows, initial=rows - len(left), desc=label, delay=2) as bar:
            arguments = (workers, folder, left, work, at_once)
            if workers == 1:
                _run_share(0, *arguments, progress=bar.update)
            else:
                _run_processes(arguments, bar)
    return read_reasons(folder)


def read_state(folder: Path) -> np.ndarray:
    """Of each row, whether it is to be done, done or bad: uint8 [rows]."""
    return np.frombuffer((folder / STATE).read_bytes(), np.uint8)


def read_reasons(folder: Path) -> dict[int, str]:
    """The bad rows so far; a line that broke off is there again in whole."""
    reasons = {}
    for record in read_summed(folder / REASONS):
        match record:
            case [int(row), str(reason)]:
                reasons[row] = reason
    return reasons


def _run_processes(arguments: tuple, bar: tqdm) -> None:
    """Several processes, and a bar that follows what they wrote. What one of them refuses ends all."""
    context = torch.multiprocessing.get_context("spawn")
    problems, folder = context.SimpleQueue(), arguments[1]
    processes = torch.multiprocessing.spawn(_run_worker, (problems, *arguments), nprocs=arguments[0], join=False)
    try:
        over = False
        while not over and problems.empty():
            over = processes.join(timeout=0.5)
            if done := int((read_state(folder) != TODO).sum()) - bar.n:
                bar.update(done)
    except ProcessExitedException as error:
        raise TryAgain(
            f"a process that encodes into {folder} was ended from outside ({error.signal_name or error.exit_code}), as "
            "for want of memory; what is done is kept: start the same command again"
        ) from error
    finally:
        for process in processes.processes:
            process.terminate()
            process.join()
    if not problems.empty():
        raise problems.get()


def _run_worker(worker: int, problems: torch.multiprocessing.SimpleQueue, *arguments: object) -> None:
    try:
        _run_share(worker, *arguments)
    except (InputError, RunStopped) as error:
        problems.put(error)


def _run_share(
    worker: int,
    workers: int,
    folder: Path,
    left: np.ndarray,
    work: Work,
    at_once: int,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Every workers-th batch of rows. Results are on disk before their state is."""
    if workers > 1:
        torch.set_num_threads(1)
    encode = work.open(torch.device("cuda", worker) if torch.cuda.is_available() else torch.device("cpu"))
    for start in range(worker * at_once, len(left), workers * at_once):
        rows = left[start : start + at_once].tolist()
        bad = encode(rows)
        with writing(folder):
            _note(folder, rows, bad)
        if progress:
            progress(len(rows))


def _note(folder: Path, rows: Sequence[int], bad: dict[int, str]) -> None:
    if bad:
        append(folder / REASONS, "".join(summed_line([row, reason]) for row, reason in bad.items()))
    with (folder / STATE).open("r+b", buffering=0) as state:
        for row in rows:
            os.pwrite(state.fileno(), bytes([BAD if row in bad else DONE]), row)
        os.fdatasync(state.fileno())
