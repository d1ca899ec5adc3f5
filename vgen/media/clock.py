"""Times of frames: which one is shown when, and whether they come at a constant rate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

UNEVEN = 0.25  # of a frame's length: frames that are farther off their beat make the rate a variable one
USUAL_RATE = 25.0  # where neither times nor a rate are told, as FFmpeg takes it


def frames_shown(times: np.ndarray, tick: float, seconds: Sequence[float] | np.ndarray) -> np.ndarray:
    """The frames that are shown at some times: int64, of the same shape.

    Before the first frame that is the first one, after the end the last. A time counts as a frame's own where the clock
    of the file, or a rounding, makes the difference.

    Args:
        times: float64 [T], when each frame begins to be shown, in seconds; increasing.
        tick: seconds between two times that the file can tell apart.
        seconds: on the same clock.
    """
    gap = float(np.diff(times).min()) if len(times) > 1 else np.inf
    slack = min(tick / 2, gap / 4) + 1e-6
    found = np.searchsorted(times, np.asarray(seconds, dtype=np.float64) + slack, side="right") - 1
    return found.clip(0, len(times) - 1)


def beat(times: np.ndarray, tick: float, said: float) -> tuple[float, bool]:
    """Frames per second, and whether that is constant; of a variable rate, that of the closer frames.

    Args:
        times, tick: as for `frames_shown`.
        said: the rate that the file says; 0 for none.
    """
    if len(times) == 1:
        return said or USUAL_RATE, True
    mean = (len(times) - 1) / (times[-1] - times[0])
    for rate in (said, mean):
        if rate > 0:
            off = np.abs(times - times[0] - np.arange(len(times)) / rate).max()
            if off <= max(UNEVEN / rate, tick):
                return rate, True
    return 1 / float(np.quantile(np.diff(times), 0.25)), False
