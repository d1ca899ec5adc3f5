"""What training a codec need not compute: the padding before a single frame, and what lies around a crop."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d
from torch import Tensor


def skip_time_padding(vae: AutoencoderKLWan) -> None:
    """Lets the causal convolutions of a codec see single frames in two dimensions. The plain ones lay zeros before a
    frame and multiply them by two thirds of their kernel; what comes out is the same but for rounding."""
    for module in vae.modules():
        if type(module) is WanCausalConv3d:
            module.__class__ = _CausalConv


class _CausalConv(WanCausalConv3d):
    """A causal convolution whose weights and results are WanCausalConv3d's."""

    def forward(self, x: Tensor, cache_x: Tensor | None = None) -> Tensor:
        left, right, top, bottom, before, _ = self._padding
        alone = x.shape[2] == 1 and cache_x is None and before == self.kernel_size[0] - 1
        if not alone or (left, top) != (right, bottom):
            result: Tensor = super().forward(x, cache_x)
            return result
        frame = F.conv2d(x[:, :, 0], self.weight[:, :, -1], self.bias, self.stride[1:], (top, left))
        return frame.unsqueeze(2)


def cropped(pixels: np.ndarray, side: int | None, rng: np.random.Generator) -> np.ndarray:
    """A square of `side` pixels at a random place of each clip of uint8 [B, T, H, W, 3], or all where a clip is
    smaller or `side` is None."""
    height, width = pixels.shape[2:4]
    rows, columns = min(side or height, height), min(side or width, width)
    if (rows, columns) == (height, width):
        return pixels
    tops = rng.integers(height - rows + 1, size=len(pixels))
    lefts = rng.integers(width - columns + 1, size=len(pixels))
    return np.stack([clip[:, y : y + rows, x : x + columns] for clip, y, x in zip(pixels, tops, lefts, strict=True)])
