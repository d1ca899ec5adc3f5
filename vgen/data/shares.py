"""Long work over many rows, in several processes, that goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from tqdm import tqdm

from vgen.data.jsonl import read_records

TODO, DONE, BAD = 0, 1, 2
STATE = "state.npy"
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
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / STATE).exists():
        np.lib.format.open_memmap(folder / STATE, mode="w+", dtype=np.uint8, shape=(rows,)).flush()
    state = np.load(folder / STATE, mmap_mode="r")
    assert len(state) == rows, f"{folder} is of {len(state)} rows, not {rows}"
    left = np.flatnonzero(state == TODO)
    workers = max(1, min(workers, -(-len(left) // at_once)))
    if len(left):
        with tqdm(total=rows, initial=rows - len(left), desc=label, delay=2) as bar:
            arguments = (workers, folder, left, work, at_once)
            if workers == 1:
                _run_share(0, *arguments, progress=bar.update)
            else:
                _run_processes(arguments, state, bar)
    return _reasons(folder)


def _run_processes(arguments: tuple, state: np.ndarray, bar: tqdm) -> None:
    """Several processes, and a bar that follows what they wrote."""
    processes = torch.multiprocessing.spawn(_run_share, arguments, nprocs=arguments[0], join=False)
    over = False
    while not over:
        over = processes.join(timeout=0.5)
        if done := int((state != TODO).sum()) - bar.n:
            bar.update(done)


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
    state = np.lib.format.open_memmap(folder / STATE, mode="r+")
    for start in range(worker * at_once, len(left), workers * at_once):
        rows = left[start : start + at_once].tolist()
        bad = encode(rows)
        if bad:
            with (folder / REASONS).open("a") as lines:
                lines.writelines("\n" + json.dumps([row, reason]) for row, reason in bad.items())
        state[rows] = [BAD if row in bad else DONE for row in rows]
        state.flush()
        if progress:
            progress(len(rows))


def _reasons(folder: Path) -> dict[int, str]:
    """The bad rows so far; a line that broke off is there again in whole."""
    reasons = {}
    for record in read_records(folder / REASONS):
        match record:
            case [int(row), str(reason)]:
                reasons[row] = reason
    return reasons
