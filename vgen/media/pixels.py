"""Pixels as models take them: values in [-1, 1], and back."""

import numpy as np
import torch


def to_unit(pixels: np.ndarray | torch.Tensor) -> torch.Tensor:
    """uint8 pixels, 0 to 255, of any shape, to float32 in [-1, 1]."""
    return torch.as_tensor(pixels).float() / 127.5 - 1.0


def to_uint8(unit: torch.Tensor) -> torch.Tensor:
    """Values in [-1, 1], of any shape, to uint8 pixels; values outside are clamped."""
    return ((unit.float() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
