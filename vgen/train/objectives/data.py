"""The data that every objective names in the same way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vgen.data.clips import FrameCache
from vgen.data.lerobot import LeRobotDataset
from vgen.errors import InputError


@dataclass
class DataConfig:
    """A LeRobot v3 folder and one of its cameras, or a ready frame cache."""

    dataset: str | None = None  # LeRobot v3 folder
    camera: str = "main"  # as in observation.images.main
    split: str = "train"
    cache: str = "data/cache"  # folder below which decoded frames are kept; with no dataset, a frame cache itself
    held_out: float = 0.02  # share of the episodes kept from training, for validation


def open_cache(config: DataConfig) -> FrameCache:
    """The frame cache of a data set, decoded first where it does not exist yet."""
    if config.dataset is None:
        return FrameCache(config.cache)
    return FrameCache.of_dataset(LeRobotDataset(config.dataset, config.split), config.camera, config.cache)


def split_episodes(count: int, held_out: float) -> tuple[list[int], list[int]]:
    """Positions of (trained, held-out) episodes, the held-out ones spread evenly; at least one of each.

    Raises:
        InputError: there is a single episode, or the share is not in (0, 1).
    """
    if count < 2 or not 0 < held_out < 1:
        raise InputError(f"held_out={held_out} of {count} episodes leaves nothing to train on or to validate with")
    kept = min(max(1, round(count * held_out)), count - 1)
    out = sorted({int(n) for n in (np.arange(kept) + 0.5) * count / kept})
    return sorted(set(range(count)) - set(out)), out
