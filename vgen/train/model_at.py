"""The model of a run as it was at a step: the one that the run has exported, or made anew from a checkpoint."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
from safetensors import safe_open
from torch import Tensor

from vgen.backbone.precision import autocast
from vgen.errors import InputError
from vgen.files import aside, writing
from vgen.train.checkpoint.folder import ENGINE, Checkpoint, checkpoints, examine
from vgen.train.checkpoint.resume import check_shapes
from vgen.train.checkpoint.unpickling import read_tensors, tensors_only
from vgen.train.config import recorded_config
from vgen.train.distributed import Ranks
from vgen.train.logs import exported_at, read_record, run_record
from vgen.train.objectives import objective_class

logger = logging.getLogger(__name__)

ALONE = Ranks(0, 1, torch.device("cpu"))


@dataclass(frozen=True)
class RunModel:
    """A model of a run: the folder that it lies in, as the run exports it, and its record, as in run.json."""

    folder: Path
    record: dict[str, Any]


@contextmanager
def model_at(run: Path, step: int | None, near: Path) -> Iterator[RunModel]:
    """The model of a run at a step; None for the newest. Where the run has not exported it, it is made from the
    checkpoint of that step, for as long as the block lasts; that needs the run's data, as the run itself does.

    Args:
        near: a model that is made lies beside this path.

    Raises:
        InputError: the run has no such step, or its checkpoint is damaged; or the model cannot be made here.
    """
    exported = read_record(run)["steps"] if (run / "model").is_dir() else None
    if step is None:
        checkpoint = _newest(run, exported)
    else:
        checkpoint = None if step == exported or exported_at(run, step).is_dir() else _at(run, step, exported)
    if checkpoint is None:
        if step is None or step == exported:
            yield RunModel(run / "model", read_record(run))
        else:
            folder = exported_at(run, step)
            yield RunModel(folder, read_record(folder))
        return
    made = aside(near)
    state = checkpoint.state
    try:
        logger.info("making the model of step %d from %s", state.progress.step, checkpoint.folder)
        with writing(made, kept="", folder=made):
            made.parent.mkdir(parents=True, exist_ok=True)
            write_model(checkpoint, made)
        yield RunModel(made, run_record(state.config, state.progress, state.ranks, state.device, state.versions))
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _newest(run: Path, exported: int | None) -> Checkpoint | None:
    """The newest whole checkpoint; None where the run has exported a model that is as new, or has no checkpoint."""
    for folder in reversed(checkpoints(run)):
        if exported is not None and _step(folder) <= exported:
            break
        checkpoint, damage = examine(folder, ALONE)
        if checkpoint:
            return checkpoint
        logger.warning("checkpoint %s is damaged, so an earlier model is taken: %s", folder, damage)
    if exported is None:
        read_record(run)  # says that there is nothing
        raise InputError(f"{run} has no model and no whole checkpoint to make one from")
    return None


def _at(run: Path, step: int, exported: int | None) -> Checkpoint:
    by_step = {_step(folder): folder for folder in checkpoints(run)}
    if step not in by_step:
        kept = {_step(folder) for folder in (run / "exports").glob("step-*[0-9]")}
        known = sorted({*by_step, *kept} | ({exported} if exported is not None else set()))
        nearest = min(known, key=lambda each: abs(each - step), default=None)
        raise InputError(f"step={step} is no step that {run} has kept; nearest: {nearest}, all: {known}")
    checkpoint, damage = examine(by_step[step], ALONE)
    if checkpoint is None:
        raise InputError(f"checkpoint {by_step[step]} is damaged: {damage}")
    return checkpoint


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def write_model(checkpoint: Checkpoint, folder: Path) -> None:
    """Writes the model of a checkpoint as its run exports it: the averaged weights, or where the run keeps no average
    the trained ones.

    Raises:
        InputError: its recipe, or the data and models that this names, are not to be had here any more.
    """
    config = recorded_config(checkpoint.state.config)
    objective = objective_class(config.objective.name)(config.objective, config.seed)
    check_shapes(checkpoint, objective)
    objective.keep_measured(checkpoint.state.measured)
    objective.prepare()
    trained = {name: weight for name, weight in objective.named_parameters() if weight.requires_grad}
    with torch.no_grad():
        for name, value in _weights(checkpoint, config.zero_stage):
            if name in trained:
                weight = trained[name]
                weight.copy_(value.flatten()[: weight.numel()].view(weight.shape))  # ZeRO 3 pads what it splits
    with torch.no_grad(), autocast("cpu", config.precision == "bf16"):
        objective.eval().export(folder)


def _weights(checkpoint: Checkpoint, stage: int) -> Iterator[tuple[str, Tensor]]:
    """Names and values of the weights of a checkpoint, fp32, whole, perhaps flat and with padding at the end."""
    averages = sorted(checkpoint.folder.glob("average-*.safetensors"))
    if averages:
        with ExitStack() as stack:
            files = [stack.enter_context(safe_open(path, "pt")) for path in averages]
            for name in files[0].keys():  # noqa: SIM118 (it is no mapping)
                parts = [file.get_tensor(name) for file in files]
                yield name, torch.cat(parts) if len(parts) > 1 else parts[0]
    elif stage < 3:
        yield from read_tensors(checkpoint.folder / ENGINE / "mp_rank_00_model_states.pt")["module"].items()
    else:
        with tensors_only():
            whole = get_fp32_state_dict_from_zero_checkpoint(
                str(checkpoint.folder), tag=ENGINE, exclude_frozen_parameters=True
            )
        yield from whole.items()
