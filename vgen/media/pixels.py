"""Pixels as models take them: values in [-1, 1], and back; opaque."""

import numpy as np
import torch

GREY = 128  # what lies under transparent pixels where no alpha is wanted: 0 in a model's range, as outside a mask


def to_unit(pixels: np.ndarray | torch.Tensor) -> torch.Tensor:
    """uint8 pixels, 0 to 255, of any shape, to float32 in [-1, 1]."""
    return torch.as_tensor(pixels).float() / 127.5 - 1.0


def to_uint8(unit: torch.Tensor) -> torch.Tensor:
    """Values in [-1, 1], of any shape, to uint8 pixels; values outside are clamped."""
    return ((unit.float() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)


def on_grey(pixels: np.ndarray) -> np.ndarray:
    """uint8 [..., 4] laid on mid-grey: uint8 [..., 3]."""
    alpha = pixels[..., 3:].astype(np.uint16)
    return ((pixels[..., :3] * alpha + GREY * (255 - alpha) + 127) // 255).astype(np.uint8)
