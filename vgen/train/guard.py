"""Bad days: gradients that must not count, and disks that are full."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from vgen.errors import RunStopped
from vgen.train.distributed import Ranks
from vgen.train.objectives import Batch

WINDOW = 100  # norms that the median is taken over
ENOUGH = 20  # norms before which nothing is called a spike: a run begins with large ones


def is_spike(norm: float, norms: Sequence[float], factor: float) -> bool:
    """True where a gradient's norm is more than `factor` times the median of the `norms` before it; never at 0."""
    return factor > 0 and len(norms) >= ENOUGH and norm > factor * statistics.median(norms)


def save_bad_batch(folder: Path, batches: Mapping[int, Batch], about: Mapping[str, Any]) -> None:
    """Writes what a step was made of: per part, `part-NNN.safetensors` with its tensors and `part-NNN.json` with the
    rest and with `about`."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, batch in batches.items():
        tensors = {key: value.cpu().contiguous() for key, value in batch.items() if isinstance(value, Tensor)}
        rest = {key: value for key, value in batch.items() if key not in tensors}
        save_file(tensors, folder / f"part-{part:03d}.safetensors")
        text = json.dumps({**about, "part": part, "batch": rest}, indent=2, default=str)
        (folder / f"part-{part:03d}.json").write_text(text + "\n")


@contextmanager
def all_or_none(ranks: Ranks, what: str) -> Iterator[None]:
    """A block that writes, on every rank; its end waits for all of them. Nothing in it may wait for other ranks.

    Raises:
        RunStopped: on all ranks, where one could not write.
    """
    problem = None
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        problem = _disk_problem(error)
        if problem is None:
            raise
    problems = [reason for reason in ranks.gather(problem) if reason]
    if problems:
        raise RunStopped(
            f"{what} could not be written: {problems[0]}; earlier checkpoints are whole: make room, then start the "
            "same command again"
        )


def _disk_problem(error: Exception) -> str | None:
    """Why the disk refused, in words; None for errors of another kind."""
    if isinstance(error, OSError):
        return f"{error.strerror or error} ({error.filename})" if error.filename else str(error.strerror or error)
    if isinstance(error, SafetensorError):
        return " ".join(str(error).split())
    # torch.save says no more than that its writer failed
    return "the disk took only a part of a file" if "PytorchStreamWriter" in str(error) else None
