"""The bodies that a run learns to move, or whose motion it predicts: what every objective names in the same way."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vgen.data.bad_data import BadData
from vgen.data.opening import DataConfig
from vgen.errors import InputError
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import Trajectory
from vgen.trajectory.units import check_values

logger = logging.getLogger(__name__)


@dataclass
class BodyConfig:
    """One body's episodes: where they are, and what its trajectory means."""

    data: DataConfig = field(default_factory=DataConfig)
    layout: str = ""  # of the trajectory, by name
    column: str = "observation.state"  # of the data set: the absolute trajectory, a row for each frame
    normalisation: str = "quantile"  # or mean_std, which clamps nothing; where the model has no statistics yet
    share: float = 1.0  # of the batches, against that of the other bodies


def body_shares(bodies: Sequence[BodyConfig]) -> np.ndarray:
    """The chance of each body to be the one of a batch: float64, their sum 1.

    Raises:
        InputError: there is no body, one names no data set, or the shares are not positive.
    """
    if not bodies:
        raise InputError("objective.bodies is empty; name 1 or more, each with data and a layout")
    if any(body.data.dataset is None for body in bodies):
        raise InputError("objective.bodies: data.dataset of each is needed, a LeRobot folder with its trajectories")
    shares = np.array([body.share for body in bodies], dtype=np.float64)
    if not (np.isfinite(shares).all() and (shares > 0).all()):
        raise InputError(f"objective.bodies: the shares {shares.tolist()} must be positive numbers, such as 1")
    return shares / shares.sum()


def tell_missing_rows(body: BodyConfig, recorded: Mapping[str, Trajectory], bad: BadData) -> list[str]:
    """Tells of rows that are not finite, which nothing learns from.

    Args:
        recorded: by the name of the episode, its trajectory.
        bad: learns of each episode that has no finite row at all.

    Returns:
        The names of these episodes.

    Raises:
        InputError: too many episodes are bad.
    """
    column, data = body.column, body.data.dataset
    empty = [name for name, each in recorded.items() if not each.valid.any()]
    for name in empty:
        bad.add(name, f"no row of {column} is finite")
    lacking = {name: int((~each.valid).sum()) for name, each in recorded.items() if name not in empty}
    first = next((name for name, count in lacking.items() if count), None)
    if first is not None:
        line = "column %s of %s: %d of %d rows are not finite, so nothing is learned from them; the first are in %s"
        total = sum(len(recorded[name]) for name in lacking)
        logger.warning(line, column, data, sum(lacking.values()), total, first)
    return empty


def check_units(body: BodyConfig, first: Trajectory, statistics: Statistics) -> None:
    """Holds the first trajectory of a data set, which stands for all, against what a model has learned with.

    Raises:
        InputError: it is in other units; see `vgen.trajectory.units.check_values`.
    """
    try:
        check_values(first, statistics)
    except InputError as error:
        raise InputError(f"column {body.column} of {body.data.dataset}: {error}") from error
