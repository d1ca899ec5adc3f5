"""A recipe at work: in this process, or on several ranks of this machine that end with it."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # it is documented, if not listed

from vgen.errors import RunStopped
from vgen.train.config import load_config
from vgen.train.loop import train
from vgen.train.stop import Stop

logger = logging.getLogger(__name__)

DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl
POLL = 0.5  # seconds between looks at the ranks


def train_here(recipe: Path, overrides: Sequence[str], exported: Callable[[], None]) -> str:
    """Trains in this process; returns what a run says that was told to stop, or "".

    Args:
        exported: is called whenever the run has written its model.

    Raises:
        InputError, RunStopped: see `train`.
    """
    stop = Stop()
    train(load_config(recipe, overrides), stop, exported=exported)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return stop.report


def train_on_ranks(
    recipe: Path, overrides: Sequence[str], ranks: int, model: Path, exported: Callable[[], None]
) -> str:
    """Trains on several ranks of one thread each, which end with this process; returns as `train_here`.

    Args:
        model: the folder that the run writes its model into, whole each time ...
        exported: ... upon which this is called.

    Raises:
        RunStopped: a rank has failed; it has said why.
    """
    command = [sys.executable, "-m", "vgen", "train", str(recipe), *overrides]
    # As torchrun does: they meet at a store of this process. A port that is only looked for may be taken by then.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {"WORLD_SIZE": ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": store.port}
    shared |= {"TORCHELASTIC_USE_AGENT_STORE": True, "OMP_NUM_THREADS": 1}
    settings = {key: str(value) for key, value in shared.items()}
    stop, told, seen = Stop(), False, _written(model)
    with stop.listening():
        processes = [
            subprocess.Popen(command, env=os.environ | settings | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                             preexec_fn=end_with_parent, process_group=0)
            for rank in range(ranks)
        ]  # fmt: skip
        try:
            while any(process.poll() is None for process in processes) and not any(p.poll() for p in processes):
                if stop.asked and not told:
                    told = True
                    for process in processes:
                        process.send_signal(signal.SIGTERM)
                if (now := _written(model)) != seen:
                    seen = now
                    exported()
                time.sleep(POLL)
        finally:
            for process in processes:  # the others would wait for one that has failed
                process.kill()
                process.wait()
    if any(process.returncode for process in processes):
        raise RunStopped(f"{recipe.stem}: its training has failed, as it says above; the same command goes on")
    return "stopped; the same command goes on" if stop.asked else ""


def _written(folder: Path) -> int | None:
    """Which writing of a folder this is: replaced whole, it is another one each time. None: it is not there."""
    try:
        return folder.stat().st_ino
    except FileNotFoundError:  # not yet, or in this moment
        return None


def end_with_parent() -> None:
    """In a new process: it is killed when the one that started it ends, however that ends. On Linux alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL)
