"""Checkpoints: written aside, renamed last, the newest few kept."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import deepspeed
from diffusers.training_utils import EMAModel

from vgen.train.distributed import Ranks

logger = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far a run is. Batches and random numbers follow from `step` alone, so there is no other state of theirs."""

    step: int = 0  # optimiser steps taken or skipped
    elapsed: float = 0.0  # seconds of training, over all resumes
    samples: int = 0  # on all ranks
    skipped: int = 0  # steps whose gradients were not finite


def checkpoints(run: Path) -> list[Path]:
    """The whole checkpoints of a run, oldest first."""
    return sorted((run / "checkpoints").glob("step-*[0-9]"))


def save_checkpoint(
    run: Path, engine: deepspeed.DeepSpeedEngine, ema: EMAModel | None, progress: Progress, ranks: Ranks, keep: int
) -> None:
    """Writes `<run>/checkpoints/step-NNNNNNNN`, on all ranks together, and deletes all but the newest `keep`.
    A kill at any moment leaves the earlier checkpoints whole and this one either whole or invisible."""
    tag = f"step-{progress.step:08d}"
    part, final = run / "checkpoints" / f"{tag}.part", run / "checkpoints" / tag
    if final.exists():
        return
    if ranks.first:
        shutil.rmtree(part, ignore_errors=True)
    ranks.barrier()
    state = {"progress": asdict(progress), "ema": ema.state_dict() if ema and ranks.first else None}
    engine.save_checkpoint(
        str(part), tag="engine", client_state=state, save_latest=False, exclude_frozen_parameters=True
    )
    ranks.barrier()
    if ranks.first:
        os.rename(part, final)
        for old in checkpoints(run)[:-keep]:
            shutil.rmtree(old)
    ranks.barrier()


def load_checkpoint(run: Path, engine: deepspeed.DeepSpeedEngine, ema: EMAModel | None) -> Progress | None:
    """Restores the newest checkpoint into the engine and the EMA; None where there is none."""
    found = checkpoints(run)
    if not found:
        return None
    frozen = any(not p.requires_grad for p in engine.module.parameters())  # those are not in it
    path, state = engine.load_checkpoint(str(found[-1]), tag="engine", load_module_strict=not frozen)
    assert path is not None, f"{found[-1]} could not be read"
    if ema is not None and state["ema"] is not None:
        ema.load_state_dict(state["ema"])
    logger.info("resumed from %s", found[-1])
    return Progress(**state["progress"])


def clean(run: Path) -> None:
    """Removes what an interrupted write left."""
    for part in (run / "checkpoints").glob("*.part"):
        shutil.rmtree(part)
