"""Given pixels, kept: put back into the frames that a model made, the rest matched to them in colour.

A model rebuilds what it is given through its codec, so it is near and never exact. With `keep=exact` each frame x of
the video becomes x + c. The correction c is known at frames where pixels g are given with a mask m:

    c = e + w·(g - x - e)        e: how the colours differ, smooth and everywhere;  w: m, feathered inside of its border

so a given pixel is g away from the border, the rest is x + e, and no step is seen between them. From one such frame to
the next c goes linearly, and it stays beyond the first and the last. But after some frames only the mean of e is left
of it, as things have moved, and what is finer than e lasts only where the picture stands still.

e is a normalised convolution (Knutsson and Westin 1993) of the known differences with a kernel that falls with the
fourth power of the distance, as the weights of Shepard (1968) do: near the border it follows the differences there. Far
away it is their mean, as far as that is one of colours: where the differences vary by as much, a model has made other
things than were given, and the mean says little of what lies elsewhere.
"""

from __future__ import annotations

import logging
import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from vgen.canvas.placed import PlacedCanvas
from vgen.media.placing import over, planes
from vgen.notices import warn_once

logger = logging.getLogger(__name__)

CELLS = 64  # of the shorter side: the grid on which differences of colour are spread
FEATHER = 1 / 64  # width of the feathered edge, as a share of the shorter side
FALL = 4  # power of the distance by which the kernel falls
FAR = 1 / 64  # of the kernel's mass: what is known by less takes the mean; a quarter of the side from a straight border
SPREAD = 4.0  # weight of the variance of differences against the square of their mean
STILL = 0.25  # change of a pixel, of [-1, 1], at which most of the fine differences is gone
LASTING = 16.0  # frames after which little more than the mean difference is left
LEVELS = 127.5  # grey levels in a unit


@dataclass(frozen=True)
class KeptFrame:
    """Pixels that are put back at one frame.

    Attributes:
        frame: Of the video.
        pixels: float32 `[3, H, W]` in [-1, 1].
        mask: float32 `[1, H, W]`, 0 to 1.
    """

    frame: int
    pixels: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Seam:
    """The steps of colour that are left where given pixels meet made ones, each averaged over a few pixels: the root of
    their mean square, in grey levels of 255. None where given and made do not meet.

    Attributes:
        space: Across the border of the masks.
        time: From the given pixels of a frame to the next frame, where none is given.
        pasted_space, pasted_time: The same if the pixels were pasted, neither feathered nor matched.
    """

    space: float | None
    time: float | None
    pasted_space: float | None
    pasted_time: float | None


def kept_frames(placed: PlacedCanvas) -> list[KeptFrame]:
    """What a canvas keeps exactly, frame by frame, without what later patches cover. What lies between two frames is
    not put back, which is logged."""
    kept: dict[int, tuple[Tensor, Tensor]] = {}
    for given in placed.patches:
        exact = placed.keeps(given)
        if given.frame != int(given.frame):
            if exact:
                warn_once(logger, f"{given.name} lies between two frames: it is not put back, as keep=exact would do")
            continue
        for frame, pixels, mask in planes(given):
            below, below_mask = kept.get(int(frame), (torch.zeros_like(pixels), torch.zeros_like(mask)))
            merged = over(pixels, mask, below, below_mask) if exact else (below, below_mask * (1 - mask))
            kept[int(frame)] = merged
    return [KeptFrame(frame, *kept[frame]) for frame in sorted(kept) if kept[frame][1].any()]


def keep_given(video: Tensor, kept: Sequence[KeptFrame]) -> tuple[Tensor, Seam]:
    """Puts given pixels back and matches the rest to them.

    Args:
        video: `[3, T, H, W]` in [-1, 1], as it was decoded.
        kept: One or more, in the order of their frames.

    Returns:
        The video, and what is left of the seams.
    """
    video = video.float()
    kept = [KeptFrame(one.frame, one.pixels.to(video.device), one.mask.to(video.device)) for one in kept]
    known = lru_cache(maxsize=2)(lambda index: _Known.of(video[:, kept[index].frame], kept[index]))
    frames = [one.frame for one in kept]
    result = torch.empty_like(video)
    for frame in range(video.shape[1]):
        after = min(bisect_left(frames, frame), len(kept) - 1)
        before = after if frames[after] <= frame else max(after - 1, 0)
        result[:, frame] = video[:, frame] + _correction(video, frame, known(before), known(after))
    return result, _seam(video, result, kept)


@dataclass(frozen=True)
class _Known:
    """What is known of the correction at one frame.

    Attributes:
        frame: Of the video.
        mean: Of the differences, as far as it is one of colours, `[3, 1, 1]`.
        colour: e without its mean, `[3, H, W]`.
        detail: w·(g - x - e), `[3, H, W]`.
    """

    frame: int
    mean: Tensor
    colour: Tensor
    detail: Tensor

    @classmethod
    def of(cls, made: Tensor, kept: KeptFrame) -> _Known:
        difference = kept.pixels - made
        colour, mean = spread(difference, kept.mask)
        return cls(kept.frame, mean, colour - mean, feathered(kept.mask) * (difference - colour))


def _correction(video: Tensor, frame: int, before: _Known, after: _Known) -> Tensor:
    """c at a frame, `[3, H, W]`, from what is known before and after it, which may be the same."""
    share = (frame - before.frame) / (after.frame - before.frame) if after.frame > before.frame else 0.0
    total = torch.zeros_like(video[:, frame])
    for known, weight in ((before, 1 - share), (after, share)):
        if weight:
            fade = math.exp(-(((frame - known.frame) / LASTING) ** 2))
            still = stillness(video[:, frame], video[:, known.frame])
            total += weight * (known.mean + fade * (known.colour + still * known.detail))
    return total


