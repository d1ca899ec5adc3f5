"""What can be had without a model: videos made from the given pixels alone.

A pixel that no frame gives takes the mean colour of the clip's given pixels, which comes closer than mid-grey (0).
"""

from collections.abc import Callable

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor


def copy_nearest(pixels: Tensor, masks: Tensor, frames: Tensor, length: int) -> Tensor:
    """Every pixel of every frame is that pixel in the nearest frame that gives it; the earlier one on a tie.

    Args:
        pixels: Given frames `[B, K, 3, H, W]` in [-1, 1]; what lies outside the masks is not looked at.
        masks: `[B, K, 1, H, W]`, 1 where a pixel is given.
        frames: `[B, K]`, pixel frame of each given frame, in any order.
        length: T, frames of the result.

    Returns:
        Video `[B, 3, T, H, W]`.
    """
    return _fill(pixels, masks, frames, length, _nearest)


def linear_blend(pixels: Tensor, masks: Tensor, frames: Tensor, length: int) -> Tensor:
    """Every pixel goes linearly in time from one frame that gives it to the next, and stays as it is before the first
    and after the last.

    Args and result are those of `copy_nearest`.
    """
    return _fill(pixels, masks, frames, length, _blend)


def extend_edges(video: Tensor, known: Tensor) -> Tensor:
    """Every pixel outside a mask takes, frame by frame, the colour of the nearest pixel inside it.

    Closer than the mean colour where a hole's surroundings are given, as in inpainting.

    Args:
        video: `[B, 3, T, H, W]`.
        known: `[B, 1, H, W]`, nonzero inside; a sample whose mask is empty stays as it is.

    Returns:
        Video `[B, 3, T, H, W]`.
    """
    return torch.stack([_extend(clip, mask[0] != 0) for clip, mask in zip(video, known, strict=True)])


def _extend(clip: Tensor, known: Tensor) -> Tensor:
    if not known.any():
        return clip
    rows, columns = distance_transform_edt(~known.cpu().numpy(), return_distances=False, return_indices=True)
    return clip[:, :, torch.from_numpy(rows), torch.from_numpy(columns)]


def _fill(pixels: Tensor, masks: Tensor, frames: Tensor, length: int, at_time: Callable[..., Tensor]) -> Tensor:
    order = frames.argsort(dim=1, stable=True)
    sample = torch.arange(len(order), device=order.device)[:, None]
    pixels, given, frames = pixels[sample, order], masks[sample, order] > 0.5, frames[sample, order].to(pixels.dtype)
    mean_colour = (pixels * given).sum(dim=(1, 3, 4)) / given.sum(dim=(1, 3, 4)).clamp(min=1)
    some_frame = given.any(dim=1)
    video = [
        torch.where(some_frame, at_time(pixels, given, frames - time), mean_colour[..., None, None])
        for time in range(length)
    ]
    return torch.stack(video, dim=2)


def _nearest(pixels: Tensor, given: Tensor, offset: Tensor) -> Tensor:
    return _closest(pixels, given, offset.abs())[0]


def _blend(pixels: Tensor, given: Tensor, offset: Tensor) -> Tensor:
    before, since = _closest(pixels, given, torch.where(offset <= 0, -offset, torch.inf))
    after, until = _closest(pixels, given, torch.where(offset >= 0, offset, torch.inf))
    mixed = before + (after - before) * since / (since + until).clamp(min=1e-6)
    return torch.where(until.isinf(), before, torch.where(since.isinf(), after, mixed))


def _closest(pixels: Tensor, given: Tensor, distance: Tensor) -> tuple[Tensor, Tensor]:
    """Per pixel, the colour `[B, 3, H, W]` in the closest frame that gives it, and how far that is `[B, 1, H, W]`."""
    cost = torch.where(given, distance[..., None, None, None], torch.inf)
    least, index = cost.min(dim=1, keepdim=True)
    return pixels.gather(1, index.expand(-1, -1, 3, -1, -1))[:, 0], least[:, 0]
