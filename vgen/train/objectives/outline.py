"""What a dry run has to know of an objective that was built on paper, beside its modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from vgen.data.buckets import Bucket
from vgen.data.opening import DataConfig, TrainingData, open_dataset
from vgen.trajectory.recorded import recorded_trajectory


@dataclass(frozen=True)
class Tokens:
    """What the backbone reads of one clip: `target` tokens, and those of its conditions, on average and at most."""

    target: int
    given: float
    most_given: int

    @property
    def most(self) -> int:
        """The tokens of the clip with the most conditions."""
        return self.target + self.most_given


@dataclass(frozen=True)
class BodyOutline:
    """Clips of a body, of which a step may hold a batch beside the run's own.

    Attributes:
        layout, column: of its trajectory.
        data, clips, batch, tokens: as of an outline.
        share: the chance of a batch to be of this body.
    """

    layout: str
    data: DataConfig
    clips: int | None
    batch: int
    share: float
    tokens: Callable[[Bucket], Tokens]
    column: str

    def check(self, data: TrainingData) -> None:
        """Refuses a trajectory that is of another layout, as its first episode tells.

        Raises:
            InputError: it is; or the data set has no such column.
        """
        if data.train.places:
            recorded_trajectory(open_dataset(self.data), data.source(data.train.places[0]), self.column, self.layout)


@dataclass(frozen=True)
class Outline:
    """A run without its weights.

    Attributes:
        parts: the modules of each component that training holds; `requires_grad` as in training.
        cached: parameters of each component whose answers are cached, so that training does not hold it.
        data: what it reads.
        lengths, multiple, captions: see `open_data`.
        clips: how many are cut; None: one after another (`all_places`: at every frame where one may start).
        batch: clips per rank and batch.
        backbone: whose activations are estimated; None where none can be.
        checkpointing: whether the backbone's blocks are computed again in the backward pass.
        tokens: what a clip of a bucket means for the backbone.
        text_tokens: that the backbone reads with each clip.
        images: pixels of these many frames are encoded at once during training.
        bodies: of an ego run.
    """

    parts: dict[str, nn.Module]
    data: DataConfig
    lengths: list[int]
    multiple: int
    batch: int
    captions: bool = True
    clips: int | None = None
    all_places: bool = False
    cached: dict[str, int] = field(default_factory=dict)
    backbone: Mapping[str, Any] | None = None
    checkpointing: bool = False
    tokens: Callable[[Bucket], Tokens] | None = None
    text_tokens: int = 0
    images: int = 0
    bodies: list[BodyOutline] = field(default_factory=list)
