"""Going on from a checkpoint: whether it is the same run, and on another number of ranks."""

from __future__ import annotations

import io
import logging
import shutil
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import deepspeed
import torch
from deepspeed.checkpoint import ds_to_universal

from vgen.errors import InputError
from vgen.files import writing
from vgen.train.average import Average
from vgen.train.checkpoint.folder import ENGINE, Checkpoint, load_checkpoint, misfits_refused, newest_checkpoint
from vgen.train.checkpoint.unpickling import tensors_only
from vgen.train.config import TrainConfig, config_changes, config_dict, refused_changes
from vgen.train.distributed import Ranks
from vgen.train.guard import all_or_none

logger = logging.getLogger(__name__)


def find_resume(config: TrainConfig, ranks: Ranks) -> Checkpoint | None:
    """The checkpoint that a run goes on from; None where it begins. Changes of the recipe are logged, `key: old → new`.

    Raises:
        InputError: the recipe or the number of ranks makes it another run, and `force_config_change` does not insist;
            or no checkpoint is whole; or what ZeRO has split cannot be split anew.
    """
    checkpoint = newest_checkpoint(Path(config.run), ranks)
    if checkpoint:
        check_resume(checkpoint, config, ranks)
    return checkpoint


def check_resume(checkpoint: Checkpoint, config: TrainConfig, ranks: Ranks) -> None:
    """Whether a run can go on from a checkpoint on so many ranks; see `find_resume`."""
    changes = config_changes(checkpoint.state.config, config_dict(config))
    if ranks.first:
        for key, (old, new) in changes.items():
            logger.info("changed since %s: %s: %s → %s", checkpoint.folder.name, key, old, new)
    if "zero_stage" in changes:
        old, new = changes["zero_stage"]
        raise InputError(f"zero_stage={new} cannot read what zero_stage={old} has split; go on with zero_stage={old}")
    if not config.force_config_change:
        _check_same_run(checkpoint, refused_changes(changes), config, ranks)
    if needs_conversion(checkpoint, config, ranks) and config.optimizer.name == "muon":
        raise InputError(
            f"optimizer.name=muon under ZeRO goes on with as many ranks as before alone: {checkpoint.state.ranks}, "
            f"not {ranks.world}"
        )


def _check_same_run(checkpoint: Checkpoint, refused: dict[str, Any], config: TrainConfig, ranks: Ranks) -> None:
    if refused:
        diff = "; ".join(f"{key}: {old} → {new}" for key, (old, new) in refused.items())
        raise InputError(
            f"{config.run} was begun with another recipe ({diff}); give the old values, or another run=, or insist "
            "with force_config_change=true"
        )
    parts, now = checkpoint.state.parts, ranks.parts(config.accumulation)
    if parts != now:
        near, rest = divmod(parts, ranks.data_world)
        whole = f"a number of ranks that divides {parts}" if rest else f"accumulation={near}"
        raise InputError(
            f"ranks={ranks.world} x accumulation={config.accumulation} makes steps of {now} batches, and {config.run} "
            f"was begun with {parts}; use {whole}, or insist with force_config_change=true"
        )


def needs_conversion(checkpoint: Checkpoint, config: TrainConfig, ranks: Ranks) -> bool:
    """True where ZeRO has split the optimizer's state among another number of ranks."""
    return config.zero_stage > 0 and checkpoint.state.ranks != ranks.world


def resume(checkpoint: Checkpoint, engine: deepspeed.DeepSpeedEngine, average: Average | None, ranks: Ranks) -> None:
    """Restores a checkpoint into an engine, which was built with `universal` where it needs conversion.

    Raises:
        InputError: its weights do not fit the engine's.
    """
    check_shapes(checkpoint, engine.module)
    if not engine.load_universal_checkpoint():
        load_checkpoint(checkpoint.folder, checkpoint, engine, average)
        return
    with _converted(checkpoint, ranks) as folder:
        load_checkpoint(folder, checkpoint, engine, average)
    # Under ZeRO 3, DeepSpeed gives one and the same count of steps to all parameters, which each of them would raise.
    for state in engine.optimizer.optimizer.state.values():
        if isinstance(state.get("step"), torch.Tensor):
            state["step"] = state["step"].clone()


def weight_shapes(module: torch.nn.Module) -> dict[str, list[int]]:
    """The shapes of the trained weights, whole ones where ZeRO has split them."""
    trained = ((name, weight) for name, weight in module.named_parameters() if weight.requires_grad)
    return {name: list(getattr(weight, "ds_shape", weight.shape)) for name, weight in trained}


def check_shapes(checkpoint: Checkpoint, module: torch.nn.Module) -> None:
    """Refuses a checkpoint whose trained weights are not those of a module: `force_config_change` lets any recipe try.

    Raises:
        InputError: other names or shapes.
    """
    old, new = checkpoint.state.shapes, weight_shapes(module)
    if not old:  # as an older vgen wrote it: DeepSpeed will see
        return
    differing = [name for name in old | new if old.get(name) != new.get(name)]
    if differing:
        name = differing[0]
        then, now = (shapes.get(name, "not there") for shapes in (old, new))
        more = f", and {len(differing) - 1} more differ" if len(differing) > 1 else ""
        raise InputError(
            f"{checkpoint.folder} does not fit this recipe: {name} is {then} in it and {now} now{more}; give the "
            "values that it was begun with, or another run="
        )


@contextmanager
def _converted(checkpoint: Checkpoint, ranks: Ranks) -> Iterator[Path]:
    """The folder of DeepSpeed's universal form of a checkpoint, written beside it for as long as it is needed."""
    aside = checkpoint.folder.with_name("universal.part")
    try:
        with all_or_none(ranks, f"the conversion {aside}", checkpoint.folder):
            if ranks.first:
                logger.info("converting %s from %d ranks to %d", checkpoint.folder, checkpoint.state.ranks, ranks.world)
                _convert(checkpoint.folder, aside)
        yield aside
        ranks.barrier()
    finally:
        if ranks.first:
            shutil.rmtree(aside, ignore_errors=True)


def _convert(folder: Path, aside: Path) -> None:
    """Writes the universal form of the checkpoint in a folder."""
    shutil.rmtree(aside, ignore_errors=True)
    settings = Namespace(
        input_folder=str(folder / ENGINE),
        output_folder=str(aside / ENGINE),
        num_extract_workers=1,  # no processes: this one holds the connections to the other ranks
        num_merge_workers=1,
        keep_temp_folder=False,
        strict=True,
        inject_missing_state=True,
    )
    quiet = redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO())  # it talks a lot
    disk = writing(f"the conversion {aside}", kept="earlier checkpoints are whole", folder=folder.parent)
    with misfits_refused(folder), disk, tensors_only(), quiet[0], quiet[1]:
        (aside / ENGINE).mkdir(parents=True)
        ds_to_universal.main(settings)
