"""Counterfactuals: other ways the hand could have gone on from the middle of an expert's episode.

A group is made of K episodes with the same HISTORY frames and the same state at frame `BRANCH_FRAME`, where they part.
Branch 0 is the expert's; the others follow edits of its path:

- `mirrored`: left and right exchanged, from where the hand is;
- `stopped`: the hand stays where it is, and holds what it holds;
- `redirected`: the hand goes to another point, and holds what it holds;
- `noisy`: the expert's path, with a smooth wandering added.

An edit whose hand stays too near to that of another branch tells nothing, and another takes its place.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from vgen.simulators.paths import glide, wandering

HISTORY = 16  # frames before the branch point
FUTURE = 64  # frames after it
BRANCH_FRAME = HISTORY
LEAST_GAP = 0.03  # metres between the hands of two branches, mean over the future
LEAST_MOVE = 0.12  # metres to the point of a redirected hand
WANDERING = 0.06  # metres, deviation of each coordinate of a noisy path
TRIES = 24


class SimulatedEpisode(Protocol):
    """One episode of a simulator: a dataclass with arrays of T rows."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def success(self) -> int | None:
        """The first step that succeeds, or None."""

    @property
    def physics(self) -> np.ndarray:
        """[T, S], the simulator's whole state at each step."""


Episode = TypeVar("Episode", bound=SimulatedEpisode)


@dataclass(frozen=True)
class Workspace:
    """Where and how fast a hand can go.

    low, high: corners [3] of a box that is in view and within reach, metres.
    speed: of a redirected hand, metres per frame, at most.
    """

    low: np.ndarray
    high: np.ndarray
    speed: float


def branch_point(rng: np.random.Generator, success: int) -> int:
    """The step of an expert's episode at which its branches part: there is history, and something is yet to be done."""
    return int(rng.integers(HISTORY, max(HISTORY, success - HISTORY) + 1))


def edits(
    rng: np.random.Generator, path: np.ndarray, grip: np.ndarray, workspace: Workspace
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Other paths from the first point of a path: each kind once, in any order, then redirected and noisy ones.

    Args:
        rng: draws them.
        path: [F, 3], the expert's, in metres; x points right.
        grip: [F], the expert's grip along it.
        workspace: where the hand can go.

    Yields:
        The kind of the edit, its path [F, 3] and its grip [F].
    """
    held = np.full_like(grip, grip[0])
    kinds = list(rng.permutation(["mirrored", "stopped", "redirected", "noisy"]))
    kinds += list(rng.choice(["redirected", "noisy"], TRIES - len(kinds), p=[0.75, 0.25]))
    for kind in kinds:
        if kind == "mirrored":
            yield kind, _mirrored(path), grip
        elif kind == "stopped":
            yield kind, np.repeat(path[:1], len(path), axis=0), held
        elif kind == "redirected":
            yield kind, _redirected(rng, path, workspace), held
        else:
            yield kind, path + wandering(rng, WANDERING, len(path)), grip


def branches(
    expert: Episode,
    others: Iterator[tuple[str, np.ndarray, np.ndarray]],
    follow: Callable[[np.ndarray, np.ndarray], Episode],
    hand: Callable[[Episode], np.ndarray],
    count: int,
) -> list[tuple[str, Episode]]:
    """Follow edits until there are `count` branches whose hands keep apart.

    Args:
        expert: branch 0.
        others: from `edits`.
        follow: simulates a hand that follows a path with a grip, from the branch point.
        hand: where the hand of an episode is after the branch point, [F, 3] in metres.
        count: branches, the expert's among them.

    Returns:
        Kind and episode; empty where the tries do not suffice.
    """
    chosen = [("expert", expert)]
    for kind, path, grip in others:
        other = follow(path, grip)
        gaps = [np.linalg.norm(hand(other) - hand(each), axis=1).mean() for _, each in chosen]
        if min(gaps) >= LEAST_GAP:
            chosen.append((kind, other))
        if len(chosen) == count:
            return chosen
    return []


def cut(episode: Episode, rows: Sequence[str], start: int, stop: int) -> Episode:
    """Steps `start` to `stop` of an episode, whose `success` counts from `start`; `rows` are its arrays [T, ...]."""
    parts = {name: getattr(episode, name)[start:stop] for name in rows}
    success = episode.success if episode.success is not None and start <= episode.success < stop else None
    return replace(episode, **parts, success=None if success is None else success - start)


def join(past: Episode, ahead: Episode, rows: Sequence[str]) -> Episode:
    """An episode after its past; `rows` are their arrays [T, ...]."""
    parts = {name: np.concatenate([getattr(past, name), getattr(ahead, name)]) for name in rows}
    success = None if ahead.success is None else ahead.success + len(getattr(past, rows[0]))
    return replace(ahead, **parts, success=success)


def _mirrored(path: np.ndarray) -> np.ndarray:
    mirrored = path.copy()
    mirrored[:, 0] = 2 * path[0, 0] - path[:, 0]
    return mirrored


def _redirected(rng: np.random.Generator, path: np.ndarray, workspace: Workspace) -> np.ndarray:
    """At the least jerk to a random point of the box, and there at rest."""
    points = rng.uniform(workspace.low, workspace.high, (64, 3))
    far = np.linalg.norm(points - path[0], axis=1)
    point = points[np.argmax(far >= LEAST_MOVE)]  # the first of them; a box is larger than that
    speed = workspace.speed * rng.uniform(0.5, 1)
    steps = max(1, round(1.9 * np.linalg.norm(point - path[0]) / speed))  # a glide is 15/8 as fast in its middle
    way = np.concatenate([path[:1], glide(path[0], point, steps)])[: len(path)]
    return np.concatenate([way, np.repeat(way[-1:], len(path) - len(way), axis=0)])
