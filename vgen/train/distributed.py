"""Ranks, devices and the DeepSpeed engine."""

from __future__ import annotations

import atexit
import json
import logging
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.accelerator import get_accelerator
from deepspeed.runtime.utils import combine_grad_norm_groups
from deepspeed.runtime.zero.utils import is_zero_param
from torch import Tensor, nn

from vgen.backbone.precision import computes_bf16
from vgen.errors import InputError
from vgen.train.config import TrainConfig
from vgen.train.objectives import Objective
from vgen.train.objectives.base import check_stage

logger = logging.getLogger(__name__)

WAIT = timedelta(hours=4)  # of ranks for each other: rank 0 may write a large model meanwhile


@dataclass(frozen=True)
class Ranks:
    """This process among all of them."""

    rank: int
    world: int
    device: torch.device
    sequence: int = 1  # neighbouring ranks that share the tokens of a sample, and so get the same batches

    @property
    def first(self) -> bool:
        """True on the one rank that writes and speaks."""
        return self.rank == 0

    @property
    def data_rank(self) -> int:
        """This process among those with batches of their own; the same for ranks that share a sample."""
        return self.rank // self.sequence

    @property
    def data_world(self) -> int:
        """How many different batches there are at a time."""
        return self.world // self.sequence

    def parts(self, accumulation: int) -> int:
        """The number of batches that make up an optimiser step."""
        return accumulation * self.data_world

    def part(self, micro: int) -> int:
        """Which of them is this rank's, of its own number `micro` within the step. N ranks that accumulate once and
        one rank that accumulates N times so see the same batches in the same steps."""
        return micro * self.data_world + self.data_rank

    def agree(self, *values: float) -> list[float]:
        """The sum of each value over all ranks."""
        if self.world == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return total.tolist()

    def gather(self, item: Any) -> list[Any]:
        """Every rank's item, in the order of ranks."""
        items = [item] * self.world
        if self.world > 1:
            dist.all_gather_object(items, item)
        return items

    def barrier(self) -> None:
        """Waits for all ranks."""
        if self.world > 1:
            dist.barrier()


def start(threads: int, sequence: int = 1) -> Ranks:
    """Joins the ranks that a launcher (torchrun, deepspeed) started; alone where there is none. May be called again.

    Raises:
        InputError: there are several ranks, and it is not said where they meet; or fewer GPUs than ranks.
    """
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")  # DeepSpeed's calls
    torch.set_flush_denormal(True)  # denormal numbers slow a CPU tenfold
    defaults = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    for key, value in defaults.items():
        os.environ.setdefault(key, value)
    if "MASTER_PORT" not in os.environ:
        if os.environ["WORLD_SIZE"] != "1":
            rule = "the ranks need a port to meet at; set it, or start them by torchrun, which does"
            raise InputError(f"WORLD_SIZE={os.environ['WORLD_SIZE']} without MASTER_PORT: {rule}")
        os.environ["MASTER_PORT"] = "0"  # any: one that is looked for first may be taken by then
    if torch.cuda.is_available():
        device = torch.device("cuda", gpu_of(int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()))
        torch.cuda.set_device(device)
    else:
        device = torch.device("cpu")
        torch.set_num_threads(threads)
        # The op speeds up inference only, and building it takes a minute and a compiler.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed("nccl" if device.type == "cuda" else "gloo", verbose=False, timeout=WAIT)
    return Ranks(dist.get_rank(), dist.get_world_size(), device, sequence)


def gpu_of(local_rank: int, count: int) -> int:
    """The number of a rank's GPU among those that it sees: its own where it sees all of its node's, or the only one."""
    if count == 1:
        return 0  # srun --gpus-per-task=1 shows each rank its own alone
    if local_rank >= count:
        rule = "there is one rank for each GPU; start fewer ranks"
        raise InputError(f"LOCAL_RANK={local_rank}, and this machine shows {count} GPUs: {rule}")
    return local_rank


