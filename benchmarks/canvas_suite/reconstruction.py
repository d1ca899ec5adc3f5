"""What a codec makes of videos: the limit of every model that uses it."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from vgen.backbone.codec import WanCodec
from vgen.backbone.precision import autocast


class Reconstruction:
    """A codec with fixed settings.

    Args:
        codec: The codec.
        batch: Videos, or images, that go through it at once.
        bf16: Computes matrix products in bfloat16, where the device can, over the weights as they are.
    """

    def __init__(self, codec: WanCodec, batch: int, bf16: bool = False) -> None:
        self.codec, self.batch = codec, batch
        self.precision = partial(autocast, codec.device.type, bf16)

    def encode(self, video: Tensor) -> Tensor:
        """Latents `[B, C, F, h, w]` of videos `[B, 3, T, H, W]`."""
        with self.precision():
            return torch.cat([self.codec.encode_video(part).cpu() for part in video.split(self.batch)])

    def reconstruct_video(self, video: Tensor) -> Tensor:
        """What the codec makes of videos `[B, 3, T, H, W]` that it encodes as videos."""
        parts = video.split(self.batch)
        with self.precision():
            return torch.cat([self.codec.decode(self.codec.encode_video(part)).cpu() for part in parts])

    def reconstruct_images(self, video: Tensor) -> Tensor:
        """What the codec makes of videos `[B, 3, T, H, W]` whose frames it encodes alone, in image mode."""
        frames = video.transpose(1, 2)
        parts = frames.flatten(0, 1).split(self.batch)
        with self.precision():
            images = [self.codec.decode(self.codec.encode_image(part))[:, :, 0].cpu() for part in parts]
        return torch.cat(images).unflatten(0, frames.shape[:2]).transpose(1, 2)
