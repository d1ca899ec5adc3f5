"""Actions on their way into a model: the one place where trajectories become normalised, timed tensors.

Training, rollouts and benchmarks all come through `timed_actions`, so that one motion is told to a model in one way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
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
        pairs = {
            each.name: torch.cat([getattr(self, each.name), getattr(later, each.name)], dim=1) for each in fields(self)
        }
        return replace(self, **pairs)

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        return replace(self, **{each.name: getattr(self, each.name).to(device) for each in fields(self)})


UNLIKE = 0.5  # the share of values outside the statistics above which actions are taken for those of something else


def timed_actions(
    trajectories: Sequence[Trajectory],
    statistics: Statistics,
    first: int,
    unlike: Callable[[str], None] | None = None,
) -> TimedActions:
    """Trajectories of one length, a row for each frame, as a model takes them.

    Args:
        trajectories: a sample of the batch each; converted to the form of the statistics.
        statistics: of the model and the layout.
        first: the pixel frame of the first row; of a delta trajectory, the one at which its first step arrives.
        unlike: is told, in words, where most of a sample's values are unlike what the model has seen; trajectories
            in another form than that of the statistics are then refused.

    Returns:
        values float32 [B, A, D], where not valid 0.

    Raises:
        InputError: another layout than that of the statistics, or a form that cannot be converted to theirs.
    """
    if unlike is not None:
        worst = max(trajectories, key=statistics.outlier_share)
        if (share := statistics.outlier_share(worst)) > UNLIKE:
            said = f"{100 * share:.0f} % of the actions are unlike what the model has seen of {statistics.layout}"
            unlike(f"{said}: {statistics.farthest_column(worst)}; check unit and form")
    frames = first + np.arange(len(trajectories[0]), dtype=np.float64)
    told = [convert(replace(each, times=frames), statistics.form) for each in trajectories]
    return TimedActions(
        torch.from_numpy(np.stack([statistics.normalise(each) for each in told])),
        torch.from_numpy(np.stack([each.times for each in told])),
        torch.from_numpy(np.stack([each.valid for each in told])),
    )
