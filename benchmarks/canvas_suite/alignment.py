"""Does a condition appear at the pixel frame it was given for, also between two latents?

Two questions to the model, on the clips that move most. Curves are `psnr_curve`: PSNR of every generated frame against
the one given image.

1. *Peak*: the truth's frame τ is given at τ, for eight consecutive τ, so twice for each remainder of τ by a stride of
   4. How often is the curve highest exactly at τ?
2. *Slope*: one and the same image is given at frame 5, 6, 7, 8 of a canvas, with the same noise. The centroid of the
   curve should move with it: its least-squares slope against the given frame is 1 for a model that places the image
   where it was told, 0 for one that places it in the nearest latent slot. The same image does stand at frame 5, 6, 7, 8
   of four windows of the real clip: their slope, and that of their reconstructions by the codec, is the ceiling.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from canvas_suite.sampler import Sampler
from canvas_suite.tasks import ClipShape, Given, give, whole_frames
from vgen.metrics import curve_centroid, curve_peak, least_squares_slope, moving_pixels, psnr_curve

PEAK_FRAMES = range(4, 12)
SLOPE_FRAMES = range(5, 9)
EXTRA_FRAMES = len(SLOPE_FRAMES) - 1
"""Frames that a clip needs beyond the canvas, so that one image can stand at every slope frame of some window."""


def most_moving(videos: Tensor, count: int) -> list[int]:
    """The `count` of videos `[B, 3, T, H, W]` with the largest share of moving pixels, the most moving first."""
    share = moving_pixels(videos).float().mean(dim=(1, 2, 3, 4))
    return share.argsort(descending=True, stable=True)[:count].tolist()


def peak_section(
    sampler: Sampler, clips: Tensor, prompts: Sequence[str], shape: ClipShape, seeds: Sequence[int]
) -> dict:
    """Question 1. Clips are `[B, 3, T + EXTRA_FRAMES, H, W]`; only their first T frames matter here."""
    truth = clips[:, :, : shape.length]
    codec = sampler.reconstruct_video(truth)
    peaks: dict[str, list[Tensor]] = {"model": [], "codec": []}
    for frame in tqdm(PEAK_FRAMES, desc="alignment: peak", leave=False):
        given = give(truth, [whole_frames([frame], shape)] * len(truth))
        for method, video in {"model": sampler.complete(given, prompts, shape.length, seeds), "codec": codec}.items():
            peaks[method].append(curve_peak(psnr_curve(video, truth[:, :, frame])))
    wanted = torch.tensor(PEAK_FRAMES)[:, None]
    return {method: _peak_summary(torch.stack(found).cpu(), wanted, shape.stride) for method, found in peaks.items()}


def _peak_summary(peak: Tensor, wanted: Tensor, stride: int) -> dict:
    hit = (peak == wanted).double()
    return {
        "exact": hit.mean().item(),
        "exact_by_remainder": [hit[wanted[:, 0] % stride == r].mean().item() for r in range(stride)],
        "mean_distance": (peak - wanted).abs().double().mean().item(),
        "frames": wanted[:, 0].tolist(),
        "peaks": peak.T.tolist(),
    }


def slope_section(
    sampler: Sampler, clips: Tensor, prompts: Sequence[str], shape: ClipShape, seeds: Sequence[int]
) -> dict:
    """Question 2. Clips are `[B, 3, T + EXTRA_FRAMES, H, W]`; the image is their frame `SLOPE_FRAMES[-1]`."""
    image = clips[:, :, SLOPE_FRAMES[-1]]
    centroids: dict[str, list[Tensor]] = {"model": [], "codec": [], "truth": []}
    for frame in tqdm(SLOPE_FRAMES, desc="alignment: slope", leave=False):
        start = SLOPE_FRAMES[-1] - frame
        window = clips[:, :, start : start + shape.length]
        videos = {
            "model": sampler.complete(_at(image, frame), prompts, shape.length, seeds),
            "codec": sampler.reconstruct_video(window),
            "truth": window,
        }
        for method, video in videos.items():
            centroids[method].append(curve_centroid(psnr_curve(video, image)))
    return {method: _slope_summary(torch.stack(found, dim=1).cpu()) for method, found in centroids.items()}


def _at(image: Tensor, frame: int) -> Given:
    batch, _, height, width = image.shape
    frames = torch.full((batch, 1), frame, device=image.device)
    return Given(image[:, None], image.new_ones(batch, 1, 1, height, width), frames)


def _slope_summary(centroid: Tensor) -> dict:
    frames = torch.tensor(SLOPE_FRAMES, dtype=centroid.dtype).expand_as(centroid)
    return {
        "slope": least_squares_slope(frames.flatten(), centroid.flatten()).item(),
        "slope_by_clip": least_squares_slope(frames, centroid).tolist(),
        "frames": list(SLOPE_FRAMES),
        "centroids": centroid.tolist(),
    }
