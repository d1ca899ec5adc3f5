"""What the loop asks of an objective: inputs, loss, validation and export. The loop knows nothing else of it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from torch import Tensor, nn

from vgen.errors import InputError
from vgen.train.batch import Batch
from vgen.train.objectives.outline import Outline

AnyBatch = TypeVar("AnyBatch", bound=Batch)


class ObjectiveConfig(Protocol):
    """What an objective needs; a dataclass."""

    name: str


def check_stage(zero_stage: int, objective: type[Objective[Any]], name: str) -> None:
    """Refuses ZeRO 3 for an objective that cannot do with split weights.

    Raises:
        InputError: it cannot.
    """
    if zero_stage == 3 and objective.needs_whole_weights:
        raise InputError(f"objective.name={name} needs whole weights; use zero_stage=2 or less, not 3")


class Objective(nn.Module, ABC, Generic[AnyBatch]):
    """The trainable parts and what they are trained on. The loop wraps the objective itself, so that its forward runs
    inside the training engine. Every subclass has a `Config` dataclass with a `name` field, is built as
    `cls(config, seed)` on every rank with the same weights, and draws random numbers in `forward` from torch's global
    generator, which the loop seeds anew for every batch: a resumed run then repeats an unbroken one.

    A dry run builds it within `with torch.device("meta")`, where no weight may be read; see `building.py`."""

    Config: ClassVar[type[ObjectiveConfig]]
    needs_whole_weights: ClassVar[bool] = False  # `export` runs the model on rank 0 alone, which ZeRO 3 cannot
    bad_data: Path | None = None  # a JSONL file for data that cannot be used; the loop names it before `prepare`

    def outline(self) -> Outline:
        """What a run would hold and read, of an objective that was built on paper; one without it has no dry run."""
        raise NotImplementedError

    def parts(self) -> dict[str, nn.Module]:
        """The components that have weights, by name."""
        return {name: part for name, part in self.named_children() if any(True for _ in part.parameters())}

    def prepare(self) -> None:
        """Builds what is built once and shared by all ranks (caches). Rank 0 runs it first, alone."""

    def measured(self) -> dict[str, Any]:
        """What `prepare` has measured of the data and the weights learn with, as plain values of JSON: a checkpoint
        keeps it beside them."""
        return {}

    def keep_measured(self, measured: Mapping[str, Any]) -> None:
        """What a checkpoint kept of `measured`, before `prepare`: data that have changed since do not change what the
        weights have learned with."""

    def data_summary(self) -> str:
        """A line for the end of a run: what of the data could not be used; "" where that cannot be."""
        return ""

    def split_sequence(self, size: int) -> None:
        """Lets every `size` neighbouring ranks share the tokens of a sample; they get the same batches and random
        numbers, and call the model together.

        Raises:
            InputError: the model cannot do that, or not with this size.
        """
        raise InputError(f"sequence_parallel_size={size}: objective.name={self.Config.name} has no tokens; use 1")

    @abstractmethod
    def batch(self, step: int, part: int, parts: int, progress: float) -> AnyBatch:
        """Batch number `part` of the `parts` that make up an optimiser step, over all ranks and accumulated batches: a
        pure function of its arguments and the seed, on the CPU, called from several threads at once. `progress` in
        [0, 1] is the share of the run that is over."""

    def tokens(self, batch: AnyBatch) -> int:
        """How many tokens the backbone sees of a batch, for the speed in the log; 0 where that says nothing."""
        return 0

    @abstractmethod
    def forward(self, batch: AnyBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The unreduced loss [B], and metrics: each a tensor of any shape, whose mean is logged under its name."""

    def validate(self, rank: int, world: int, after_batch: Callable[[], None]) -> dict[str, float]:
        """This rank's share of the validation; the loop averages over ranks. Every rank makes as many model calls, and
        calls `after_batch`, which may wait for the others, as often: after each batch, ending by what that raises."""
        return {}

    def read_sample(self, spec: str, overrides: Mapping[str, Any]) -> Any:
        """What `draw` draws, from a spec file and values that go before its own.

        Raises:
            InputError: the spec does not fit the model, or the objective draws nothing.
        """
        raise InputError(
            f"samples.specs={spec}: objective.name={self.Config.name} draws no samples; use samples.specs=[]"
        )

    def draw(self, sample: Any, steps: int | None, after_step: Callable[[], None]) -> np.ndarray:
        """The video uint8 [T, H, W, 3] of a sample, drawn with the weights held now in `steps` denoising steps, on all
        ranks together. Calls `after_step` after each of them, and ends by what that raises. Takes no number from
        torch's global generator."""
        raise NotImplementedError

    def write_sample(self, sample: Any, video: np.ndarray, folder: Path) -> None:
        """Writes video.mp4 and contact_sheet.png of what `draw` drew."""
        raise NotImplementedError

    def exported(self) -> Iterable[nn.Parameter]:
        """The weights that `export` writes: where ZeRO 3 has split them, they are gathered for it."""
        return self.parameters()

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Writes the trained models below `folder` in diffusers format, with the weights held now."""


def by_noise(loss: Tensor, time: Tensor, levels: int = 4) -> dict[str, Tensor]:
    """Losses [B] by bands of diffusion time [B], as metrics of the log: [B] each, NaN where the time is of another,
    as to leave these out would make the step wait for the device."""
    band = (time * levels).long().clamp(max=levels - 1)
    return {f"loss/noise{level}": loss.detach().where(band == level, math.nan) for level in range(levels)}


def training_mode(objective: Objective[Any]) -> None:
    """Training mode, but for parts that are frozen as a whole: a frozen text encoder has no dropout."""
    objective.train()
    for module in objective.modules():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            module.eval()
