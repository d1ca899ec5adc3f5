"""Pictures of a folder, and pans over them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vgen.errors import InputError
from vgen.media.fitting import fit_image
from vgen.media.image import FORMATS, on_grey, read_image, readable
from vgen.media.pixels import to_unit

SAMPLES = ("astronaut", "chelsea", "coffee")
"""Of scikit-image; chelsea is a cat."""
PAN_STEP = 2
"""Pixels by which a pan moves to the right from frame to frame, so that no pixel is resampled on the way."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pictures:
    """Pictures as a codec is to hold them.

    Attributes:
        names: One each.
        stills: Their middles, `[N, 3, 1, H, W]` in [-1, 1].
        pans: The window of a camera that moves over each to the right, `[N, 3, T, H, W]`.
    """

    names: list[str]
    stills: Tensor
    pans: Tensor


def held_out(folder: Path) -> dict[str, Path]:
    """The picture files below a folder by name: those kept for testing alone, if any of these is among them, or else
    all.

    Raises:
        InputError: it is no folder, or holds no picture.
    """
    named, kept = _found(folder)
    return dict(sorted((kept or named).items()))


def for_training(folder: Path) -> dict[str, Path]:
    """The picture files below a folder that `held_out` leaves, by name, but for those that have an alpha channel.

    Raises:
        InputError: as of `held_out`.
    """
    named, kept = _found(folder)
    return {name: named[name] for name in sorted(named) if kept and name not in kept and not _has_alpha(named[name])}


def _has_alpha(file: Path) -> bool:
    try:
        with readable(file), Image.open(file, formats=FORMATS) as image:
            return image.has_transparency_data
    except InputError:  # told when it is read
        return False


def _found(folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """All picture files below a folder, and those of them that are kept for testing alone."""
    # Recording needs OpenCV, and a benchmark of clips does not.
    from vgen.simulators.pictures.photographs import HELD_OUT, SUFFIXES, find

    named = find(folder)
    if not named:
        raise InputError(f"{folder} holds no picture ({' '.join(SUFFIXES)}); name a folder of photographs")
    return named, {name: file for name, file in named.items() if name.removesuffix("-dark") in HELD_OUT}


def samples() -> dict[str, Path]:
    """`SAMPLES` by name; empty, in one line, where scikit-image is not installed, which is not imported."""
    spec = find_spec("skimage")
    folders = [] if spec is None else [Path(place, "data") for place in spec.submodule_search_locations or []]
    found = {name: folder / f"{name}.png" for folder in folders for name in SAMPLES}
    if not found:
        logger.warning("without %s: scikit-image is not installed", ", ".join(SAMPLES))
    return found


def read_pictures(named: dict[str, Path], size: tuple[int, int], frames: int) -> Pictures:
    """Pictures cropped to (height, width), and pans of so many frames over them; what cannot be read is left out, in
    one line each.

    Raises:
        InputError: none can be read.
    """
    read = {name: image for name, file in named.items() if (image := _readable(file)) is not None}
    if not read:
        raise InputError(f"none of {len(named)} pictures can be read; the first is {next(iter(named.values()), None)}")
    stills = [_frames([fit_image(image, size[::-1], "cover")]) for image in read.values()]
    pans = [_frames(pan(image, size, frames)) for image in read.values()]
    return Pictures(list(read), torch.stack(stills), torch.stack(pans))


def pan(image: Image.Image, size: tuple[int, int], frames: int) -> list[Image.Image]:
    """The views of a camera that moves to the right by `PAN_STEP` pixels a frame, each of (height, width)."""
    height, width = size
    wide = fit_image(image, (width + PAN_STEP * (frames - 1), height), "cover")
    return [wide.crop((left, 0, left + width, height)) for left in range(0, PAN_STEP * frames, PAN_STEP)]


def _readable(file: Path) -> Image.Image | None:
    try:
        pixels = read_image(file)
    except InputError as error:
        logger.warning("left out: %s", error)
        return None
    return Image.fromarray(on_grey(pixels) if pixels.shape[-1] == 4 else pixels)


def _frames(images: Sequence[Image.Image]) -> Tensor:
    return to_unit(np.stack([np.asarray(image) for image in images])).permute(3, 0, 1, 2)
