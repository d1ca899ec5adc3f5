"""From patches to pixels: reads images, clips and masks, and places them on what they are patches of.

A mask is soft: box x mask x alpha, 0 to 1. A pixel of one half is given by half: it is encoded half-way between its
colour and mid-grey, and counts by half in figures.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from os import PathLike

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vgen.checks import show
from vgen.errors import InputError
from vgen.media.fitting import Ground, in_box, warn_of_fit
from vgen.media.masks import read_mask
from vgen.media.patch import Patch, patch_names, position_of
from vgen.media.pixels import to_unit
from vgen.media.source import media_length, open_clip, read_media
from vgen.notices import warn_once

logger = logging.getLogger(__name__)

DEFAULT_FPS = 15.0
SAME_RATE = 0.01  # by which rates may differ, as a share
HARD = 8 / 255  # what lies nearer to 0 or 1 is 0 or 1: lossy files leave no mask quite black and white


@dataclass(frozen=True)
class PlacedFrame:
    """One given image on the canvas: a condition of its own, encoded in image mode.

    Attributes:
        pixels: float32 `[3, H, W]` in [-1, 1], their colours whatever the mask's weight, zeros where it is 0.
        mask: float32 `[1, H, W]`, 0 to 1, by how much a pixel is given.
        frame: Pixel frame, 0..T-1, may be fractional.
        patch: Index of the patch on its canvas.
        name: The patch in a label, as `cat.png@0`, see `patch_names`.
        strength: Of the patch, in (0, 1].
    """

    pixels: Tensor
    mask: Tensor
    frame: float
    patch: int = 0
    name: str = ""
    strength: float = 1.0


@dataclass(frozen=True)
class PlacedClip:
    """A given clip on the canvas, encoded as a clip.

    Attributes:
        pixels: float32 `[3, T, H, W]` in [-1, 1], as of `PlacedFrame`; T = 1 + N·k for the temporal stride N.
        mask: float32 `[1, T, H, W]`, 0 to 1.
        frame: Pixel frame of the clip's first frame, may be fractional.
        patch: Index of the patch on its canvas.
        name: The patch in a label, as `clip.mp4@0`.
        strength: Of the patch, in (0, 1].
    """

    pixels: Tensor
    mask: Tensor
    frame: float
    patch: int = 0
    name: str = ""
    strength: float = 1.0


Placed = PlacedFrame | PlacedClip


def place_all(patches: Sequence[Patch], ground: Ground, temporal_stride: int = 4) -> list[Placed]:
    """All patches, in their order, not composited; each names the index of its patch, and is named as no other.

    Raises:
        InputError: as `load_patch`; the message starts with the patch.
    """
    return [
        replace(placed, patch=index, strength=patch.strength)
        for index, (patch, name) in enumerate(zip(patches, patch_names(patches), strict=True))
        for placed in load_patch(patch, ground, temporal_stride, name)
    ]


def frame_rate(patches: Sequence[Patch]) -> float:
    """Frames per second at which the clips among some patches play as they were recorded; 15 where there are none, or
    where their rates differ, which is logged."""
    named = zip(patch_names(patches), patches, strict=True)
    rates = {name: rate for name, patch in named if (rate := _own_rate(patch)) is not None}
    if not rates:
        return DEFAULT_FPS
    if max(rates.values()) / min(rates.values()) - 1 <= SAME_RATE:
        return next(iter(rates.values()))
    told = ", ".join(f"{name} has {rate:g} fps" for name, rate in rates.items())
    warn_once(logger, f"the clips differ, {told}: the video has {DEFAULT_FPS:g}; say another with fps")
    return DEFAULT_FPS


def _own_rate(patch: Patch) -> float | None:
    """The rate of a clip in a file, of which more than one frame is given at a steady rate."""
    if not isinstance(patch.source, str | PathLike) or (patch.range and patch.range[0] == patch.range[1]):
        return None
    try:
        clip = open_clip(patch.source)
    except InputError:  # which is told when the patch is read
        return None
    return clip.info.fps if clip is not None and clip.info.frames > 1 and clip.info.steady else None


def load_patch(patch: Patch, canvas: Ground, temporal_stride: int = 4, name: str = "") -> list[Placed]:
    """Reads a patch and places it: one `PlacedFrame` per image, or one `PlacedClip` for a patch of mode "clip".

    A single image is encoded alone either way, so it is a `PlacedFrame` in both modes.

    Args:
        patch: Its frame is counted on the canvas.
        canvas: Gives the size, the number of frames and the frame rate.
        temporal_stride: N of the codec; a clip encoded as a clip has 1 + N·k frames.
        name: The patch in messages and labels; its own by default.

    Raises:
        InputError: a file is missing, corrupt, of another kind or too large; the clip runs past the end of the
            canvas or has no legal length; or box, mask and alpha leave nothing.
    """
    start, name = position_of(patch, canvas.frames), name or patch.name
    try:
        chosen = _chosen_frames(patch, canvas, start, temporal_stride)
        frames = read_media(patch.source, chosen)
        size = frames.shape[2], frames.shape[1]
        greys = read_mask(patch, canvas, chosen, size, name)
        images = [_on_canvas(patch, frame, grey, canvas) for frame, grey in zip(frames, greys, strict=True)]
        if not any(mask.any() for _, mask in images):
            raise InputError("box, mask and alpha leave no pixel of it; white in the mask is what is given")
    except InputError as error:
        raise InputError(f"{show(name)}: {error}") from error
    warn_of_fit(patch, size, canvas, name)
    if len(images) > 1:
        _warn_of_speed(patch, canvas, name)
    if patch.mode == "clip" and len(images) > 1:
        pixels, masks = (torch.stack(planes, dim=1) for planes in zip(*images, strict=True))
        return [PlacedClip(pixels, masks, start, name=name)]
    given = [(index, pixels, mask) for index, (pixels, mask) in enumerate(images) if mask.any()]
    return [PlacedFrame(pixels, mask, start + index, name=name) for index, pixels, mask in given]


def composite(placed: Iterable[Placed]) -> list[Placed]:
    """Merges what lies at the same frame, later over earlier as its mask weighs it, so that each place in time is one
    condition.

    Images merge with images at exactly the same (maybe fractional) frame, clips with clips of the same start and
    length; the rest stays as it is. Where their strengths differ, each is a condition of its own, the earlier without
    what the later covers. The order of first appearance is kept.
    """
    merged: dict[tuple[float, torch.Size, float], Placed] = {}
    for new in placed:
        place = (new.frame, new.pixels.shape)
        for key in [key for key in merged if key[:2] == place and key[2] != new.strength]:
            merged[key] = _uncovered(merged[key], new)
        old = merged.get((*place, new.strength))
        if old is not None:
            pixels, mask = over(new.pixels, new.mask, old.pixels, old.mask)
            new = replace(new, pixels=pixels, mask=mask, name=f"{old.name} + {new.name}")
        merged[(*place, new.strength)] = new
    return [each for each in merged.values() if each.mask.any()]


def _uncovered(below: Placed, above: Placed) -> Placed:
    """What is left of one under another."""
    mask = below.mask * (1 - above.mask)
    return replace(below, pixels=below.pixels * (mask > 0), mask=mask)


def over(pixels: Tensor, mask: Tensor, below: Tensor, below_mask: Tensor) -> tuple[Tensor, Tensor]:
    """One picture over another, each with its soft mask (Porter and Duff, "Compositing digital images", 1984).

    Args:
        pixels, below: `[3, ..., H, W]`, colours that their masks do not weigh.
        mask, below_mask: `[1, ..., H, W]`, 0 to 1.

    Returns:
        The colours of both, zeros where nothing is given, and their mask.
    """
    rest = below_mask * (1 - mask)
    both = mask + rest
    return (pixels * mask + below * rest) / torch.where(both > 0, both, 1), both


def planes(placed: Placed, mask: Tensor | None = None) -> list[tuple[float, Tensor, Tensor]]:
    """Each frame on its own: (pixel frame, pixels `[3, H, W]`, mask `[1, H, W]`), without those that give nothing.

    Args:
        placed: An image, or a clip.
        mask: Of its shape, in place of its own.
    """
    mask = placed.mask if mask is None else mask
    if not isinstance(placed, PlacedClip):
        return [(placed.frame, placed.pixels, mask)] if mask.any() else []
    frames = enumerate(zip(placed.pixels.unbind(1), mask.unbind(1), strict=True))
    return [(placed.frame + index, pixels, plane) for index, (pixels, plane) in frames if plane.any()]


def _chosen_frames(patch: Patch, canvas: Ground, start: float, temporal_stride: int) -> range:
    """Which frames of its source a patch takes: those of its range, if they fit the canvas and the codec."""
    length = media_length(patch.source)
    first, last = patch.range or (0, length - 1)
    if last >= length == 1:
        rule = "takes frames of a clip, and this is one picture"
        raise InputError(f"range={first}-{last} {rule}; leave range out, and give a patch for each frame that has it")
    if last >= length:
        near = f"{min(first, length - 1)}-{length - 1}"
        raise InputError(f"range={first}-{last} is not in its frames 0 to {length - 1}; nearest: range={near}")
    count = last - first + 1
    room = int(canvas.frames - 1 - start) + 1
    step = temporal_stride if patch.mode == "clip" else 1
    legal = 1 + (min(count, room) - 1) // step * step
    if count > room:
        raise InputError(
            f"its {count} frames from frame {start:g} on run past the end of a canvas of {canvas.frames} frames; "
            f"nearest: range={first}-{first + legal - 1}"
        )
    if count != legal:
        more = f" or {first}-{first + legal + step - 1}" if first + legal + step <= length else ""
        raise InputError(
            f"as=clip needs 1 + {step}k frames, and range={first}-{last} has {count}; "
            f"nearest: range={first}-{first + legal - 1}{more}, or as=frames"
        )
    return range(first, last + 1)


def _warn_of_speed(patch: Patch, canvas: Ground, name: str) -> None:
    """Frames of a clip are laid on the canvas one by one, whatever their times."""
    clip = open_clip(patch.source) if isinstance(patch.source, str | PathLike) else None
    if clip is None:
        return
    fps = clip.info.fps
    if not clip.info.steady:
        at = f"{canvas.fps or DEFAULT_FPS:g} fps"
        how = f"around {fps:.3g} fps: it lies one frame on each of the canvas, evenly, at {at}"
        warn_once(logger, f"{name} has a variable rate, {how}")
    elif canvas.fps is not None and abs(fps / canvas.fps - 1) > SAME_RATE:
        how = f"the canvas {canvas.fps:g}: it plays {canvas.fps / fps:.2g} times as fast"
        warn_once(logger, f"{name} has {fps:g} fps, {how}")


def _on_canvas(patch: Patch, pixels: np.ndarray, grey: np.ndarray, canvas: Ground) -> tuple[Tensor, Tensor]:
    """One frame in its box: pixels `[3, H, W]`, zeros where it is not given, and its soft mask `[1, H, W]`."""
    rgba = np.array(in_box(Image.fromarray(pixels), patch, canvas))
    weight = rgba[..., 3] / np.float32(255) * grey
    weight[weight < HARD], weight[weight > 1 - HARD] = 0, 1
    mask = torch.from_numpy(weight)[None]
    return to_unit(rgba[..., :3]).permute(2, 0, 1) * (mask > 0), mask
