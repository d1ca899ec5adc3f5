"""What a hand detector says of one picture, and what a detector is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

HANDS = ("left", "right")
"""The two hands, in the order of all that is kept of both."""
TRACKED = ("keypoints", "hand_boxes")
"""The layouts that hands are tracked to."""


@dataclass(frozen=True, eq=False)
class Sighting:
    """One hand in one picture.

    Attributes:
        spots: float64 [21, 2], where its keypoints are in the picture, in pixels; MediaPipe's order.
        shape: float64 [21, 3], the same keypoints in metres about the middle of the hand, with the axes of the camera
            (x right, y down, z away from it).
        right: the probability that it is a right hand, of a picture that is no mirror image.
    """

    spots: np.ndarray
    shape: np.ndarray
    right: float

    @property
    def length(self) -> float:
        """Pixels across the hand."""
        return max(1.0, float(np.ptp(self.spots, axis=0).max()))


class Detector(Protocol):
    """Finds hands in the frames of one video."""

    def see(self, frame: np.ndarray) -> Sequence[Sighting]:
        """The hands in the next frame, uint8 [H, W, 3]: two at most."""

    def close(self) -> None:
        """Frees what it holds."""
