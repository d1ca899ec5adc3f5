"""Clips in image files, by Pillow: animated GIF, PNG, WebP and AVIF, and TIFF of several pages."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath

import numpy as np
from PIL import Image, ImageSequence
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from vgen.errors import InputError
from vgen.media.clock import USUAL_RATE, beat, frames_shown
from vgen.media.image import FORMATS, image_pixels, on_grey, readable
from vgen.media.video import VideoInfo

CLIPS = frozenset({"AVIF", "GIF", "PNG", "TIFF", "WEBP"})  # MPO, say, holds other views of one picture
TICK = 1e-3  # seconds: such files tell durations in milliseconds
REDUCED, SUBFILE = 1, 254  # a TIFF page that is a preview of another says so in this tag


def page_numbers(image: Image.Image) -> list[int]:
    """The pages of an opened image that are frames of a clip; one, of an image that is none.

    Raises:
        InputError: it is damaged.
    """
    count: int = getattr(image, "n_frames", 1)
    if image.format not in CLIPS or count == 1:
        return [0]
    if isinstance(image, PngImageFile) and image.default_image:  # shown only by what knows no animation
        return list(range(1, count))
    if not isinstance(image, TiffImageFile):
        return list(range(count))
    whole = [n for n, _ in enumerate(ImageSequence.Iterator(image)) if not image.tag_v2.get(SUBFILE, 0) & REDUCED]
    return whole or [0]


class PagesFile:
    """A clip in an image file, with the interface of a `VideoFile`.

    Args:
        source: a file, or an image that Pillow has opened.

    Raises:
        InputError: it is damaged, or its pages differ in size.
    """

    def __init__(self, source: str | PathLike[str] | Image.Image) -> None:
        self._name = "the image" if isinstance(source, Image.Image) else fspath(source)
        with readable(self._name):
            self._image = source if isinstance(source, Image.Image) else Image.open(source, formats=FORMATS)
            self._pages = page_numbers(self._image)
            lengths, sizes = zip(*(self._about(page) for page in self._pages), strict=True)
        odd = next((n for n, size in enumerate(sizes) if size != sizes[0]), None)
        if odd is not None:
            raise InputError(
                f"{self._name}: page {odd} is of {sizes[odd][1]}x{sizes[odd][0]} and page 0 of "
                f"{sizes[0][1]}x{sizes[0][0]}; a clip is of one size"
            )
        ends = np.cumsum(lengths)
        self.times, self.end = ends - lengths, float(ends[-1])
        fps, steady = beat(self.times, TICK, 1 / lengths[0])
        height, width, channels = self._page(0).shape
        self.info = VideoInfo(len(self._pages), fps, height, width, steady, channels == 4)

    def shown(self, seconds: Sequence[float] | np.ndarray) -> np.ndarray:
        """The numbers of the frames that are shown at some times in seconds: int64, of the same shape."""
        return frames_shown(self.times, TICK, seconds)

    def read(self, frames: Sequence[int], alpha: bool = False) -> np.ndarray:
        """Decodes the numbered frames, in the order given, with the rules of `VideoFile.read`."""
        outside = [number for number in frames if not 0 <= number < len(self._pages)]
        if outside or not len(frames):
            what = f"frame {outside[0]} is not in the clip" if outside else "no frames asked for"
            raise InputError(f"{self._name}: {what}; it has frames 0 to {len(self._pages) - 1}")
        pages = [self._page(number) for number in frames]
        if alpha and any(page.shape[2] == 4 for page in pages):
            return np.stack([page if page.shape[2] == 4 else _opaque(page) for page in pages])
        return np.stack([page if page.shape[2] == 3 else on_grey(page) for page in pages])

    def _page(self, number: int) -> np.ndarray:
        with readable(self._name):
            self._image.seek(self._pages[number])
            return image_pixels(self._image, f"{self._name}, page {number}")

    def _about(self, page: int) -> tuple[float, tuple[int, int]]:
        """The seconds for which a page is shown, and its width and height."""
        self._image.seek(page)
        if self._image.format != "TIFF":
            self._image.load()  # decoders tell a duration with the pixels
        return (self._image.info.get("duration") or 1000 / USUAL_RATE) / 1000, self._image.size


def _opaque(page: np.ndarray) -> np.ndarray:
    return np.concatenate([page, np.full((*page.shape[:2], 1), 255, np.uint8)], axis=2)
