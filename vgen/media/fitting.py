"""How pictures meet their boxes: cropped, bordered or stretched, which is told, and enlarged, which is told too."""

from __future__ import annotations

import logging
from typing import Protocol

from PIL import Image, ImageOps

from vgen.errors import InputError
from vgen.media.patch import Patch
from vgen.notices import warn_once

logger = logging.getLogger(__name__)

SAME_SHAPE = 0.02  # by which the aspects of a picture and its box may differ, as a share
ENLARGED = 2.0  # times; the finest lines of a picture that is enlarged by more are seen to be blurred


class Ground(Protocol):
    """What patches lie on: a video of so many pixel frames, of a size in pixels, at so many frames per second; None is
    the rate of whatever lies on it."""

    @property
    def frames(self) -> int: ...  # noqa: D102 (as are the others, by the class)
    @property
    def height(self) -> int: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def fps(self) -> float | None: ...  # noqa: D102


def fit_image(
    image: Image.Image,
    size: tuple[int, int],
    fit: str,
    resample: Image.Resampling = Image.Resampling.BICUBIC,
) -> Image.Image:
    """Resizes an image to meet a box of (width, height); only "contain" may leave it smaller than the box."""
    if fit == "cover":
        return ImageOps.fit(image, size, resample)
    return image.resize(_contained(image.size, size) if fit == "contain" else size, resample)


def _contained(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """The largest (width, height) of the shape of a size that a box holds."""
    scale = min(box[0] / size[0], box[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def in_box(
    image: Image.Image, patch: Patch, canvas: Ground, resample: Image.Resampling = Image.Resampling.BICUBIC
) -> Image.Image:
    """A picture in the box of its patch on an empty canvas, transparent (or of a grey picture, black) around it."""
    left, top, right, bottom = box_pixels(patch.box, canvas)
    image = fit_image(image, (right - left, bottom - top), patch.fit, resample)
    sheet = Image.new("L" if image.mode == "L" else "RGBA", (canvas.width, canvas.height))
    sheet.paste(image, (left + (right - left - image.width) // 2, top + (bottom - top - image.height) // 2))
    return sheet


def box_pixels(box: tuple[float, float, float, float] | None, canvas: Ground) -> tuple[int, int, int, int]:
    """A box in shares of the canvas, all of it when None, as (left, top, right, bottom) in pixels.

    Raises:
        InputError: it is under one pixel.
    """
    x0, y0, x1, y1 = box or (0, 0, 1, 1)
    left, right = round(x0 * canvas.width), round(x1 * canvas.width)
    top, bottom = round(y0 * canvas.height), round(y1 * canvas.height)
    if left == right or top == bottom:
        given, size = ",".join(f"{end:g}" for end in (x0, y0, x1, y1)), f"{canvas.height}x{canvas.width}"
        raise InputError(f"box={given} is under one pixel of a canvas of {size}; make it larger")
    return left, top, right, bottom


def warn_of_fit(patch: Patch, size: tuple[int, int], canvas: Ground, name: str) -> None:
    """Tells what a picture of (width, height) loses where it is cropped or stretched to its box, and whether it is
    much enlarged: neither may be meant. `name` is the patch in messages."""
    left, top, right, bottom = box_pixels(patch.box, canvas)
    box = right - left, bottom - top
    _warn_of_shape(patch, size, box, name)
    width, height = _contained(size, box) if patch.fit == "contain" else box
    if (times := max(width / size[0], height / size[1])) > ENLARGED:
        by = f"{times:.2g}" if times < 10 else f"{times:.0f}"
        how = f"is {size[1]}x{size[0]} pixels, enlarged {by} times for {height}x{width}: it will be blurred"
        warn_once(logger, f"{name} {how}")


def _warn_of_shape(patch: Patch, size: tuple[int, int], box: tuple[int, int], name: str) -> None:
    wider = (size[0] / size[1]) / (box[0] / box[1])
    if patch.fit == "contain" or abs(wider - 1) <= SAME_SHAPE:
        return
    to = f"box of {box[1]}x{box[0]}"
    if patch.fit == "cover":
        lost, sides = 1 - min(wider, 1 / wider), "left and right" if wider > 1 else "above and below"
        told = f"is cropped to its {to}: {lost:.0%} of it is lost, {sides}; fit=contain keeps all"
    else:
        how, by = ("narrower", wider) if wider > 1 else ("wider", 1 / wider)
        told = f"is stretched to its {to}: all is {by:.2g} times {how} than it was; fit=contain keeps its shape"
    warn_once(logger, f"{name} {told}")
