"""Trajectories as they are recorded in a data set."""

from __future__ import annotations

import numpy as np

from vgen.data.lerobot.columns import NUMBERS
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.errors import InputError, unknown_key
from vgen.trajectory.parquet import layout_of_feature
from vgen.trajectory.trajectory import Trajectory


def recorded_trajectory(dataset: LeRobotDataset, number: int, column: str, layout: str | None = None) -> Trajectory:
    """The absolute trajectory of episode `number` of a split: a row for each frame, with its time in seconds; a row
    is valid where all of it is finite.

    Args:
        column: of the data set.
        layout: what it means; None: the data set says.

    Raises:
        InputError: the data set has no such column, or it does not fit the layout.
    """
    episode = dataset.episode(number)
    if column not in episode.columns:
        raise unknown_key(column, list(episode.columns), f"the columns of {dataset.path}")
    read, where = episode.columns[column], f"{episode.columns.path}: episode {episode.index}, column {column}"
    if read.dtype.kind not in NUMBERS:
        raise InputError(f"{where} holds no numbers, such as float32, and a trajectory does")
    with np.errstate(over="ignore"):  # what is too large for float32 is not finite
        values = read.astype(np.float32).reshape(episode.length, -1)
    times = np.arange(episode.length, dtype=np.float64) / episode.fps
    layout = layout or layout_of_feature(dataset.info["features"].get(column, {}), column)
    try:
        return Trajectory(values, times, np.isfinite(values).all(1), layout, "absolute")
    except InputError as error:
        raise InputError(f"{where} is no trajectory of layout {layout}: {error}") from error
