"""What patches, masks and starts are made of: an image or a clip, by its path, as a Pillow image or as an array."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from vgen.checks import show
from vgen.errors import InputError
from vgen.media.image import FORMATS, image_pixels, read_image, readable
from vgen.media.pages import PagesFile, page_numbers
from vgen.media.patch import Media
from vgen.media.video import VIDEO_SUFFIXES, VideoFile

ClipFile = VideoFile | PagesFile

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # a URL, of which a path has lost a slash
NEAR = 0.7  # of difflib: how much of a name must be alike; less, and any two files of one suffix are
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif"})


def open_clip(file: str | PathLike[str]) -> ClipFile | None:
    """The clip in a file, told by what it holds and not by its name; None where it is an image.

    Raises:
        InputError: there is no such file, or it is neither.
    """
    file = Path(file)
    check_there(file)
    pages = _pages_in(file)
    if pages is None:
        return _open_video(file)
    return PagesFile(file) if pages > 1 else None


def media_length(source: Media) -> int:
    """Number of frames of an image (1) or a clip.

    Raises:
        InputError: the file cannot be read.
    """
    if isinstance(source, np.ndarray):
        return len(source) if source.ndim == 4 else 1
    if isinstance(source, Image.Image):
        with readable("the image"):
            return len(page_numbers(source))
    clip = open_clip(source)
    return 1 if clip is None else clip.info.frames


def read_media(source: Media, frames: Sequence[int] | None = None) -> np.ndarray:
    """The pixels of an image, which has one frame, or of a clip.

    Args:
        source: What a `Patch` takes.
        frames: Which frames of it, None for all.

    Returns:
        uint8 `[T, H, W, 3]`, or `[T, H, W, 4]` where it has transparency; a grey array `[1, H, W]`.

    Raises:
        InputError: the file cannot be read.
    """
    if isinstance(source, np.ndarray):
        pixels = source if source.ndim == 4 else source[None]
        return pixels if frames is None else pixels[list(frames)]
    if isinstance(source, Image.Image):
        if media_length(source) == 1:
            return image_pixels(source)[None]
        clip: ClipFile = PagesFile(source)
    else:
        found = open_clip(source)
        if found is None:
            return read_image(source)[None]
        clip = found
    return clip.read(range(clip.info.frames) if frames is None else frames, alpha=True)


def check_there(file: Path) -> None:
    """Refuses a path that is no file; raises InputError with the nearest name."""
    if ADDRESS.match(str(file)):
        raise InputError(f"{show(file)} is an address, and only files of this machine are read; download it first")
    if not os.path.isfile(file):  # False of a name that is too long, too
        state = "is a folder, not a file" if os.path.isdir(file) else "does not exist"
        near = difflib.get_close_matches(file.name, _names_beside(file), n=1, cutoff=NEAR)
        raise InputError(f"{show(file)} {state}" + (f"; did you mean {show(near[0])}?" if near else ""))


def _names_beside(file: Path) -> list[str]:
    try:
        return [other.name for other in file.parent.iterdir() if other.is_file()]
    except OSError:
        return []


def _pages_in(file: Path) -> int | None:
    """The number of frames of an image file; None where Pillow knows no image in it."""
    with readable(file):
        try:
            with Image.open(file, formats=FORMATS) as image:
                return len(page_numbers(image))
        except UnidentifiedImageError:
            return None


def _open_video(file: Path) -> VideoFile:
    try:
        return VideoFile(file)
    except InputError as error:
        suffix = file.suffix.lower()
        if suffix in VIDEO_SUFFIXES:
            raise
        if suffix in IMAGE_SUFFIXES:
            raise InputError(f"{file}: not a readable image file (cannot identify what it holds)") from error
        raise InputError(f"{show(file)} is neither an image nor a clip that can be read") from error
