"""Checkpoints: written aside, hashed, renamed last, the newest few kept; the newest whole one is found again."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import deepspeed
import torch

from vgen.errors import InputError, RunStopped
from vgen.files import disk_error, sync
from vgen.train.average import Average
from vgen.train.checkpoint.manifest import (
    Damage,
    Stamp,
    check_file,
    check_listing,
    hash_file,
    read_manifest,
    stamp,
    walk,
    write_manifest,
)
from vgen.train.checkpoint.unpickling import tensors_only
from vgen.train.distributed import Ranks
from vgen.train.guard import all_or_none

logger = logging.getLogger(__name__)

ENGINE, STATE = "engine", "state.json"


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
    shapes: dict[str, list[int]] = field(default_factory=dict)  # of the trained weights; empty of an older vgen
    device: str = ""  # that it was trained on
    versions: dict[str, str | None] = field(default_factory=dict)  # of the packages that it was trained with
    measured: dict[str, Any] = field(default_factory=dict)  # by the objective, of its data; empty of an older vgen


@dataclass
class Checkpoint:
    """A whole checkpoint: its folder, what it says, and the stamps of the files that this rank has looked at."""

    folder: Path
    state: State
    stamps: dict[str, Stamp] = field(default_factory=dict)


def checkpoints(run: Path) -> list[Path]:
    """The finished checkpoints of a run, oldest first."""
    return sorted((run / "checkpoints").glob("step-*[0-9]"))


def save_checkpoint(
    run: Path, engine: deepspeed.DeepSpeedEngine, average: Average | None, state: State, ranks: Ranks, keep: int
) -> None:
    """Writes `<run>/checkpoints/step-NNNNNNNN`, on all ranks together, and deletes all but the newest `keep`.

    A kill or a power cut at any moment leaves the earlier checkpoints whole and this one either whole or invisible.

    Raises:
        InputError, TryAgain: a rank could not write; nothing of this checkpoint is left.
    """
    tag = f"step-{state.progress.step:08d}"
    part, final = run / "checkpoints" / f"{tag}.part", run / "checkpoints" / tag
    if ranks.gather(final.exists())[0]:  # a network's file system may show it to some and not to others
        return
    try:
        _write(part, engine, average, state, ranks)
        with all_or_none(ranks, f"the checkpoint {final}", run):
            if ranks.first:
                os.rename(part, final)
                sync(final.parent)
    except (InputError, RunStopped):
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
    with all_or_none(ranks, what, part.parent):
        if ranks.first:
            shutil.rmtree(part, ignore_errors=True)
            (part / ENGINE).mkdir(parents=True)
            (part / STATE).write_text(json.dumps(asdict(state)))
    with all_or_none(ranks, what, part.parent), _failures_kept(engine, part):
        engine.save_checkpoint(str(part), tag=ENGINE, save_latest=False, exclude_frozen_parameters=True)
    with all_or_none(ranks, what, part.parent):
        if average:
            average.save(part)
    names = ranks.gather([name for name, _ in walk(part)])[0]
    hashes: dict[str, Any] = {}
    with all_or_none(ranks, what, part.parent):
        for name in names[ranks.rank :: ranks.world]:
            sync(part / name)
            hashes[name] = hash_file(part / name)
    entries = {name: entry for mine in ranks.gather(hashes) for name, entry in mine.items()}
    with all_or_none(ranks, what, part.parent):
        if ranks.first:
            manifest = write_manifest(part, entries, state.fingerprint)
            for path in (manifest, part / ENGINE, part):
                sync(path)


@contextmanager
def _failures_kept(engine: deepspeed.DeepSpeedEngine, part: Path) -> Iterator[None]:
    """DeepSpeed's ranks wait for each other after writing, so a rank that could not write below `part` says so after
    that; torch words what a disk has refused in several ways."""
    failures: list[Exception] = []

    def kept(write: Callable[..., object]) -> Callable[..., None]:
        def guarded(*args: Any, **kwargs: Any) -> None:
            try:
                write(*args, **kwargs)
            except (OSError, RuntimeError) as error:
                failures.append(disk_error(error, part) or error)

        return guarded

    writes = (engine.checkpoint_engine, "save"), (engine, "_copy_recovery_script")  # the latter on rank 0, under ZeRO
    for owner, name in writes:
        setattr(owner, name, kept(getattr(owner, name)))
    try:
        yield
    finally:
        for owner, name in writes:
            delattr(owner, name)
    if failures:
        raise failures[0]


def newest_checkpoint(run: Path, ranks: Ranks) -> Checkpoint | None:
    """The newest checkpoint of a run whose folder is as it was written; None where the run has none at all.
    Damaged ones after it are named in the log, and renamed to `<name>.damaged`.

    Raises:
        InputError: there are checkpoints, and all of them are damaged.
    """
    damaged: dict[Path, str] = {}
    for folder in reversed(ranks.gather(checkpoints(run))[0]):
        checkpoint, damage = examine(folder, ranks)
        if checkpoint:
            if ranks.first:
                for other in damaged:
                    other.rename(_unused(other.with_name(other.name + ".damaged")))
            ranks.barrier()
            return checkpoint
        damaged[folder] = damage
        if ranks.first:
            logger.warning("checkpoint %s is damaged, so the one before it is taken: %s", folder, damage)
    if damaged:
        raise _none_whole(run, damaged)
    return None


def described_checkpoint(run: Path) -> Checkpoint | None:
    """The newest checkpoint by what checkpoints say of themselves: files of weights are not read, and nothing is
    renamed."""
    damaged: dict[Path, str] = {}
    for folder in reversed(checkpoints(run)):
        try:
            manifest = read_manifest(folder)
            check_listing(folder, manifest["files"])
            if STATE in manifest["files"]:
                check_file(folder, STATE, manifest["files"][STATE])
            return Checkpoint(folder, _read_state(folder, manifest))
        except Damage as damage:
            damaged[folder] = str(damage)
    if damaged:
        raise _none_whole(run, damaged)
    return None


def _none_whole(run: Path, damaged: Mapping[Path, str]) -> InputError:
    reasons = "; ".join(f"{folder.name}: {reason}" for folder, reason in damaged.items())
    return InputError(
        f"no checkpoint below {run / 'checkpoints'} is whole ({reasons}); put whole files back, or move that folder "
        "away to begin anew"
    )


def examine(folder: Path, ranks: Ranks) -> tuple[Checkpoint | None, str]:
    """A checkpoint where its folder holds exactly what its manifest lists, each file as it was written, and all that
    the run needs; else None and what is wrong with it. All ranks look together, each at a share of the files."""
    checkpoint, damage = None, ""
    try:
        checkpoint = _whole(folder, ranks)
    except Damage as error:
        damage = str(error)
    damage = next((found for found in ranks.gather(damage) if found), "")
    return (None, damage) if damage else (checkpoint, "")


def _whole(folder: Path, ranks: Ranks) -> Checkpoint:
    """A checkpoint of which this rank's share of the files is whole; Damage where it is not."""
    manifest = read_manifest(folder)
    files = manifest["files"]
    if ranks.first:
        check_listing(folder, files)
    stamps = {name: check_file(folder, name, files[name]) for name in list(files)[ranks.rank :: ranks.world]}
    return Checkpoint(folder, _read_state(folder, manifest), stamps)


