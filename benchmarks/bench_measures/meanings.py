"""What each value is called, what it tells, and what is good."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

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
    "st_lpips": Meaning(
        "ST-LPIPS", "Shift-tolerant perceptual distance to the truth, mean over frames.", LESS, digits=3
    ),
    "given_psnr": Meaning("given PSNR", "PSNR of what was given inside its region, mean over patches.", MORE, "dB"),
    "given_worst": Meaning("given PSNR, worst", "The lowest PSNR of one given image in its region.", MORE, "dB"),
    "seam_error": Meaning(
        "seam error", "Steps of colour across mask edges, less those of the truth: root of mean square.", LESS, "of 255"
    ),
    "seam_step": Meaning(
        "seam step", "By how much a step of colour across a mask edge exceeds the steps beside it.", LESS, "of 255"
    ),
    "peak_distance": Meaning(
        "peak distance", "From the frame that an image was given for to the frame most like it.", LESS, "frames"
    ),
    "centroid_distance": Meaning(
        "centroid distance", "Of the frames like a given image, from where they are in the truth.", LESS, "frames"
    ),
    "centroid_slope": Meaning(
        "centroid slope", "Of the moments at which given images appear, against those of the truth.", 1.0
    ),
    "colour_error": Meaning("colour error", "Of the mean colours of frames, against the truth.", LESS, "of 255"),
    "colour_drift": Meaning(
        "colour drift", "What the error of mean colours changes in a line from first to last frame.", LESS, "of 255"
    ),
    "sharpness_ratio": Meaning("sharpness", "Variance of the Laplacian, as a share of the truth's.", 1.0),
    "temporal_flickering": Meaning(
        "temporal flickering", "1 - the mean difference of consecutive frames; 1 is a still.", NEITHER, digits=3
    ),
    "motion_farneback": Meaning(
        "motion (Farneback)", "Of the fastest twentieth of pixels, as a share of what counts as moving.", NEITHER
    ),
    "dynamic_degree_farneback": Meaning(
        "dynamic degree (Farneback)", "1 where enough frames move, otherwise 0; by Farneback's flow.", NEITHER
    ),
    "motion_smoothness_farneback": Meaning(
        "motion smoothness (Farneback)", "Nearness of each frame to what its neighbours give by flow.", MORE, digits=3
    ),
    "subject_consistency": Meaning(
        "subject consistency", "Of DINO's features, with the frame before and the first.", MORE, digits=3
    ),
    "background_consistency": Meaning(
        "background consistency", "Of CLIP's features, with the frame before and the first.", MORE, digits=3
    ),
    "aesthetic_quality": Meaning("aesthetic quality", "The mark of LAION's predictor, 0 to 1.", MORE, digits=3),
    "imaging_quality": Meaning("imaging quality", "What a network that marks pictures says of frames.", MORE, digits=3),
    "overall_consistency": Meaning(
        "overall consistency", "The cosine of the prompt and of the mean of eight frames.", MORE, digits=3
    ),
}
"""By the name of the value."""


def meaning(name: str) -> Meaning:
    """Of a value by its name. What network stands behind a name, as in subject_consistency_dinov2-384-14, stands in the
    title, too."""
    if name in MEANINGS:
        return MEANINGS[name]
    known, _, network = name.rpartition("_")
    return replace(MEANINGS[known], title=f"{MEANINGS[known].title} ({network})")
