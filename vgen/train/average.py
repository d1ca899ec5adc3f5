"""The exponential moving average of the trained weights, on any ZeRO stage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import deepspeed
import torch
from diffusers.training_utils import EMAModel
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vgen.files import share
from vgen.train.distributed import Ranks


class Average:
    """diffusers' EMAModel (with its warm-up) over whole weights; under ZeRO 3, where no rank has those, every rank
    averages its own shards. An average is linear, so the shards of the average are the averages of the shards.

    Args:
        engine: of the objective whose trainable weights are averaged; they are fp32.
        decay: the share of the average that a step keeps, in (0, 1).
    """

    def __init__(self, engine: deepspeed.DeepSpeedEngine, decay: float, ranks: Ranks) -> None:
        self.engine, self.decay, self.ranks = engine, decay, ranks
        self.split = engine.zero_optimization_stage() == 3
        self.trained = {name: p for name, p in engine.module.named_parameters() if p.requires_grad}
        self.model = self._begin()

    def _begin(self) -> EMAModel:
        return EMAModel(self._held(), self.decay, use_ema_warmup=True, foreach=True)

    def _held(self) -> list[nn.Parameter]:
        """What this rank averages: the weights, or its shard of each (flat, padded to the same size on all ranks)."""
        weights = list(self.trained.values())
        return [nn.Parameter(p.ds_tensor.data) for p in weights] if self.split else weights

    def step(self) -> None:
        """Takes the weights of now into the average."""
        self.model.step(self._held())

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """While it lasts, the module holds the averaged weights; every rank calls it."""
        with self._settled():
            self.model.store(self._held())
            self.model.copy_to(self._held())
        try:
            yield
        finally:
            with self._settled():
                self.model.restore(self._held())

    @contextmanager
    def _settled(self) -> Iterator[None]:
        """ZeRO 3 holds some weights whole, beside their shards: none while the shards change, and new ones after."""
        if self.split:
            self.engine.optimizer.checkpoint_event_prologue()
        yield
        if self.split:
            self.engine.optimizer.checkpoint_event_epilogue()

    def save(self, folder: Path) -> None:
        """Writes `average-NNN.safetensors`: one file, or one of every rank where weights are split."""
        if self.split or self.ranks.first:
            shadow = {name: p.contiguous() for name, p in zip(self.trained, self.model.shadow_params, strict=True)}
            about = {"optimization_step": str(self.model.optimization_step)}
            save_file(shadow, _file(folder, self.ranks.rank), metadata=about)
            share(_file(folder, self.ranks.rank))

    def load(self, folder: Path) -> None:
        """Restores what any number of ranks saved; where they saved nothing, the average begins with the weights."""
        self.model = self._begin()
        count = len(list(folder.glob(_file(folder, 0).name.replace("000", "*"))))
        if count == 0:
            return
        own = not self.split or count == self.ranks.world
        numbers = [self.ranks.rank if self.split else 0] if own else range(count)
        with ExitStack() as stack:
            files = [stack.enter_context(safe_open(_file(folder, number), "pt")) for number in numbers]
            self.model.optimization_step = int(files[0].metadata()["optimization_step"])
            for name, shadow in zip(self.trained, self.model.shadow_params, strict=True):
                saved = [file.get_tensor(name) for file in files]
                shadow.copy_(saved[0] if own else self._shard(torch.cat(saved), name, shadow))

    def _shard(self, flat: Tensor, name: str, shadow: Tensor) -> Tensor:
        """This rank's part of a flat weight that another number of ranks had split and padded."""
        whole = flat.new_zeros(shadow.numel() * self.ranks.world)
        count = self.trained[name].ds_numel
        whole[:count] = flat[:count]
        return whole.view(self.ranks.world, -1)[self.ranks.rank]


def _file(folder: Path, rank: int) -> Path:
    return folder / f"average-{rank:03d}.safetensors"