def end_rank() -> None:
    """Ends this process with status 0 where it is one of several ranks on the CPU and its work is done.

    Gloo's threads live as long as anything refers to its groups, and DeepSpeed does for ever. Where one of them lets go
    of a tensor while the interpreter goes down, it aborts the process ("terminate called without an active exception"):
    a run that ended well would be reported as failed. So such ranks do not take the interpreter down.
    """
    if dist.is_initialized() and dist.get_backend() == "gloo" and dist.get_world_size() > 1:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def engine_for(
    config: TrainConfig, objective: Objective[Any], optimizer: torch.optim.Optimizer, universal: bool = False
) -> deepspeed.DeepSpeedEngine:
    """The DeepSpeed engine around an objective. Weights stay fp32; `precision: bf16` autocasts the forward, where the
    device computes in it. ZeRO 3 takes them one by one from the CPU, where the objective still is, so that no GPU ever
    has to hold them all.

    Args:
        universal: what it is going to load is a universal checkpoint, of another number of ranks.

    Raises:
        InputError: the DeepSpeed JSON cannot be read, or the objective cannot do with split weights.
    """
    check_stage(config.zero_stage, type(objective), config.objective.name)
    half = config.precision == "bf16" and computes_bf16(get_accelerator().device_name())
    if config.precision == "bf16" and not half:
        logger.info("precision=bf16: this CPU has no instructions for bfloat16, so all is computed in float32")
    settings: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,  # the objective sizes its batches; only the ratio to the total counts here
        "gradient_accumulation_steps": config.accumulation,
        "zero_optimization": {"stage": config.zero_stage},
        "zero_allow_untested_optimizer": True,
        "torch_autocast": {"enabled": half, "dtype": "bfloat16"},
    }
    if config.zero_stage > 0:  # at stage 0 the loop clips, which gives it the norm
        settings["gradient_clipping"] = config.gradient_clip
    if config.deepspeed:
        try:
            with open(config.deepspeed) as file:
                extra = json.load(file)
        except (OSError, ValueError) as error:
            raise InputError(f"deepspeed={config.deepspeed} is not a readable JSON file: {error}") from error
        settings["zero_optimization"] |= extra.pop("zero_optimization", {})
        settings |= extra
    settings["checkpoint"] = settings.get("checkpoint", {}) | {"load_universal": universal}
    if config.zero_stage == 3:
        deepspeed.zero.Init(module=objective, config_dict_or_path=settings)
        objective.to(get_accelerator().current_device_name())  # the buffers; of weights, nothing is left to move
    engine, *_ = deepspeed.initialize(model=objective, optimizer=optimizer, config=settings)
    if config.zero_stage == 0 and dist.get_world_size() == 1:  # else all gradients are copied twice for nobody
        engine.enable_backward_allreduce = False
    return engine


class Updater:
    """Optimiser steps that are taken or skipped on all ranks alike: a gradient whose norm is not finite changes
    nothing, and neither does one whose norm is refused.

    Args:
        refuse: says of a norm, in the order of steps, whether its step is to be skipped.
    """

    def __init__(self, engine: deepspeed.DeepSpeedEngine, config: TrainConfig, refuse: Callable[[float], bool]) -> None:
        self.engine, self.clip, self._refuse = engine, config.gradient_clip or math.inf, refuse
        self.norm = math.nan  # of the latest gradient, before it was clipped
        # ZeRO takes the norm within its step, and skips the step where it is not finite. It gives no other say in the
        # matter, so a norm that is refused reaches it as infinity.
        if config.zero_stage in (1, 2):
            take_norm = engine.optimizer.scaled_global_norm
            engine.optimizer.scaled_global_norm = lambda: self._judged([take_norm()])[0]
        elif config.zero_stage == 3:
            take_norms = engine.optimizer._get_norm_groups
            engine.optimizer._get_norm_groups = lambda: self._judged(take_norms())

    def step(self) -> bool:
        """One step on the gradients that backward left; False where it was skipped and the gradients dropped."""
        engine = self.engine
        self.norm = math.nan
        if engine.zero_optimization():
            engine.step()
            return engine.was_step_applied()
        self.norm = float(torch.nn.utils.clip_grad_norm_(engine.module.parameters(), self.clip))
        if not math.isfinite(self.norm) or self._refuse(self.norm):
            engine.zero_grad()
            return False
        engine.step()
        return True

    def _judged(self, norms: list[Tensor]) -> list[Tensor]:
        """Norms of groups of weights, or infinity where the norm over all of them is refused."""
        self.norm = float(combine_grad_norm_groups(norms))
        refused = math.isfinite(self.norm) and self._refuse(self.norm)
        return [torch.full_like(norm, math.inf) for norm in norms] if refused else norms


@contextmanager
def whole_weights(weights: Iterable[nn.Parameter], ranks: Ranks) -> Iterator[None]:
    """While it lasts, rank 0 holds these weights whole, to be written; all ranks call it. Those that ZeRO 3 has split
    are gathered one by one into the CPU's memory, since all of them may be more than a GPU holds."""
    split = {}
    for weight in filter(is_zero_param, weights):
        with deepspeed.zero.GatheredParameters([weight]):
            whole = weight.detach().cpu().clone() if ranks.first else None
        if ranks.first:
            split[weight], weight.data = weight.data, whole
    try:
        yield
    finally:
        for weight, part in split.items():
            weight.data = part
