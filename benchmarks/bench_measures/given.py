"""What was given: how well it is kept, what is seen at its edges, and whether it appears when it was asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bench_measures.completed import Completed
from vgen.canvas.report import fidelity, nearest_frame
from vgen.media.pixels import to_unit
from vgen.media.placing import planes
from vgen.media.sheet import spread
from vgen.metrics import curve_centroid, curve_peak, least_squares_slope, psnr_curve

MOST_TIMED = 16
"""Given images whose moment is measured, spread evenly over all."""
GREY_LEVELS = 127.5
"""In a unit of [-1, 1]."""


@dataclass(frozen=True)
class GivenImage:
    """An image of the canvas, with all that lies at the same moment.

    Attributes:
        moment: Pixel frame, may be fractional.
        pixels: float32 `[3, H, W]` in [-1, 1].
        mask: float32 `[1, H, W]`, 0 to 1.
    """

    moment: float
    pixels: Tensor
    mask: Tensor

    @property
    def frame(self) -> int:
        """The frame nearest to its moment, the earlier of two."""
        return nearest_frame(self.moment)


def given_images(completed: Completed) -> list[GivenImage]:
    """Every given image, in the order of time."""
    images = [GivenImage(*plane) for condition in completed.given.conditions for plane in planes(condition)]
    return sorted(images, key=lambda image: image.moment)


def kept(completed: Completed) -> dict[str, float]:
    """PSNR of what was given inside its own region, as the report of `vgen infer` has it: the mean over patches, and
    the lowest of one frame. No codec keeps more than its own reconstruction."""
    rows = fidelity(completed.video, completed.given)
    if not rows:
        return {}
    return {"given_psnr": float(np.mean([row.mean for row in rows])), "given_worst": min(row.worst for row in rows)}


def seams(completed: Completed) -> dict[str, float]:
    """What is seen along the edges of masks, in the frames where something is given by a part.

    A step is the difference of two pixels side by side, of which one was given and the other made. `seam_error` is the
    root of the mean square of what these steps are more or less than those of the truth. `seam_step`, which needs no
    truth, is by how much the size of a step exceeds the mean of the two steps beside it along the same line, as
    measures of block edges do (Wang, Sheikh and Bovik, "No-reference perceptual quality assessment of JPEG compressed
    images", ICIP 2002), mean over the edge; where a mask follows an object, a true edge counts in it, too.
    """
    masks: dict[int, Tensor] = {}
    for image in given_images(completed):
        inside = image.mask > 0.5
        masks[image.frame] = masks.get(image.frame, torch.zeros_like(inside)) | inside
    parts = {frame: mask for frame, mask in masks.items() if mask.any() and not mask.all()}
    if not parts:
        return {}
    found = [_edge(completed.made[0, :, frame], mask) for frame, mask in parts.items()]
    values = {"seam_step": torch.cat([excess for _, excess in found]).mean().item() * GREY_LEVELS}
    if completed.true is not None:
        true = [_edge(completed.true[0, :, frame], mask) for frame, mask in parts.items()]
        apart = torch.cat([made - right for (made, _), (right, _) in zip(found, true, strict=True)])
        values["seam_error"] = apart.square().mean().sqrt().item() * GREY_LEVELS
    return values


def _edge(frame: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """All steps `[N, 3]` across the edge of a mask `[1, H, W]` on a frame `[3, H, W]`, and by how much the size of each
    exceeds those beside it, `[N]`."""
    steps, excesses = [], []
    for pixels, mask in ((frame, inside[0]), (frame.transpose(1, 2), inside[0].T)):
        step = pixels[:, :, 1:] - pixels[:, :, :-1]
        size = step.abs().mean(0)
        beside = functional.pad(size[None], (1, 1), mode="replicate")[0]
        excess = size - (beside[:, :-2] + beside[:, 2:]) / 2
        across = mask[:, 1:] != mask[:, :-1]
        steps.append(step[:, across].T)
        excesses.append(excess[across].clamp(min=0))
    return torch.cat(steps), torch.cat(excesses)


def timing(completed: Completed) -> dict[str, float]:
    """Whether given images appear at the frames that they were asked for.

    Of each image's curve (PSNR of every frame against it, inside its mask): `peak_distance` is how many frames its peak
    lies from where the image was asked for. With a truth: `centroid_distance` is how far the centroid of its top
    (`vgen.metrics.curve_centroid`) lies from that of the truth's own curve, and `centroid_slope` the least-squares
    slope of these centroids against the truth's over two images or more: 1 where each lies as the truth has it.
    """
    images = given_images(completed)
    images = [images[number] for number in spread(len(images), min(MOST_TIMED, len(images)))]
    if not images:
        return {}
    made = torch.cat([_curve(completed.made, image) for image in images])
    asked = torch.tensor([image.moment for image in images], dtype=torch.float64)
    values = {"peak_distance": (curve_peak(made).double() - asked).abs().mean().item()}
    if completed.true is not None:
        centroids = curve_centroid(made)
        true = curve_centroid(torch.cat([_curve(completed.true, image) for image in images]))
        values["centroid_distance"] = (centroids - true).abs().mean().item()
        if true.max() - true.min() >= 1:  # of a frame: below that the images stand in one place
            values["centroid_slope"] = least_squares_slope(true, centroids).item()
    return values


def _curve(video: Tensor, image: GivenImage) -> Tensor:
    """`[1, T]`."""
    return psnr_curve(video, image.pixels[None], image.mask[None])


def curves(completed: Completed, most: int = 4) -> dict[str, list[float]]:
    """Values of each frame in dB, to draw: `truth`, PSNR against the truth, where there is one; and `given 41`, PSNR
    inside the mask of the image that was given at frame 41.

    Args:
        completed: The case.
        most: Given images that have a curve, spread evenly over all.
    """
    images = given_images(completed)
    images = [images[number] for number in spread(len(images), min(most, len(images)))]
    found = {f"given {image.moment:g}": _curve(completed.made, image)[0].tolist() for image in images}
    if completed.truth is None:
        return found
    pairs = zip(completed.video, completed.truth, strict=True)
    of_truth = [psnr_curve(_picture(made)[:, :, None], _picture(true)).item() for made, true in pairs]
    return {"truth": of_truth, **found}


def _picture(frame: np.ndarray) -> Tensor:
    """`[1, 3, H, W]` in [-1, 1]."""
    return to_unit(frame).permute(2, 0, 1)[None]
