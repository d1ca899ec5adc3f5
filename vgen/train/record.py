"""What a run writes about itself: a line on the console, a JSONL log, TensorBoard, and `run.json`."""

from __future__ import annotations

import json
import logging
import platform
import resource
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from vgen.train.checkpoint import Progress
from vgen.train.distributed import Ranks

logger = logging.getLogger(__name__)


class Means:
    """Running means by name; added to on every step, read and emptied at every log line."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor, int]] = {}

    def add(self, **values: Tensor | float) -> None:
        """Adds every element of each value. Tensors stay where they are, so that no step waits for the device."""
        for name, value in values.items():
            value = torch.as_tensor(value).detach().float()
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (total + value.sum(), count + value.numel())

    def take(self, ranks: Ranks) -> dict[str, float]:
        """The mean of every name since the last call, over all ranks; called on all of them together."""
        mine = {name: (float(total), count) for name, (total, count) in self._sums.items()}
        self._sums = {}
        parts = ranks.gather(mine)
        names = dict.fromkeys(name for part in parts for name in part)
        pairs = {name: [part[name] for part in parts if name in part] for name in names}
        counts = {name: sum(count for _, count in pair) for name, pair in pairs.items()}
        return {name: sum(t for t, _ in pair) / counts[name] for name, pair in pairs.items() if counts[name]}


class Log:
    """The log of a run, on rank 0: `<run>/log.jsonl` and TensorBoard events under `<run>/tensorboard`.

    Args:
        run: the run folder.
        step: where the run stands; records of later steps, which an interrupted run left, are dropped.
    """

    def __init__(self, run: Path, step: int) -> None:
        path = run / "log.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        path.write_text("".join(line for line in lines if json.loads(line)["step"] <= step))
        self._file = path.open("a")
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, values: dict[str, float], kind: str = "train") -> None:
        """One record; also said on the console."""
        self._file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(f"{kind}/{name}", value, step)
        logger.info("%s step %d  %s", kind, step, "  ".join(f"{k} {v:.4g}" for k, v in values.items()))

    def close(self) -> None:
        """Closes both files."""
        self._file.close()
        self._board.close()


def memory_gb(device: torch.device) -> float:
    """The largest memory this process has held, in GB: on the GPU where there is one."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def write_record(run: Path, config: dict[str, Any], progress: Progress, world: int, device: torch.device) -> None:
    """Writes `<run>/run.json`: what was run, for how long, with which versions."""
    names = ("vgen", "torch", "diffusers", "transformers", "deepspeed", "numpy")
    record = {
        "config": config,
        "steps": progress.step,
        "skipped_steps": progress.skipped,
        "samples": progress.samples,
        "train_minutes": round(progress.elapsed / 60, 2),
        "ranks": world,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine() + " cpu",
        "versions": {name: _version(name) for name in names},
    }
    aside = run / "run.json.part"
    aside.write_text(json.dumps(record, indent=2) + "\n")
    aside.rename(run / "run.json")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
