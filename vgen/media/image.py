"""Images in, by Pillow: upright, 8 bits, in sRGB's colours, whether from a file, from bytes or from memory."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from os import PathLike

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from vgen.errors import InputError
from vgen.notices import warn_once

logger = logging.getLogger(__name__)

# What may be opened. Pillow would hand some others to other programs.
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "QOI", "TGA", "TIFF", "WEBP")
GREY = 128  # what lies under transparent pixels where no alpha is wanted: 0 in a model's range, as outside a mask
UPRIGHT = {  # by EXIF orientation, what makes a picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = tuple(UPRIGHT[orientation] for orientation in (5, 6, 7, 8))  # they change the places of width and height
SRGB = ImageCms.createProfile("sRGB")
SAME_TONE = 16  # of 255: by how much sRGB of other makers may differ in mid-grey; linear light differs by 60
PROFILED = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}  # a profile's colour space, and Pillow's mode


def read_image(path: str | PathLike[str]) -> np.ndarray:
    """Reads an image file; see `image_pixels` for its colours.

    Returns:
        uint8 [H, W, 3], or [H, W, 4] where the image has transparency.

    Raises:
        InputError: a missing or corrupt file, one of more than 178 million pixels, or as `image_pixels`.
    """
    try:
        with readable(path), Image.open(path, formats=FORMATS) as image:
            return image_pixels(image, path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such image file") from error


def decode_image(data: bytes, name: str) -> np.ndarray:
    """Reads an image from a file's bytes, as `read_image` does; errors call it by `name`."""
    with readable(name), Image.open(BytesIO(data), formats=FORMATS) as image:
        return image_pixels(image, name)


def image_pixels(image: Image.Image, name: str | PathLike[str] = "the image") -> np.ndarray:
    """The pixels of an image in memory: upright as its EXIF data says, its ICC profile turned into sRGB, 16-bit grey
    scaled to 8 bits, floating-point grey from 0..1.

    Returns:
        uint8 [H, W, 3], or [H, W, 4] where the image has transparency.

    Raises:
        InputError: it is damaged, or its grey values have no known range.
    """
    with readable(name):
        image = _eight_bits(ImageOps.exif_transpose(image), name)
        colours = _in_srgb(image, name)
        if image.has_transparency_data:
            colours.putalpha(image.convert("RGBA").getchannel("A"))
        return np.array(colours)


def turn_upright(source: object) -> Image.Transpose | None:
    """The turn or mirroring that makes a picture upright, as its EXIF data says; None where there is none.

    Args:
        source: a file, or a Pillow image; anything else has no such data.
    """
    if isinstance(source, Image.Image):
        return UPRIGHT.get(source.getexif().get(ExifTags.Base.Orientation, 1))
    if not isinstance(source, str | PathLike):
        return None
    try:
        with Image.open(source, formats=FORMATS) as image:
            return turn_upright(image)
    except UnidentifiedImageError:  # a video
        return None


def cover(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scales images uint8 [K, H, W, 3] until they cover (H, W) and cuts off what is over, evenly on both sides: as
    `fit=cover` does with a patch."""
    if pixels.shape[1:3] == tuple(size):
        return pixels
    height, width = size
    return np.stack(
        [np.asarray(ImageOps.fit(Image.fromarray(p), (width, height), Image.Resampling.BICUBIC)) for p in pixels]
    )


def on_grey(pixels: np.ndarray) -> np.ndarray:
    """uint8 [..., 4] laid on mid-grey: uint8 [..., 3]."""
    alpha = pixels[..., 3:].astype(np.uint16)
    return ((pixels[..., :3] * alpha + GREY * (255 - alpha) + 127) // 255).astype(np.uint8)


@contextmanager
def readable(name: str | PathLike[str]) -> Iterator[None]:
    """Says in one line what Pillow cannot read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large and of odd files: they are read, or there is an error
            yield
    except (InputError, FileNotFoundError):
        raise
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise InputError(
            f"{name}: an image of more than {most:.0f} million pixels is not read; scale it down"
        ) from error
    except UnidentifiedImageError as error:
        raise InputError(f"{name}: not a readable image file (cannot identify what it holds)") from error
    except Exception as error:  # decoders of damaged data raise all kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{name}: not a readable image file ({reason})") from error


def _eight_bits(image: Image.Image, name: str | PathLike[str]) -> Image.Image:
    """An image whose grey is of 8 bits: Pillow's own conversion would cut off all above 255."""
    if image.mode != "F" and not image.mode.startswith("I"):
        return image
    values = np.asarray(image, dtype=np.float64)
    top, kind = (1.0, "floating-point") if image.mode == "F" else (65535.0, "whole-number")
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > top:
        span = f"{np.nanmin(values):.6g} to {np.nanmax(values):.6g}" if values.size else "nothing"
        raise InputError(f"{name}: holds {kind} greys of {span}, and must hold 0 to {top:g}; scale it, or save 8 bits")
    grey = Image.fromarray((values / top * 255).round().astype(np.uint8))
    grey.info = dict(image.info)
    return grey


def _in_srgb(image: Image.Image, name: str | PathLike[str]) -> Image.Image:
    """The colours of an image, of mode RGB and without its alpha, which `putalpha` may change in place."""
    data = image.info.get("icc_profile")
    if not data:
        return image.convert("RGB").copy()
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(data))
        mode = PROFILED.get(profile.profile.xcolor_space.strip())
        if mode is None:
            raise ValueError(f"is of {profile.profile.xcolor_space.strip()}")
        if mode == "RGB" and _is_srgb(profile):
            return image.convert("RGB").copy()
        converted = ImageCms.profileToProfile(image.convert(mode), profile, SRGB, outputMode="RGB")
        assert converted is not None  # as it is not done in place
        return converted
    except (OSError, ValueError, ImageCms.PyCMSError) as error:
        warn_once(logger, f"{name}: its colour profile cannot be used ({error}); its pixels are taken as sRGB")
        return image.convert("RGB").copy()


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    """Whether a profile of RGB is sRGB, by its name and its tones: those of linear light have "sRGB" in theirs too."""
    if "srgb" not in (profile.profile.profile_description or "").lower():
        return False
    grey = ImageCms.profileToProfile(Image.new("RGB", (1, 1), (GREY,) * 3), profile, SRGB, outputMode="RGB")
    assert grey is not None  # as it is not done in place
    return bool(np.abs(np.asarray(grey).astype(int) - GREY).max() <= SAME_TONE)
