"""Checkpoints: written aside, hashed, renamed last, the newest few kept; the newest whole one is found again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import deepspeed
import torch
from deepspeed.runtime.fp16.loss_scaler import LossScaler
from deepspeed.runtime.zero.config import ZeroStageEnum
from deepspeed.utils.tensor_fragment import fragment_address

from vgen.errors import InputError, RunStopped
from vgen.train.average import Average
from vgen.train.distributed import Ranks
from vgen.train.guard import all_or_none

logger = logging.getLogger(__name__)

ENGINE, STATE, MANIFEST = "engine", "state.json", "manifest.json"


@dataclass
class Progress:
    """How far a run is. Batches and random numbers follow from `step` alone, so there is no other state of theirs."""

    step: int = 0  # optimiser steps taken or skipped
    elapsed: float = 0.0  # seconds of training, over all resumes
    samples: int = 0  # on all ranks
    skipped: int = 0  # steps that were not taken, because of their loss or gradient
    skipped_in_row: int = 0  # of these, the latest
    norms: list[float] = field(default_factory=list)  # of the latest gradients that were taken


@dataclass
class State:
    """What a checkpoint says about itself, in `state.json`."""

    progress: Progress
    config: dict[str, Any]  # of the run, as `config_dict` gives it
    fingerprint: str  # of that config
    ranks: int  # among which ZeRO has split what it splits
    parts: int  # batches that make up a step: ranks x accumulation


@dataclass
class Checkpoint:
    """A whole checkpoint: its folder and what it says."""

    folder: Path
    state: State


def checkpoints(run: Path) -> list[Path]:
    """The finished checkpoints of a run, oldest first."""
    return sorted((run / "checkpoints").glob("step-*[0-9]"))


def save_checkpoint(
    run: Path, engine: deepspeed.DeepSpeedEngine, average: Average | None, state: State, ranks: Ranks, keep: int
) -> None:
    """Writes `<run>/checkpoints/step-NNNNNNNN`, on all ranks together, and deletes all but the newest `keep`.

    A kill or a power cut at any moment leaves the earlier checkpoints whole and this one either whole or invisible.

    Raises:
        RunStopped: a rank could not write; nothing of this checkpoint is left.
    """
    tag = f"step-{state.progress.step:08d}"
    part, final = run / "checkpoints" / f"{tag}.part", run / "checkpoints" / tag
    if final.exists():
        return
    try:
        _write(part, engine, average, state, ranks)
        with all_or_none(ranks, f"the checkpoint {final}"):
            if ranks.first:
                os.rename(part, final)
                _sync(final.parent)
    except RunStopped:
        if ranks.first:
            shutil.rmtree(part, ignore_errors=True)
        raise
    if ranks.first:
        for old in checkpoints(run)[:-keep]:
            _remove(old)
    ranks.barrier()


def _write(part: Path, engine: deepspeed.DeepSpeedEngine, average: Average | None, state: State, ranks: Ranks) -> None:
    """All files of a checkpoint, on the disk for good, and the manifest of their hashes."""
    what = f"the checkpoint {part.with_suffix('')}"
    with all_or_none(ranks, what):
        if ranks.first:
            shutil.rmtree(part, ignore_errors=True)
            (part / ENGINE).mkdir(parents=True)
            (part / STATE).write_text(json.dumps(asdict(state)))
    with all_or_none(ranks, what), _failures_kept(engine):
        engine.save_checkpoint(str(part), tag=ENGINE, save_latest=False, exclude_frozen_parameters=True)
    with all_or_none(ranks, what):
        if average:
            average.save(part)
    names = ranks.gather(_files(part))[0]
    hashes: dict[str, Any] = {}
    with all_or_none(ranks, what):
        for name in names[ranks.rank :: ranks.world]:
            _sync(part / name)
            hashes[name] = _hash(part / name)
    entries = {name: entry for mine in ranks.gather(hashes) for name, entry in mine.items()}
    with all_or_none(ranks, what):
        if ranks.first:
            manifest = part / MANIFEST
            manifest.write_text(json.dumps({"files": dict(sorted(entries.items()))}, indent=1) + "\n")
            for path in (manifest, part / ENGINE, part):
                _sync(path)


@contextmanager
def _failures_kept(engine: deepspeed.DeepSpeedEngine) -> Iterator[None]:
    """DeepSpeed's ranks wait for each other after writing, so a rank that could not write says so after that."""
    failures: list[Exception] = []
    writer, save = engine.checkpoint_engine, engine.checkpoint_engine.save

    def kept(*args: Any, **kwargs: Any) -> None:
        try:
            save(*args, **kwargs)
        except (OSError, RuntimeError) as error:
            failures.append(error)

    writer.save = kept
    try:
        yield
    finally:
        del writer.save
    if failures:
        raise failures[0]


