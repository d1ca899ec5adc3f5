"""Pictures that are kept in a parquet column, as `datasets` writes them: the bytes of a file, or where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vgen.checks import show
from vgen.data.lerobot_meta import inside
from vgen.errors import InputError


def read_picture(kept: object, folder: Path, name: str) -> np.ndarray:
    """A picture of a column.

    Args:
        kept: bytes, or {"bytes", "path"}, of which the bytes count where there are some.
        folder: of the data set, which a path starts from and must not leave.
        name: in messages.

    Returns:
        uint8 [H, W, 3].

    Raises:
        InputError: there is none, it is damaged, or a part of it is transparent.
    """
    held = kept if isinstance(kept, Mapping) else {"bytes": kept}
    data, path = held.get("bytes"), held.get("path")
    if isinstance(data, bytes) and data:
        pixels = _decode(data, name)
    elif isinstance(path, str) and path:
        pixels = _decode(inside(folder, path, f"{name}: path"), name)
    else:
        raise InputError(f"{name} holds no picture: neither bytes nor a path")
    if pixels.shape[2] == 4 and pixels[..., 3].min() < 255:
        raise InputError(f"{name} is transparent in some places; pictures of a data set must be opaque")
    return pixels[..., :3]


def _decode(source: bytes | Path, name: str) -> np.ndarray:
    """uint8 [H, W, 3 or 4]."""
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as file:
            image = ImageOps.exif_transpose(file)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        known = isinstance(error, UnidentifiedImageError)  # whose text names an object in memory
        reason = "of no known format" if known else show(" ".join(str(error).split()))
        raise InputError(f"{name} is not a readable picture ({reason})") from error
    if image.mode == "F":
        raise InputError(f"{name} holds floating-point pixels, whose range is unknown; save it with 8 bits")
    if image.mode.startswith("I"):  # Pillow's own conversion would clip all above 255 to white
        image = Image.fromarray((np.asarray(image) / 257).round().clip(0, 255).astype(np.uint8))
    return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))
