"""Pairs and triplets of clips that have nothing to do with each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TRIES = 200  # draws for each pair that is wanted, before there are said to be no more


@dataclass(frozen=True)
class Scene:
    """Which recording a clip is of, and what it shows; "" where nobody has said."""

    recording: str
    caption: str


def draw_unrelated(scenes: Sequence[Scene], size: int, count: int, seed: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Up to `count` different groups of `size` clips, fewer where there are no more; none has two clips of one
    recording or of one caption.

    Args:
        scenes: of all clips.
        size: of a group.
        count: of groups.
        seed: of the draws.

    Returns:
        The numbers of the clips of each group, in the order in which they follow each other.
    """
    rng = np.random.default_rng(seed)
    drawn: dict[frozenset[int], tuple[int, ...]] = {}
    for _ in range(TRIES * count if len(scenes) >= size else 0):
        if len(drawn) == count:
            break
        group = tuple(rng.choice(len(scenes), size, replace=False).tolist())
        if _unrelated([scenes[number] for number in group]):
            drawn.setdefault(frozenset(group), group)
    return list(drawn.values())


def _unrelated(scenes: Sequence[Scene]) -> bool:
    captions = [scene.caption for scene in scenes if scene.caption]
    return len({scene.recording for scene in scenes}) == len(scenes) and len(set(captions)) == len(captions)
