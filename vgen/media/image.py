"""Images in, by Pillow."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from vgen.errors import InputError


def read_image(path: str | Path) -> np.ndarray:
    """Read an image file, turned upright as its EXIF data says.

    Returns:
        uint8 [H, W, 3], or [H, W, 4] where the image has transparency; 16-bit grey is scaled to 8 bits.

    Raises:
        InputError: a missing or corrupt file, one of floating-point pixels, or one of more than 178 million pixels.
    """
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such image file") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # all that Pillow raises
        raise InputError(f"{path}: not a readable image file ({_first_line(error)})") from error
    if image.mode == "F":
        raise InputError(f"{path}: holds floating-point pixels, whose range is unknown; save it with 8 bits")
    if image.mode.startswith("I"):  # Pillow's own conversion would clip all above 255 to white
        image = Image.fromarray((np.asarray(image) / 257).round().clip(0, 255).astype(np.uint8))
    return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
