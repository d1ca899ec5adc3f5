"""Held-out clips of a LeRobot folder, chosen by rule: the same folder gives the same clips everywhere.

The rule: episodes take turns by task (the first of every task, then the second of every task, ...). Each gives its
middle clip; when every episode has had its turn and more clips are wanted, each gives the clip a quarter into the range
of possible starts, then three quarters, then eighths, and so on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from bench_common.episodes import SplitEpisode, by_turn, episode_infos
from torch import Tensor

from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.media.pixels import to_unit


@dataclass(frozen=True)
class ClipPlace:
    """Where a clip lies: the episode, and its first frame there, in frames of the recording."""

    episode: int
    start: int
    task: str


def choose(episodes: Sequence[SplitEpisode], count: int, span: int) -> list[ClipPlace]:
    """Up to `count` clips of `span` recorded frames, by the rule above; fewer where there are fewer.

    Episodes shorter than `span` give none; no clip is chosen twice.
    """
    turns = [episode for episode in by_turn(episodes) if episode.length >= span]
    chosen: dict[ClipPlace, None] = {}
    longest = max((episode.length - span for episode in turns), default=0)
    for fraction in fractions(longest):
        for episode in turns:
            chosen.setdefault(ClipPlace(episode.number, int(fraction * (episode.length - span)), episode.task))
            if len(chosen) == count:
                return list(chosen)
    return list(chosen)


def choose_from(dataset: LeRobotDataset, count: int, span: int) -> list[ClipPlace]:
    """`choose` among the episodes of a data set's split."""
    return choose(episode_infos(dataset), count, span)


def load(dataset: LeRobotDataset, camera: str, places: Sequence[ClipPlace], frames: int, stride: int) -> Tensor:
    """Every `stride`-th recorded frame from each place on: videos `[B, 3, frames, H, W]` in [-1, 1].

    Raises:
        InputError: There is no such camera, or a video is missing or corrupt.
    """
    numbers = range(0, frames * stride, stride)
    clips = [dataset.frames(place.episode, camera, [place.start + n for n in numbers]) for place in places]
    return torch.stack([to_unit(clip).permute(3, 0, 1, 2) for clip in clips])


def fractions(longest: int) -> Iterator[float]:
    """1/2, 1/4, 3/4, 1/8, 3/8, ... until they are finer than one frame in `longest`."""
    parts = 2
    while parts <= 2 * max(longest, 1):
        yield from ((2 * k + 1) / parts for k in range(parts // 2))
        parts *= 2
