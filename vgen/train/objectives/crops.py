"""Random squares of clips, for a codec that is trained on parts of frames."""

from __future__ import annotations

import numpy as np


def cropped(pixels: np.ndarray, side: int | None, rng: np.random.Generator) -> np.ndarray:
    """A square of `side` pixels at a random place of each clip of uint8 [B, T, H, W, 3], or all where a clip is
    smaller or `side` is None."""
    height, width = pixels.shape[2:4]
    rows, columns = min(side or height, height), min(side or width, width)
    if (rows, columns) == (height, width):
        return pixels
    tops = rng.integers(height - rows + 1, size=len(pixels))
    lefts = rng.integers(width - columns + 1, size=len(pixels))
    return np.stack([clip[:, y : y + rows, x : x + columns] for clip, y, x in zip(pixels, tops, lefts, strict=True)])
