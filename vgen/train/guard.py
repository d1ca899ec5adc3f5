"""Bad days: gradients that must not count, and disks that are full."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from vgen.errors import InputError, RunStopped
from vgen.files import disk_error, refusal, share
from vgen.train.batch import Batch
from vgen.train.distributed import Ranks

KEPT = "earlier checkpoints are whole"  # after whatever a disk has refused
WINDOW = 100  # norms that the median is taken over
ENOUGH = 20  # norms before which nothing is called a spike: a run begins with large ones


def is_spike(norm: float, norms: Sequence[float], factor: float) -> bool:
    """True where a gradient's norm is more than `factor` times the median of the `norms` before it; never at 0."""
    return factor > 0 and len(norms) >= ENOUGH and norm > factor * statistics.median(norms)


def keep_bad_batch(run: Path, parts: Mapping[int, Callable[[], Batch]], about: Mapping[str, Any], ranks: Ranks) -> str:
    """Makes what a step was made of once more, and saves it in `<run>/bad_batch`; called on all ranks together. It may
    fail in all ways that data and disks have, and must not hide why the run ends.

    Args:
        run: its folder.
        parts: makes each part of the step that is this rank's, by its number.
        about: the step.

    Returns:
        Where it is, or why not all of it is kept.
    """
    folder = run / "bad_batch"
    try:
        with all_or_none(ranks, f"the batch {folder}", run):
            save_bad_batch(folder, ((part, _made_again(make)) for part, make in parts.items()), about)
    except (InputError, RunStopped) as error:
        return f"not all of its batch is kept ({error})"
    return f"{folder} holds its batch"


def _made_again(make: Callable[[], Batch]) -> Batch:
    try:
        return make()
    except Exception as error:  # of any type: reading data fails in many ways
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"it cannot be made again: {reason}") from error


def save_bad_batch(folder: Path, batches: Iterable[tuple[int, Batch]], about: Mapping[str, Any]) -> None:
    """Writes what a step was made of, one part after the other: of each, `part-NNN.json` with the batch as it is nested
    and with `about`, and `part-NNN.safetensors` with its tensors. In the JSON these are `{"tensor": NAME}`, as
    `{"ego": {"present": {"tensor": "ego/present"}}}`."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, batch in batches:
        tensors: dict[str, Tensor] = {}
        rest = _without_tensors(batch, "", tensors)
        save_file(tensors, folder / f"part-{part:03d}.safetensors")
        text = json.dumps({**about, "part": part, "batch": rest}, indent=2, default=str)
        (folder / f"part-{part:03d}.json").write_text(text + "\n")
    share(folder)


def _without_tensors(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """A part of a batch with a name in place of each tensor; these go into `tensors`, each in memory of its own, as
    safetensors asks."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if is_dataclass(value) and not isinstance(value, type):
        below = f"{name}/" if name else ""
        return {
            each.name: _without_tensors(getattr(value, each.name), f"{below}{each.name}", tensors)
            for each in fields(value)
        }
    return value


def not_finite(names: list[str], loss: Tensor) -> list[str]:
    """The clips of a batch, by their names, whose loss [B] is not finite; all where its losses are not told apart."""
    bad = (~loss.isfinite()).flatten().cpu()
    if not bad.any():
        return []
    return [name for name, wrong in zip(names, bad, strict=True) if wrong] if len(names) == len(bad) else names


@contextmanager
def all_or_none(ranks: Ranks, what: str, folder: Path) -> Iterator[None]:
    """A block that writes, on every rank; its end waits for all of them. Nothing in it may wait for other ranks.

    Args:
        what: is written, for the error.
        folder: below which it is written.

    Raises:
        TryAgain: on all ranks, where the disk of one is full or fails.
        InputError: on all ranks, where one must not write there.
    """
    refused: InputError | RunStopped | None = None
    try:
        yield
    except (InputError, RunStopped) as error:
        refused = error
    except (OSError, RuntimeError, SafetensorError) as error:
        found = disk_error(error, folder)
        if found is None:
            raise
        refused = refusal(what, found, KEPT)
        refused.__cause__ = error
    told = [each for each in ranks.gather(refused and (type(refused), str(refused))) if each]
    if told:
        kind, line = told[0]
        raise kind(line) from refused
