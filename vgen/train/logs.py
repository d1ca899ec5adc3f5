"""What a run says about itself: a live line on the console, a JSONL log, TensorBoard, and `run.json`."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import compress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from vgen.errors import InputError
from vgen.files import append, package_versions, write_whole
from vgen.train.checkpoint.folder import Progress
from vgen.train.config import TrainConfig
from vgen.train.distributed import Ranks

logger = logging.getLogger(__name__)

# What a run.json holds.
RECORDED = {
    "config": dict, "versions": dict, "steps": int, "skipped_steps": int, "samples": int, "train_minutes": int | float,
    "ranks": int, "device": str,
}  # fmt: skip


class Means:
    """Running means by name; added to on every step, read and emptied at every log line."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor, Tensor]] = {}

    def add(self, **values: Tensor | float) -> None:
        """Adds every element of each value, but NaN, which stands for none. Tensors stay where they are, so that no
        step waits for the device."""
        for name, value in values.items():
            value = torch.as_tensor(value).detach().float()
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (total + value.nansum(), count + (~value.isnan()).sum())

    def join(self, other: Means) -> None:
        """Adds all that another one holds."""
        for name, (total, count) in other._sums.items():
            before = self._sums.get(name, (0.0, 0))
            self._sums[name] = (before[0] + total, before[1] + count)

    def mean(self, name: str) -> float:
        """The mean of one name on this rank; waits for the device."""
        total, count = self._sums[name]
        return float(total) / float(count)

    def take(self, ranks: Ranks) -> dict[str, float]:
        """The mean of every name since the last call, over all ranks; called on all of them together."""
        mine = {name: (float(total), float(count)) for name, (total, count) in self._sums.items()}
        self._sums = {}
        parts = ranks.gather(mine)
        names = dict.fromkeys(name for part in parts for name in part)
        pairs = {name: [part[name] for part in parts if name in part] for name in names}
        counts = {name: sum(count for _, count in pair) for name, pair in pairs.items()}
        return {name: sum(t for t, _ in pair) / counts[name] for name, pair in pairs.items() if counts[name]}


class Tracker(Protocol):
    """Where a run's numbers go, beside its JSONL log. On rank 0 alone."""

    def write(self, step: int, values: dict[str, float], kind: str) -> None:
        """One entry; `kind` is `train` or `validation`."""

    def show(self, step: int, name: str, folder: Path) -> None:
        """A sample: its folder holds video.mp4 and contact_sheet.png."""

    def close(self) -> None:
        """The run is over."""


class TensorBoard:
    """A `Tracker` that writes events under `<run>/tensorboard`; those of later steps than `step` are dropped."""

    def __init__(self, run: Path, step: int) -> None:
        self._hook, threading.excepthook = threading.excepthook, self._told
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, values: dict[str, float], kind: str) -> None:
        """See `Tracker`."""
        for name, value in values.items():
            self._board.add_scalar(f"{kind}/{name}", value, step)
        self._board.flush()  # here, so that a full disk is noticed here and not by the writer's thread

    def show(self, step: int, name: str, folder: Path) -> None:
        """See `Tracker`; the sheet alone, since TensorBoard plays no video."""
        with Image.open(folder / "contact_sheet.png") as sheet:
            self._board.add_image(f"samples/{name}", np.asarray(sheet.convert("RGB")), step, dataformats="HWC")
        self._board.flush()

    def close(self) -> None:
        """See `Tracker`."""
        self._board.close()
        if threading.excepthook == self._told:
            threading.excepthook = self._hook

    def _told(self, failed: threading.ExceptHookArgs) -> None:
        """A disk's refusal of TensorBoard's own thread is not printed: the next `flush` raises it here."""
        if not (isinstance(failed.exc_value, OSError) and type(failed.thread).__module__.startswith("tensorboard.")):
            self._hook(failed)


class Log:
    """The log of a run, on rank 0: `<run>/log.jsonl`, the console, and trackers.

    Args:
        run: the run folder.
        step: where the run stands; entries of later steps, which an interrupted run left, are dropped, and damaged
            ones are told of.
        trackers: what else each entry goes to.
    """

    def __init__(self, run: Path, step: int, trackers: Sequence[Tracker] = ()) -> None:
        self._path = run / "log.jsonl"
        lines = self._path.read_bytes().splitlines(keepends=True) if self._path.exists() else []
        places = [_place(line) for line in lines]
        if damaged := places[:-1].count(None):  # the last one may have been cut short by a kill
            logger.warning("%s: %d of %d entries are damaged, and left out", self._path, damaged, len(lines))
        kept = [place is not None and place[0] <= step for place in places]
        write_whole(self._path, b"".join(compress(lines, kept)))
        self._known = set(compress(places, kept))
        self._trackers = list(trackers)

    def write(self, step: int, values: dict[str, float], kind: str = "train") -> None:
        """One entry; also said on the console. One that is there already, as a run makes it twice that was ended
        between its last entry and its end, is left as it is."""
        if (step, kind) in self._known:
            return
        append(self._path, json.dumps({"kind": kind, "step": step, **values}) + "\n")
        for tracker in self._trackers:
            tracker.write(step, values, kind)
        logger.info("%s step %d  %s", kind, step, "  ".join(f"{k} {v:.4g}" for k, v in values.items()))

    def show(self, step: int, name: str, folder: Path) -> None:
        """A sample, which lies in its folder already."""
        for tracker in self._trackers:
            tracker.show(step, name, folder)
        logger.info("sample step %d  %s", step, folder)

    def close(self) -> None:
        """Closes the trackers."""
        for tracker in self._trackers:
            tracker.close()