def newest_checkpoint(run: Path, ranks: Ranks) -> Checkpoint | None:
    """The newest checkpoint of a run whose files are all as they were written; None where the run has none at all.
    Damaged ones after it are named in the log, and renamed to `<name>.damaged`.

    Raises:
        InputError: there are checkpoints, and all of them are damaged.
    """
    damaged: dict[Path, str] = {}
    for folder in reversed(ranks.gather(checkpoints(run))[0]):
        damage = next((found for found in ranks.gather(_damage(folder, ranks)) if found), None)
        if damage is None:
            state = json.loads((folder / STATE).read_text())
            if ranks.first:
                for other in damaged:
                    other.rename(other.with_name(other.name + ".damaged"))
            ranks.barrier()
            return Checkpoint(folder, State(**{**state, "progress": Progress(**state["progress"])}))
        damaged[folder] = damage
        if ranks.first:
            logger.warning("checkpoint %s is damaged, so the one before it is taken: %s", folder, damage)
    if damaged:
        reasons = "; ".join(f"{folder.name}: {reason}" for folder, reason in damaged.items())
        raise InputError(
            f"no checkpoint below {run / 'checkpoints'} is whole ({reasons}); put whole files back, or move that "
            "folder away to begin anew"
        )
    return None


def load_checkpoint(
    folder: Path, checkpoint: Checkpoint, engine: deepspeed.DeepSpeedEngine, average: Average | None
) -> None:
    """Restores a checkpoint into the engine and the average.

    Args:
        folder: holds the engine's files: the checkpoint's own folder, or a conversion of it.
    """
    clip = getattr(engine.optimizer, "clip_grad", None)
    groups = [{k: v for k, v in group.items() if k != "params"} for group in engine.optimizer.param_groups]
    frozen = any(not p.requires_grad for p in engine.module.parameters())  # those are not in it
    path, _ = engine.load_checkpoint(str(folder), tag=ENGINE, load_module_strict=not frozen)
    assert path is not None, f"{folder} could not be read"
    # What the recipe says now holds. DeepSpeed brings the old settings back, and from a universal checkpoint under
    # ZeRO 3 those of the first group to all groups.
    for group, settings in zip(engine.optimizer.param_groups, groups, strict=True):
        group.update(settings)
    if clip is not None:
        engine.optimizer.clip_grad = clip
    if average:
        average.load(checkpoint.folder)
    logger.info("resumed from %s", checkpoint.folder)


def clean(run: Path) -> None:
    """Removes what an interrupted write left; a model that was about to be replaced comes back."""
    for part in [*(run / "checkpoints").glob("*.part"), *run.glob("model.part")]:
        shutil.rmtree(part)
    old, model = run / "model.old", run / "model"
    if old.exists() and not model.exists():
        old.rename(model)
    shutil.rmtree(old, ignore_errors=True)


# What DeepSpeed's own files hold beside tensors; anything else is not unpickled.
_KNOWN = [
    LossScaler,
    ZeroStageEnum,
    fragment_address,
]


def _damage(folder: Path, ranks: Ranks) -> str | None:
    """What is wrong with this rank's share of a checkpoint's files, if anything."""
    try:
        files = json.loads((folder / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError):
        return f"{MANIFEST} is missing or unreadable"
    for name in list(files)[ranks.rank :: ranks.world]:
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != files[name]["bytes"]:
            return f"{name} has {path.stat().st_size} bytes, not {files[name]['bytes']}"
        if _hash(path) != files[name]:
            return f"{name} is not what was written: its sha256 differs"
        if path.suffix == ".pt":
            try:
                with torch.serialization.safe_globals(_KNOWN):
                    torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except pickle.UnpicklingError as error:
                return f"{name} holds more than tensors: {str(error).splitlines()[0]}"
    return None


def _hash(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _sync(path: Path) -> None:
    """Waits until a file or the names in a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    """Deletes a checkpoint; half deleted, it no longer looks like one."""
    part = folder.with_name(folder.name + ".part")
    folder.rename(part)
    shutil.rmtree(part)
