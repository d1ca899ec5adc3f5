"""Paths for a scripted hand, and disturbances of its actions."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

NOISE_MEMORY = 0.9  # correlation between the noise of two consecutive actions
SMOOTHNESS = 8  # frames, of a wandering


def glide(start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """The smoothest way (least jerk, at rest at both ends) from point to point: [steps, 3] without the start."""
    share = np.arange(1, steps + 1)[:, None] / steps
    way: np.ndarray = start + (end - start) * share**3 * (10 - 15 * share + 6 * share**2)
    return way


def bursts(rng: np.random.Generator, level: float, steps: int, width: int) -> np.ndarray:
    """Temporally correlated noise [steps, width] of deviation `level` that comes and goes."""
    white = rng.standard_normal((steps, width + 1)) * np.sqrt(1 - NOISE_MEMORY**2)
    noise = np.zeros((steps, width + 1))
    for k in range(1, steps):
        noise[k] = NOISE_MEMORY * noise[k - 1] + white[k]
    present = noise[:, width:] > 0
    return level * present * noise[:, :width]


def wandering(rng: np.random.Generator, deviation: float, steps: int) -> np.ndarray:
    """A smooth random way off a path, [steps, 3], that starts at zero; `deviation` is that of each coordinate."""
    way: np.ndarray = gaussian_filter1d(rng.standard_normal((steps, 3)), SMOOTHNESS, axis=0)
    way *= deviation / way.std()
    away: np.ndarray = way - way[0]
    return away
