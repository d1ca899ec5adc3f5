"""What a rollout is held against: held-out episodes, and groups of episodes that part from one state.

Every rollout starts at frame 16 of a recording; what comes before is its history. A case reaches as far as the largest
of `HORIZONS` that the recording goes on for, so that a rollout never runs beyond its trajectory: short episodes count
at short horizons alone. Episodes take turns by task, as in the canvas benchmark.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from bench_common.episodes import by_turn, episode_infos
from torch import Tensor

from ego_suite.bodies import RecordedBody
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.errors import InputError
from vgen.media.pixels import to_unit
from vgen.trajectory.trajectory import Trajectory

START = 16
HORIZONS = (1, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class EgoCase:
    """A recording from its first frame to the end of a rollout.

    Attributes:
        name: which one it is.
        text: what is done.
        kind: of the trajectory, such as "expert"; "" in an episode that is no counterfactual.
        video: uint8 [3, START + 1 + reach, H, W].
        trajectory: absolute, a row for each frame until the rollout ends: START + 1 + reach or more.
        reach: the frames after START that count, one of `HORIZONS`.
        seed: of the noise.
    """

    name: str
    text: str
    kind: str
    video: Tensor
    trajectory: Trajectory
    reach: int
    seed: int

    @property
    def horizons(self) -> list[int]:
        """The horizons that the case reaches."""
        return [horizon for horizon in HORIZONS if horizon <= self.reach]


def made_frames(reach: int, advance: int) -> int:
    """How many frames a rollout makes to reach a horizon: whole steps of `advance`."""
    return math.ceil(reach / advance) * advance


def read_cases(body: RecordedBody, split: str, count: int, advance: int, seed: int) -> list[EgoCase]:
    """Up to `count` episodes of a split, those that take the first turns.

    Raises:
        InputError: the data cannot be read, or no episode is long enough.
    """
    dataset = LeRobotDataset(body.data, split)
    infos = by_turn(episode_infos(dataset))
    numbers = [info.number for info in infos if _reach(len(body.rows(dataset, info.length)), advance)]
    if not numbers:
        raise InputError(f"no episode of {body.data} ({split}) goes on for {advance} frames after frame {START}")
    return [_case(body, dataset, n, advance, seed + place) for place, n in enumerate(numbers[:count])]


def read_groups(body: RecordedBody, split: str, count: int, advance: int, seed: int) -> list[list[EgoCase]]:
    """Up to `count` groups; the cases of a group share their history, their sentence and their noise.

    Raises:
        InputError: the data cannot be read, or are no groups that part at frame START.
    """
    assert body.counterfactuals is not None, "it has groups"
    dataset = LeRobotDataset(body.counterfactuals, split)
    members: dict[str, list[int]] = defaultdict(list)
    for info in by_turn(episode_infos(dataset)):
        about = dataset.episode(info.number).extra
        if about.get("branch_frame") != START or "group" not in about:
            raise InputError(f"{body.counterfactuals} has no groups that part at frame {START}; {_how(body)}")
        if _reach(len(body.rows(dataset, info.length)), advance):
            members[str(about["group"])].append(info.number)
    groups = [sorted(group) for group in members.values() if len(group) > 1]
    if not groups:
        raise InputError(f"{body.counterfactuals} ({split}) has no group of episodes that are long enough")
    return [
        [_case(body, dataset, number, advance, seed + place) for number in group]
        for place, group in enumerate(groups[:count])
    ]


def batches(cases: Sequence[EgoCase], size: int) -> Iterator[list[EgoCase]]:
    """Cases in batches of one reach; their order within a reach stays."""
    for reach in sorted({case.reach for case in cases}, reverse=True):
        alike = [case for case in cases if case.reach == reach]
        yield from (alike[start : start + size] for start in range(0, len(alike), size))


def truth_of(cases: Sequence[EgoCase]) -> Tensor:
    """What happened, from frame START on: [B, 3, 1 + reach, H, W] in [-1, 1]."""
    return torch.stack([to_unit(case.video[:, START:]) for case in cases])


def _how(body: RecordedBody) -> str:
    return f"record them with: {body.record[1]} --out {body.counterfactuals}" if body.record[1] else "record such ones"


def _reach(length: int, advance: int) -> int:
    """The largest horizon that a recording allows; 0 for none."""
    return max((h for h in HORIZONS if START + 1 + made_frames(h, advance) <= length), default=0)


def _case(body: RecordedBody, dataset: LeRobotDataset, number: int, advance: int, seed: int) -> EgoCase:
    index, length, text = dataset.summary(number)
    rows = body.rows(dataset, length)
    reach = _reach(len(rows), advance)
    frames = body.frames(dataset, number, rows[: START + 1 + reach])
    return EgoCase(
        f"episode {index}",
        text,
        str(dataset.episode(number).extra.get("trajectory", "")),
        torch.from_numpy(frames).permute(3, 0, 1, 2),
        body.trajectory(dataset, number, rows[: START + 1 + made_frames(reach, advance)]),
        reach,
        seed,
    )
