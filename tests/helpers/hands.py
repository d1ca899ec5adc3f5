"""Two hands before a camera, and what a detector would see of them: swapped, lost and jittering where a test says."""

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation

from vgen.sources.hands.sighting import Sighting

SIZE = (48, 64)
FOCAL = 50.0
CENTRE = np.array([32.0, 24.0])


def open_hand(right: bool = True) -> np.ndarray:
    """[21, 3], metres about the middle: the back of a hand, fingers up."""
    points = [(0.0, 0.09, 0.0)]
    for finger, (x, length) in enumerate([(-0.045, 0.6), (-0.025, 0.95), (-0.005, 1.0), (0.015, 0.95), (0.035, 0.8)]):
        bend = 0.02 + 0.004 * finger
        points += [(x * (1 + 0.2 * k), 0.02 - 0.03 * k * length, bend * (k / 3) ** 2 - 0.01) for k in range(4)]
    hand = np.array(points)
    hand -= hand.mean(0)
    return hand if right else hand * [-1, 1, 1]


def turned(hand: np.ndarray, rotation: tuple[float, float, float]) -> np.ndarray:
    return hand @ Rotation.from_euler("xyz", rotation).as_matrix().T


def seen(points: np.ndarray) -> np.ndarray:
    """[..., 21, 2], pixels of points in the camera's frame."""
    return points[..., :2] / points[..., 2:] * FOCAL + CENTRE


@dataclass
class Scene:
    """Hands [2, T, 21, 3] that move, and how a detector errs."""

    hands: np.ndarray
    away: dict[int, set[int]] = field(default_factory=lambda: {0: set(), 1: set()})
    swapped: set[int] = field(default_factory=set)
    noise: float = 0.0

    def sightings(self) -> list[list[Sighting]]:
        random = np.random.default_rng(0)
        frames = []
        for number in range(self.hands.shape[1]):
            found = []
            for hand in (0, 1):
                if number in self.away[hand]:
                    continue
                points = self.hands[hand, number]
                spots = seen(points) + random.normal(0, self.noise, (21, 2)) if self.noise else seen(points)
                right = 0.95 if hand else 0.05
                found.append(Sighting(spots, points - points.mean(0), 1 - right if number in self.swapped else right))
            random.shuffle(found)
            frames.append(found)
        return frames


def moving(frames: int, crossing: bool = False) -> np.ndarray:
    """[2, frames, 21, 3]: left and right hand that go up and down, or pass each other twice."""
    time = np.linspace(0, 1, frames)
    aside = 0.12 * (np.cos(2 * np.pi * time) if crossing else np.ones(frames))
    hands = []
    for hand, sign in ((0, -1), (1, 1)):
        path = np.stack([sign * aside, 0.05 * np.sin(4 * np.pi * time + hand), 0.5 + 0.05 * time + 0.02 * hand], -1)
        hands.append(open_hand(bool(hand)) + path[:, None])
    return np.stack(hands)


class Scripted:
    """A detector that sees what a test says, whatever it is shown."""

    def __init__(self, frames):
        self._frames = iter(frames)

    def see(self, frame):
        return next(self._frames)

    def close(self):
        pass
