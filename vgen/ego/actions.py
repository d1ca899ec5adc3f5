"""Actions on their way into a model: the one place where trajectories become normalised, timed tensors.

Training, rollouts and benchmarks all come through `timed_actions`, so that one motion is told to a model in one way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from vgen.trajectory.convert import convert
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import Trajectory


@dataclass(frozen=True, eq=False)
class TimedActions:
    """The actions of a batch, and the frames at which they arrive.

    Attributes:
        values: float [B, A, D], normalised rows of a layout as the network reads it; once fused, tokens [B, A, W].
        arrivals: float64 [B, A], in pixel frames. An action that leads from frame k to frame k + 1 arrives at k + 1,
            so that frame 0 feels none that arrives later.
        valid: bool [B, A]. What is not valid is as if absent; its values may be anything, NaN too.
    """

    values: Tensor
    arrivals: Tensor
    valid: Tensor

    def __post_init__(self) -> None:
        shapes = [list(each.shape) for each in (self.values, self.arrivals, self.valid)]
        assert shapes[0][:2] == shapes[1] == shapes[2], f"an action has one arrival and is valid or not: {shapes}"

    def steps(self, which: slice | Tensor) -> Self:
        """Some of the A actions of every sample: a slice of them, their numbers [K], or bool [A]."""
        return replace(self, values=self.values[:, which], arrivals=self.arrivals[:, which], valid=self.valid[:, which])

    def split(self, count: int) -> list[Self]:
        """The actions in runs of `count`, the last of which may be shorter."""
        return [self.steps(slice(start, start + count)) for start in range(0, self.values.shape[1], count)]

    def after(self, frame: float) -> Self:
        """Those that arrive after a frame in any sample."""
        return self.steps((self.arrivals > frame).any(0))

    def until(self, frame: float) -> Self:
        """Those that arrive at a frame or before it in all samples."""
        return self.steps((self.arrivals <= frame).all(0))

    def then(self, later: TimedActions) -> Self:
        """These, followed by later ones of the same samples."""
        pairs = {name: torch.cat([getattr(self, name), getattr(later, name)], dim=1) for name in _FIELDS}
        return replace(self, **pairs)

    def expand(self, batch: int) -> Self:
        """A single sample for each of a batch; a batch of that size as it is."""
        return replace(self, **{name: _expanded(getattr(self, name), batch) for name in _FIELDS})

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in _FIELDS})


_FIELDS = ("values", "arrivals", "valid")


def timed_actions(trajectories: Sequence[Trajectory], statistics: Statistics, first: int) -> TimedActions:
    """Trajectories of one length, a row for each frame, as a model takes them.

    Args:
        trajectories: a sample of the batch each; converted to the form of the statistics.
        statistics: of the model and the layout.
        first: the pixel frame of the first row; of a delta trajectory, the one at which its first step arrives.

    Returns:
        values float32 [B, A, D], where not valid 0.

    Raises:
        InputError: another layout than that of the statistics, or a form that cannot be converted to theirs.
    """
    frames = first + np.arange(len(trajectories[0]), dtype=np.float64)
    told = [convert(replace(each, times=frames), statistics.form) for each in trajectories]
    return TimedActions(
        torch.from_numpy(np.stack([statistics.normalise(each) for each in told])),
        torch.from_numpy(np.stack([each.times for each in told])),
        torch.from_numpy(np.stack([each.valid for each in told])),
    )


def _expanded(rows: Tensor, batch: int) -> Tensor:
    return rows.expand(batch, *rows.shape[1:])
