"""Which hand is which, over a whole video: the cheapest path through all that a detector saw.

A detector says of each picture alone whether a hand is left or right, and errs for some frames, mostly where hands
cross. Here the sides are chosen for all frames at once (Viterbi): a hand that jumps, comes or goes costs, and so does a
side that the detector speaks against. A wrong word of a second or so is outvoted by the path; a path that could have
been either way, after a crossing, is settled by what the detector says of all that follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vgen.sources.hands.sighting import Sighting

# How far a wrist is from where it was going, in lengths of a hand, as a standard deviation:
JITTER = 0.05  # at rest, and
ACCELERATION = 100.0  # times the square of the seconds in between, or where that is less
SPEED = 10.0  # times the seconds
STEADY = 0.2  # seconds for which a hand goes on as it went
FARTHEST = 50.0  # what a jump costs at most: a hand may leave the picture and come again elsewhere
CHANGE = 3.0  # for a hand that comes, or goes
VOTE = 3.0  # for a second of a side that the detector speaks against, times the logarithm of how surely
SUREST = 0.95  # that a detector is taken to be
SAME = 0.2  # lengths of a hand: sightings that lie no further apart, of one side, are of one hand
PATHS = 32  # that are followed at once

Seen = tuple[int, int]
"""Frame and place in it of a sighting; frame -1 for none so far."""
NEVER: Seen = (-1, -1)
STANDING = np.zeros(2)


@dataclass(frozen=True)
class Sides:
    """The sides of all sightings.

    Attributes:
        chosen: int64 [2, T], which sighting of a frame the left and the right hand are; -1 where not seen.
        swaps: frames in which a hand is not of the side that the detector said.
    """

    chosen: np.ndarray
    swaps: int


@dataclass(frozen=True)
class _Path:
    """A way to choose sides so far: its cost, the last sighting of each hand and how fast it went there, in pixels a
    second, and the choices of each frame backwards."""

    cost: float
    last: tuple[Seen, Seen]
    speeds: tuple[np.ndarray, np.ndarray]
    choices: tuple[tuple[int, int], _Path] | None


def choose_sides(frames: Sequence[Sequence[Sighting]], fps: float) -> Sides:
    """The sides of what a detector saw in each frame of a video.

    Args:
        frames: two sightings at most in each.
        fps: frames per second.
    """
    paths = [_Path(0.0, (NEVER, NEVER), (STANDING, STANDING), None)]
    for number in range(len(frames)):
        best: dict[tuple[Seen, Seen], _Path] = {}
        for path in paths:
            for choice in _choices(frames[number]):
                longer = _longer(path, choice, number, frames, fps)
                if longer.last not in best or longer.cost < best[longer.last].cost:
                    best[longer.last] = longer
        paths = sorted(best.values(), key=lambda path: path.cost)[:PATHS]
    chosen, path = np.full((2, len(frames)), -1), paths[0]
    for number in range(len(frames) - 1, -1, -1):
        assert path.choices is not None, "there is one for each frame"
        chosen[:, number], path = path.choices
    return Sides(chosen, _swaps(frames, chosen))


def _choices(sightings: Sequence[Sighting]) -> list[tuple[int, int]]:
    """All ways in which the hands of one frame can be (left, right)."""
    if not sightings:
        return [(-1, -1)]
    if len(sightings) == 1 or _one_hand(*sightings[:2]):
        return [(0, -1), (-1, 0)]
    return [(0, 1), (1, 0)]


def _one_hand(first: Sighting, second: Sighting) -> bool:
    """Whether a detector has seen one hand twice."""
    apart = np.linalg.norm(first.spots - second.spots, axis=1).mean()
    return bool(apart < SAME * first.length and (first.right > 0.5) == (second.right > 0.5))


def _longer(
    path: _Path, choice: tuple[int, int], number: int, frames: Sequence[Sequence[Sighting]], fps: float
) -> _Path:
    """A path with the choice of one more frame."""
    cost, last, speeds = path.cost, list(path.last), list(path.speeds)
    for hand, place in enumerate(choice):
        before = path.last[hand]
        seen_before = number > 0 and before[0] == number - 1
        cost += CHANGE * (seen_before != (place >= 0))
        if place < 0:
            continue
        sighting = frames[number][place]
        if before != NEVER:
            seconds = (number - before[0]) / fps
            earlier = frames[before[0]][before[1]]
            cost += _jump(earlier, sighting, seconds, path.speeds[hand])
            moved = (sighting.spots[0] - earlier.spots[0]) / seconds
            speeds[hand] = moved if seconds <= STEADY else STANDING
        said = sighting.right if hand else 1 - sighting.right
        cost -= VOTE / fps * float(np.log(np.clip(said, 1 - SUREST, SUREST)))
        last[hand] = number, place
    return _Path(cost, (last[0], last[1]), (speeds[0], speeds[1]), (choice, path))


def _jump(before: Sighting, now: Sighting, seconds: float, speed: np.ndarray) -> float:
    """What it costs that one hand is here and was there, going at a speed."""
    expected = before.spots[0] + (speed * seconds if seconds <= STEADY else 0)
    far = float(np.linalg.norm(now.spots[0] - expected)) / max(before.length, now.length)
    usual = JITTER + min(ACCELERATION * seconds**2, SPEED * seconds)
    return min(FARTHEST, (far / usual) ** 2 / 2)


def _swaps(frames: Sequence[Sequence[Sighting]], chosen: np.ndarray) -> int:
    def swapped(number: int) -> bool:
        hands = [(hand, place) for hand, place in enumerate(chosen[:, number]) if place >= 0]
        return any((frames[number][place].right > 0.5) != bool(hand) for hand, place in hands)

    return sum(swapped(number) for number in range(len(frames)))
