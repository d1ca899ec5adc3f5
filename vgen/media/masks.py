"""Masks: grey pictures and clips that say by how much a pixel is given.

A mask of its picture's own size belongs to the picture: it is turned, cropped and placed as that is. Any other is drawn
over the whole canvas. Reduced, it is averaged, so that its edges stay where they were to a part of a pixel; enlarged,
its pixels become squares: black and white stay black and white.

What a mask's own EXIF data say of its orientation is done, as with any picture. Where they say nothing and its
photograph is turned, its size may tell which way it was drawn; where the size does not, it is taken as drawn on the
photograph as that is shown, and this is told.
"""

from __future__ import annotations

import logging
from os import PathLike

import numpy as np
from PIL import Image, ImageChops

from vgen.checks import show
from vgen.errors import InputError
from vgen.media.fitting import SAME_SHAPE, Ground, in_box
from vgen.media.image import SIDEWAYS, turn_upright
from vgen.media.patch import Patch
from vgen.media.source import media_length, read_media
from vgen.notices import warn_once

logger = logging.getLogger(__name__)

RESAMPLE = Image.Resampling.BOX  # averages what it reduces, and repeats what it enlarges


def read_mask(patch: Patch, canvas: Ground, chosen: range, size: tuple[int, int], of: str) -> list[np.ndarray]:
    """The grey mask of each chosen frame on the canvas, float32 `[H, W]` in 0..1.

    Args:
        patch: Whose mask it is; without one all is given.
        canvas: Gives the size.
        chosen: Frames of the patch's source.
        size: (width, height) of its frames, upright.
        of: The patch in messages.

    Raises:
        InputError: the mask cannot be read, or is a clip of another length than the source.
    """
    if patch.mask is None:
        return [np.ones((canvas.height, canvas.width), np.float32)] * len(chosen)
    name = patch.mask if isinstance(patch.mask, str | PathLike) else "in memory"
    try:
        still = media_length(patch.mask) == 1
        if not still and media_length(patch.mask) != media_length(patch.source):
            raise InputError("a mask is an image, or a clip of as many frames as the clip it masks")
        masks = [Image.fromarray(grey_plane(pixels)) for pixels in read_media(patch.mask, [0] if still else chosen)]
    except InputError as error:
        raise InputError(f"mask={show(name)}: {error}") from error
    masks = _on_canvas(f"mask={show(name)}", masks, patch, canvas, size, of)
    planes = [np.asarray(mask) / np.float32(255) for mask in masks]
    return planes * len(chosen) if still else planes


def grey_plane(pixels: np.ndarray) -> np.ndarray:
    """The grey of a mask, uint8 `[H, W]`, times its alpha, from uint8 `[H, W]` or `[H, W, 3 | 4]`."""
    return np.asarray(ImageChops.multiply(*Image.fromarray(pixels).convert("LA").split()))


def _on_canvas(
    name: str, masks: list[Image.Image], patch: Patch, canvas: Ground, size: tuple[int, int], of: str
) -> list[Image.Image]:
    """Masks of one size, of the canvas's size: placed as their picture is, or stretched."""
    own, whole = masks[0].size, (canvas.width, canvas.height)
    turn = _turn_of(patch) if own in (size, size[::-1]) else None
    size_tells = turn in SIDEWAYS and size != size[::-1]
    if turn is not None and size_tells and own not in (size, whole):
        warn_once(logger, f"{name} is of the size that {of} has before it is turned upright: it is turned too")
        masks = [mask.transpose(turn) for mask in masks]
    elif turn is not None and not size_tells and own == size:
        warn_once(logger, f"{name} is taken as drawn on {of} as it is shown, turned upright")
    if masks[0].size == size:
        return [in_box(mask, patch, canvas, RESAMPLE) for mask in masks]
    _warn_of_shape(name, own, whole, size)
    return [mask.resize(whole, RESAMPLE) for mask in masks]


def _turn_of(patch: Patch) -> Image.Transpose | None:
    """What makes a mask upright that was drawn on a photograph as its file holds it; None where none is needed, or the
    mask tells its own, which has been done."""
    assert patch.mask is not None, "it is asked of masks"
    return turn_upright(patch.source) if turn_upright(patch.mask) is None else None


def _warn_of_shape(name: str, own: tuple[int, int], whole: tuple[int, int], size: tuple[int, int]) -> None:
    """A mask lies over the whole canvas, also where its picture is cropped: one of another shape is stretched."""
    if abs(own[0] / own[1] / (whole[0] / whole[1]) - 1) > SAME_SHAPE:
        stretched = f"is {own[1]}x{own[0]} and is stretched over the whole canvas of {whole[1]}x{whole[0]}"
        legal = f"draw it in the canvas's shape, or in its picture's size, {size[1]}x{size[0]}, to lie as that does"
        warn_once(logger, f"{name} {stretched}, wherever its picture lies; {legal}")
