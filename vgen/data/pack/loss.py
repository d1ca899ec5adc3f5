"""What packing costs, measured on frames that are sampled evenly from every episode."""

from __future__ import annotations

import numpy as np
import torch

from vgen.data.pack.manifest import Loss
from vgen.media.pixels import to_unit
from vgen.metrics.pixels import PSNR_CAP, moving_pixels, ssim

SAMPLED = 12  # of so many frames, one
LEAST_SIDE = 11  # of what SSIM is computed of


def sampled(pixels: np.ndarray) -> np.ndarray:
    """The sampled frames of an episode [T, H, W, 3]: not its first, which is coded better than the others."""
    return pixels[min(SAMPLED // 2, len(pixels) - 1) :: SAMPLED]


class LossMeter:
    """Adds up the loss of one set."""

    def __init__(self) -> None:
        self._squares = self._moving_squares = self._worst = self._ssim = 0.0
        self._count = self._moving_count = self._frames = self._compared = 0

    def add(self, source: np.ndarray, packed: np.ndarray) -> None:
        """Takes in sampled frames of an episode, uint8 [K, H, W, 3] each."""
        error = np.square(packed.astype(np.float32) - source).mean(-1)
        self._squares += float(error.sum(dtype=np.float64))
        self._count += error.size
        self._worst = max(self._worst, float(error.mean((1, 2)).max()))
        unit = [to_unit(torch.from_numpy(each)).permute(3, 0, 1, 2)[None] for each in (packed, source)]
        moving = moving_pixels(unit[1])[0, 0, 0].numpy()
        self._moving_squares += float(error[:, moving].sum(dtype=np.float64))
        self._moving_count += error[:, moving].size
        self._frames += len(source)
        if min(source.shape[1:3]) >= LEAST_SIDE:
            middle = slice(len(source) // 2, len(source) // 2 + 1)
            self._ssim += float(ssim(unit[0][:, :, middle], unit[1][:, :, middle]))
            self._compared += 1

    def loss(self) -> Loss:
        """Of all that was taken in."""
        return Loss(
            psnr=_decibels(self._squares / self._count),
            worst=_decibels(self._worst),
            moving=_decibels(self._moving_squares / self._moving_count) if self._moving_count else None,
            ssim=round(self._ssim / self._compared, 4) if self._compared else None,
        )


def _decibels(error: float) -> float:
    """PSNR of a mean squared error in grey levels."""
    return round(float(min(PSNR_CAP, 10 * np.log10(255**2 / max(error, 1e-9)))), 2)
