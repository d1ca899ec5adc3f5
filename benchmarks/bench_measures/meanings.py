"""What each value is called, what it tells, and what is good."""

from __future__ import annotations

import math
from dataclasses import dataclass

MORE, LESS, NEITHER = math.inf, -math.inf, math.nan


@dataclass(frozen=True)
class Meaning:
    """Of a value of a completed case.

    Attributes:
        title: Its name in a table.
        text: A sentence that tells how it is defined.
        aim: The value that a perfect video has: `MORE` or `LESS` where there is no end, `NEITHER` where none is best.
        unit: Of the value; may be empty.
        digits: Behind the point, in a table.
    """

    title: str
    text: str
    aim: float
    unit: str = ""
    digits: int = 2


MEANINGS = {
    "psnr": Meaning("PSNR", "Against the truth, over all pixels of all frames together.", MORE, "dB"),
    "psnr_moving": Meaning("PSNR, moving", "PSNR of those pixels that move in the truth.", MORE, "dB"),
    "ssim": Meaning("SSIM", "Structural similarity to the truth, mean over frames.", MORE, digits=3),
    "st_lpips": Meaning("ST-LPIPS", "Shift-tolerant perceptual distance to the truth, mean over frames.", LESS, "", 3),
}
"""By the name of the value."""


def meaning(name: str) -> Meaning:
    """Of a value by its name; one whose name ends with what its network is has the meaning of the name before that."""
    while name not in MEANINGS and "_" in name:
        name = name.rpartition("_")[0]
    return MEANINGS[name]