def _read_state(folder: Path, manifest: Mapping[str, Any]) -> State:
    """What a checkpoint says about itself; Damage where it does not, or has not all files that it needs."""
    files = manifest["files"]
    if STATE not in files:
        raise Damage(f"{STATE} is missing")
    try:
        state = json.loads((folder / STATE).read_text())
        state = State(**{**state, "progress": Progress(**state["progress"])})
        needed = _needed(state)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise Damage(f"{STATE} is not that of a checkpoint") from error
    if manifest.get("run", state.fingerprint) != state.fingerprint:
        raise Damage(f"its files are of the run {manifest['run']}, and {STATE} is of {state.fingerprint}")
    for end in needed:
        if not any(name.endswith(end) for name in files):
            raise Damage(f"{end} is missing")
    return state


def _needed(state: State) -> list[str]:
    """How the names of the files end that a checkpoint of this state has: DeepSpeed's, and the average's."""
    stage, every = state.config["zero_stage"], range(state.ranks)
    split = every if stage == 3 else range(1)
    models = [f"zero_pp_rank_{rank}_mp_rank_00" for rank in every] if stage == 3 else ["mp_rank_00"]
    needed = [f"{model}_model_states.pt" for model in models]
    needed += [f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt" for rank in (every if stage else ())]
    return needed + [f"average-{rank:03d}.safetensors" for rank in (split if state.config["ema_decay"] else ())]


def load_checkpoint(
    folder: Path, checkpoint: Checkpoint, engine: deepspeed.DeepSpeedEngine, average: Average | None
) -> None:
    """Restores a checkpoint into the engine and the average. Nothing is unpickled but tensors and plain values.

    Args:
        folder: holds the engine's files: the checkpoint's own folder, or a conversion of it.

    Raises:
        InputError: what it holds does not fit the engine, or a file has changed since it was looked at.
    """
    clip = getattr(engine.optimizer, "clip_grad", None)
    groups = [{k: v for k, v in group.items() if k != "params"} for group in engine.optimizer.param_groups]
    frozen = any(not p.requires_grad for p in engine.module.parameters())  # those are not in it
    with misfits_refused(checkpoint.folder), tensors_only():
        path, _ = engine.load_checkpoint(str(folder), tag=ENGINE, load_module_strict=not frozen)
        assert path is not None, f"{folder} could not be read"
    # What the recipe says now holds. DeepSpeed brings the old settings back, and from a universal checkpoint under
    # ZeRO 3 those of the first group to all groups.
    for group, settings in zip(engine.optimizer.param_groups, groups, strict=True):
        group.update(settings)
    if clip is not None:
        engine.optimizer.clip_grad = clip
    if average:
        with misfits_refused(checkpoint.folder):
            average.load(checkpoint.folder)
    for name, before in checkpoint.stamps.items():
        path = checkpoint.folder / name
        if not path.exists() or stamp(path) != before:
            raise InputError(f"{path} has changed while it was read; end what else writes there, and start again")
    logger.info("resumed from %s", checkpoint.folder)


@contextmanager
def misfits_refused(folder: Path) -> Iterator[None]:
    """Around the loading of a checkpoint that is whole: where that fails, the engine is another one's."""
    try:
        yield
    except (torch.OutOfMemoryError, OSError, RunStopped):
        raise
    except Exception as error:  # of any type: DeepSpeed checks little of what it loads
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InputError(
            f"{folder} does not fit this recipe ({reason}); give the values that it was begun with, or another run="
        ) from error


def clean(run: Path) -> None:
    """Removes what an interrupted write left; a model that was about to be replaced comes back."""
    for part in [*(run / "checkpoints").glob("*.part"), *(run / "exports").glob("*.part"), *run.glob("model.part")]:
        shutil.rmtree(part)
    old, model = run / "model.old", run / "model"
    if old.exists() and not model.exists():
        old.rename(model)
    shutil.rmtree(old, ignore_errors=True)


def _remove(folder: Path) -> None:
    """Deletes a checkpoint; half deleted, it no longer looks like one."""
    part = folder.with_name(folder.name + ".part")
    folder.rename(part)
    shutil.rmtree(part)


def _unused(path: Path) -> Path:
    """The path, or the first of `path-2`, `path-3` ... that nothing has."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free
