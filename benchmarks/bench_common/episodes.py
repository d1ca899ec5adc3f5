"""Which episodes of a split are taken first: the same folder gives the same ones everywhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from vgen.data.lerobot.dataset import LeRobotDataset


@dataclass(frozen=True)
class SplitEpisode:
    """An episode's number in its split, its frames and its sentence."""

    number: int
    length: int
    task: str


def episode_infos(dataset: LeRobotDataset) -> list[SplitEpisode]:
    """All episodes of a data set's split."""
    return [SplitEpisode(number, *dataset.summary(number)[1:]) for number in range(len(dataset))]


def by_turn(episodes: Sequence[SplitEpisode]) -> list[SplitEpisode]:
    """Episodes taking turns by task: the first of every task, then the second of every task, ..."""
    seen: dict[str, int] = defaultdict(int)
    turns = []
    for episode in sorted(episodes, key=lambda episode: episode.number):
        turns.append((seen[episode.task], episode.task, episode))
        seen[episode.task] += 1
    return [episode for _, _, episode in sorted(turns, key=lambda turn: turn[:2])]