def spread(difference: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """e: a difference of colours `[3, H, W]` that is known by a mask `[1, H, W]`, made smooth and known everywhere; and
    what it is far away, `[3, 1, 1]`."""
    height, width = mask.shape[-2:]
    cell = max(1.0, min(height, width) / CELLS)
    grid = math.ceil(height / cell), math.ceil(width / cell)
    cells = functional.adaptive_avg_pool2d(torch.cat([difference * mask, mask]), grid)
    heavy = _convolved(cells)
    far = _mean_of_colours(heavy[:3] / heavy[3:], cells[3:])
    some = FAR * _convolved(torch.ones_like(cells[3:])).amax()
    smooth = (heavy[:3] + some * far) / (heavy[3:] + some)
    return functional.interpolate(smooth[None], (height, width), mode="bilinear", align_corners=False)[0], far


def _mean_of_colours(smooth: Tensor, weight: Tensor) -> Tensor:
    """The mean of a smooth difference, shrunk by how much it varies: `[3, 1, 1]`."""
    total = weight.sum()
    mean = (smooth * weight).sum(dim=(1, 2), keepdim=True) / total
    variance = ((smooth - mean).square() * weight).sum(dim=(1, 2), keepdim=True) / total
    return mean * mean.square() / (mean.square() + SPREAD * variance + 1e-9)


def _convolved(cells: Tensor) -> Tensor:
    """Planes `[C, h, w]` convolved with a sum of Gaussians, each twice as wide as the one before."""
    height, width = cells.shape[-2:]
    total, sigma = torch.zeros_like(cells), max(1.0, min(height, width) / 32)
    while sigma < 2 * max(height, width):
        rows, columns = (_gaussian(cells, count, sigma) for count in (height, width))
        total += sigma**-FALL * (rows @ cells @ columns)
        sigma *= 2
    return total


def _gaussian(like: Tensor, count: int, sigma: float) -> Tensor:
    """The weight of each of so many places at each other, `[count, count]`."""
    places = torch.arange(count, device=like.device, dtype=like.dtype)
    return torch.exp(-((places[:, None] - places) ** 2) / (2 * sigma**2))


def feathered(mask: Tensor) -> Tensor:
    """w: a mask `[1, H, W]` that rises from its border inwards; the border of the canvas is none."""
    width = feather_width(*mask.shape[-2:])
    inside = (mask > 0).to(mask)
    steps = [inside]
    for _ in range(width):
        steps.append(-functional.max_pool2d(-steps[-1], 3, stride=1, padding=1))
    return mask * torch.stack(steps).mean(0)


def feather_width(height: int, width: int) -> int:
    """Pixels in which a feathered mask rises to its full weight."""
    return max(1, round(min(height, width) * FEATHER))


def stillness(made: Tensor, other: Tensor) -> Tensor:
    """Where two frames `[3, H, W]` of a video show the same: 1, and towards 0 where they differ, `[1, H, W]`."""
    change = functional.avg_pool2d((made - other).abs().amax(0, keepdim=True), 3, 1, 1, count_include_pad=False)
    change = functional.max_pool2d(change, 5, 1, 2)
    return torch.exp(-((change / STILL) ** 2))


def _seam(video: Tensor, result: Tensor, kept: Sequence[KeptFrame]) -> Seam:
    """What is left of the seams of a video, from what was added to it."""
    given = {one.frame for one in kept}
    space: tuple[list[Tensor], list[Tensor]] = ([], [])
    time: tuple[list[Tensor], list[Tensor]] = ([], [])
    for one in kept:
        inside = (one.mask > 0.5).float()
        border = functional.max_pool2d(inside, 3, 1, 1) > -functional.max_pool2d(-inside, 3, 1, 1)
        added = result[:, one.frame] - video[:, one.frame]
        pasted = inside * (one.pixels - video[:, one.frame])
        for steps, change in zip(space, (added, pasted), strict=True):
            steps.append((_mean(change, inside) - _mean(change, 1 - inside))[:, border[0]])
        for other in {one.frame - 1, one.frame + 1} - given:
            if 0 <= other < video.shape[1]:
                for steps, change in zip(time, (added - result[:, other] + video[:, other], pasted), strict=True):
                    steps.append(_mean(change, inside)[:, inside[0] > 0])
    return Seam(*(_levels(steps) for pair in zip(space, time, strict=True) for steps in pair))


def mean_seam(seams: Sequence[Seam]) -> Seam | None:
    """The mean of several; None of none."""
    if not seams:
        return None
    columns = zip(*map(astuple, seams), strict=True)
    known = [[value for value in column if value is not None] for column in columns]
    return Seam(*(round(sum(values) / len(values), 2) if values else None for values in known))


def _mean(change: Tensor, weight: Tensor) -> Tensor:
    """The mean of `[3, H, W]` around each pixel, over those of a weight `[1, H, W]`; 0 where there are none."""
    reach = feather_width(*weight.shape[-2:]) + 1
    window = 2 * reach + 1
    planes = functional.pad(torch.cat([change * weight, weight]), (reach + 1, reach, reach + 1, reach))
    table = planes.double().cumsum(-1).cumsum(-2)  # the summed area table (Crow 1984): a box costs four of its values
    rows = table[:, window:] - table[:, :-window]
    sums = rows[..., window:] - rows[..., :-window]
    return (sums[:3] / sums[3:].clamp(min=0.5)).float()


def _levels(steps: Sequence[Tensor]) -> float | None:
    """The root of the mean square, in grey levels; None of nothing."""
    together = torch.cat([step.flatten() for step in steps]) if steps else torch.empty(0)
    return round(together.square().mean().sqrt().item() * LEVELS, 2) if len(together) else None