def _place(line: bytes) -> tuple[int, str] | None:
    """The step and the kind of a log line; None for one that is damaged or was cut short."""
    try:
        entry = json.loads(line)
        step, kind = entry["step"], entry["kind"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return (step, kind) if line.endswith(b"\n") and type(step) is int and type(kind) is str else None


class Live:
    """The line that follows every step on a terminal: a bar. Elsewhere the entries of the log are lines enough."""

    def __init__(self, config: TrainConfig, ranks: Ranks, step: int) -> None:
        total = None if config.max_minutes else config.steps
        self._bar = tqdm(total=total, initial=step, unit="step", disable=None if ranks.first else True)
        self._stack = ExitStack()
        if self.shown:
            self._stack.enter_context(logging_redirect_tqdm())  # entries come above the bar

    @property
    def shown(self) -> bool:
        """False where there is no terminal, so that no value need be fetched for it."""
        return not self._bar.disable

    def show(self, **values: float) -> None:
        """One step, and what it measured."""
        self._bar.set_postfix({name: f"{value:.4g}" for name, value in values.items()}, refresh=False)
        self._bar.update()

    def close(self) -> None:
        """Leaves the bar where it is."""
        self._stack.close()
        self._bar.close()


class Pace:
    """How fast a run goes, from one look at it to the next."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Counts from now on."""
        self.samples, self.tokens, self.waited, self._began = 0, 0, 0.0, time.monotonic()

    def add(self, samples: int, tokens: int, waited: float) -> None:
        """A batch: its sizes on all ranks together, and the seconds that were spent waiting for it."""
        self.samples, self.tokens, self.waited = self.samples + samples, self.tokens + tokens, self.waited + waited

    def take(self) -> dict[str, float]:
        """Samples and tokens per second, and the share of time spent waiting for data, since the last call."""
        seconds = time.monotonic() - self._began
        rates = {"samples_per_s": self.samples / seconds}
        if self.tokens:
            rates["tokens_per_s"] = self.tokens / seconds
        rates["wait_share"] = self.waited / seconds
        self.restart()
        return rates


def exported_at(run: Path, step: int) -> Path:
    """The folder of a model that a run keeps of a step."""
    return run / "exports" / f"step-{step:08d}"


def versions() -> dict[str, str | None]:
    """The versions of the packages that a run's numbers hang on."""
    return package_versions(("vgen", "torch", "diffusers", "transformers", "deepspeed", "numpy"))


def run_record(
    config: dict[str, Any],
    progress: Progress,
    world: int,
    device: str,
    packages: dict[str, str | None],
) -> dict[str, Any]:
    """What was run, for how long, on what, and with which versions: what `run.json` holds."""
    return {
        "config": config,
        "steps": progress.step,
        "skipped_steps": progress.skipped,
        "samples": progress.samples,
        "train_minutes": round(progress.elapsed / 60, 2),
        "ranks": world,
        "device": device,
        "versions": packages,
    }


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Writes `<folder>/run.json`."""
    write_whole(folder / "run.json", json.dumps(record, indent=2) + "\n")


def read_record(run: Path) -> dict[str, Any]:
    """The run.json of a run.

    Raises:
        InputError: there is none, or it is damaged.
    """
    try:
        record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{run} is no run with a finished checkpoint: it has no readable run.json") from error
    for key, kind in RECORDED.items():
        if not isinstance(record, dict) or not isinstance(record.get(key), kind):
            raise InputError(f"{run / 'run.json'} is damaged: it has no {key}, or another value than a run writes")
    config = record["config"]
    objective = config.get("objective")
    if not isinstance(objective, dict) or not isinstance(objective.get("pretrained"), str | None):
        raise InputError(f"{run / 'run.json'} is damaged: its config names no objective")
    if not isinstance(config.get("seed"), int):
        raise InputError(f"{run / 'run.json'} is damaged: its config has no seed")
    return record
