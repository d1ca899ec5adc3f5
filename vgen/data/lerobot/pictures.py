"""Pictures that are kept in a parquet column, as `datasets` writes them: the bytes of a file, or where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vgen.data.lerobot.meta import inside
from vgen.errors import InputError
from vgen.media.image import decode_image, read_image


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
        pixels = decode_image(data, name)
    elif isinstance(path, str) and path:
        pixels = _read_image(inside(folder, path, f"{name}: path"), name)
    else:
        raise InputError(f"{name} holds no picture: neither bytes nor a path")
    if pixels.shape[2] == 4 and pixels[..., 3].min() < 255:
        raise InputError(f"{name} is transparent in some places; pictures of a data set must be opaque")
    return pixels[..., :3]


def _read_image(path: Path, name: str) -> np.ndarray:
    try:
        return read_image(path)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
