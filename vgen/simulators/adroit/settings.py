"""What to record of Adroit, and the sentences that say what is done."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vgen.simulators.settings import Recording

TASKS = ("relocate", "door", "hammer", "pen")
CAMERAS = ("first_person", "third_person")
FPS = 50  # one frame per control step of 10 x 2 ms
MIDDLE = 0.06  # metres from the middle line within which a place is neither left nor right
SLANTED = 0.35  # of a unit vector, from where on it points to a side
FAR, HIGH = 0.05, 0.25  # metres: y from where a place is far, z from where it is high


@dataclass(frozen=True)
class AdroitRecording(Recording):
    """What to record of Adroit: the relocation, first person, where nothing else is named."""

    simulator: ClassVar[str] = "Adroit"
    all_tasks: ClassVar[Sequence[str]] = TASKS
    unseen: ClassVar[Sequence[str]] = ()
    unbranched: ClassVar[Sequence[str]] = ("pen",)
    all_cameras: ClassVar[Sequence[str]] = CAMERAS
    fps: ClassVar[int] = FPS

    tasks: Sequence[str] = TASKS[:1]
    cameras: Sequence[str] = ("first_person",)
    train_seeds: int = 400
    test_seeds: int = 40
    unseen_seeds: int = 0
    max_steps: int = 400


def relocation(ball: np.ndarray, goal: np.ndarray) -> str:
    """The sentence of an episode that carries the ball from one place [3] to another, in metres."""
    height = "high" if goal[2] > HIGH else "low"
    return f"pick up the ball on the {_place(ball)} and hold it {height} over the {_place(goal)}"


def pen_turn(tip: np.ndarray) -> str:
    """The sentence of an episode that turns the pen until its tip points along a unit vector [3]."""
    across = "right" if tip[0] > SLANTED else "left" if tip[0] < -SLANTED else ""
    along = "away" if tip[1] > SLANTED else "back" if tip[1] < -SLANTED else ""
    way = " and ".join(word for word in (across, along) if word)
    return f"turn the pen until its tip points up{' and ' + way if way else ''}"


def _place(point: np.ndarray) -> str:
    side = "middle" if abs(point[0]) < MIDDLE else "left" if point[0] < 0 else "right"
    return f"{'far' if point[1] > FAR else 'near'} {side}"
