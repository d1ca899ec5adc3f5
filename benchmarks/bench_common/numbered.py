"""Pictures that carry their number, so that a frame that was read can be told from every other."""

from __future__ import annotations

import numpy as np

BITS = 10  # of a number, lowest first, side by side in the upper quarter of a picture
NOISE = np.random.default_rng(0).integers(0, 256, (64, 1024, 3), dtype=np.uint8)


def picture(number: int, size: tuple[int, int]) -> np.ndarray:
    """uint8 [H, W, 3]: a number below 1024 as bright and dark squares above, and coloured noise that moves below."""
    height, width = size
    pixels = np.full((height, width, 3), 16, np.uint8)
    for bit in range(BITS):
        if number >> bit & 1:
            pixels[: height // 4, bit * width // BITS : (bit + 1) * width // BITS] = 235
    rows = np.arange(height - height // 4) // 4 % len(NOISE)
    columns = (np.arange(width) + 3 * number) // 8 % NOISE.shape[1]
    pixels[height // 4 :] = NOISE[rows[:, None], columns] // 2 + 64
    return pixels


def number_of(pixels: np.ndarray) -> int:
    """The number that a picture carries: uint8 [H, W, 3], as it was read from a video."""
    height, width = pixels.shape[:2]
    row = pixels[height * 24 // 192, [width * (32 * bit + 16) // 320 for bit in range(BITS)], :3].mean(axis=-1)
    return int(sum(1 << bit for bit, value in enumerate(row) if value > 127))
