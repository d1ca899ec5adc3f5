"""Patches of frames, half of them objects and half random crops, and the masks of inpainting and outpainting."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from canvas_suite.tasks import ClipShape, crop, hole, window
from PIL import Image

from bench_sets.objects import ObjectFinder
from bench_sets.settings import STRIDE, BuildSettings

CROP = "random crop"


@dataclass(frozen=True)
class CutOut:
    """A patch that was cut out of a clip.

    Attributes:
        frame: Of the clip.
        file: The picture in the bench, which is transparent outside of an object.
        box: Where it was: (x0, y0, x1, y1) as shares of the frame.
        found_by: What found the object, or that it is a random crop.
        object_wanted: Whether an object was to be found.
    """

    frame: int
    file: str
    box: tuple[float, float, float, float]
    found_by: str
    object_wanted: bool

    def to_dict(self) -> dict[str, Any]:
        """As a manifest has it."""
        return {"frame": self.frame, "file": self.file, "box": list(self.box), "found_by": self.found_by}


def cut_patches(
    clip: np.ndarray, number: int, settings: BuildSettings, finder: ObjectFinder, folder: Path
) -> dict[str, CutOut]:
    """One patch of each anchor frame, by the anchor's name; the clips and the anchors take turns in objects and crops.
    Where no object is found, a random crop stands in for it.

    Args:
        clip: uint8 `[T, H, W, 3]`.
        number: of the clip in the bench.
        settings: of the bench.
        finder: of objects.
        folder: of the bench, in which the pictures are written.

    Raises:
        OSError: a picture cannot be written.
    """
    cut = {}
    for turn, (anchor, frame) in enumerate(settings.anchors.items()):
        wanted = (number + turn) % 2 == 0
        mask = finder.find(clip, frame) if wanted else None
        found_by = CROP if mask is None else finder.name
        if mask is None:
            mask = crop(_shape(settings), _draws(settings, number, turn)) > 0
        file = f"media/{number:04d}-{frame}-patch.png"
        box = _write_patch(folder / file, clip[frame], mask, opaque=found_by == CROP)
        cut[anchor] = CutOut(frame, file, box, found_by, wanted)
    return cut


def draw_masks(number: int, settings: BuildSettings, folder: Path) -> dict[str, str]:
    """The masks of a clip, white where a pixel is given, by the kind of their case. Raises: OSError."""
    files = {}
    for turn, (kind, draw) in enumerate({"inpainting": hole, "outpainting": window}.items(), len(settings.anchors)):
        mask = draw(_shape(settings), _draws(settings, number, turn))
        files[kind] = f"media/{number:04d}-{kind}.png"
        Image.fromarray((mask * 255).astype(np.uint8)).save(folder / files[kind])
    return files


def _write_patch(file: Path, image: np.ndarray, mask: np.ndarray, opaque: bool) -> tuple[float, float, float, float]:
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    top, bottom, left, right = (int(end) for end in (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1))
    place = np.s_[top:bottom, left:right]
    alpha = (mask[place] * 255).astype(np.uint8)[..., None]
    seen = image[place] * (alpha > 0)  # what lies beneath is not told
    Image.fromarray(seen if opaque else np.concatenate([seen, alpha], axis=-1)).save(file)
    height, width = mask.shape
    return left / width, top / height, right / width, bottom / height


def _shape(settings: BuildSettings) -> ClipShape:
    return ClipShape(settings.frames, *settings.size, STRIDE)


def _draws(settings: BuildSettings, number: int, turn: int) -> np.random.Generator:
    """Of one clip and one use alone, so that more clips change nothing of those before."""
    return np.random.default_rng([settings.seed, number, turn])
