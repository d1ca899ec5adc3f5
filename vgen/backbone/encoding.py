"""Conditions from pixels: each is encoded alone, and sits at τ/N (VideoCanvas, section 3)."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from vgen.backbone.codec import Codec
from vgen.backbone.rope import temporal_position
from vgen.backbone.segments import Segment, condition

IMAGES_AT_ONCE = 8  # bounds the codec's memory; each image is encoded alone whatever this is


def encode_frames(codec: Codec, pixels: Tensor, masks: Tensor, frames: Tensor) -> Segment:
    """Conditions from images: zeros (mid-grey) outside the mask, then image mode, each alone.

    Args:
        pixels: [B, K, 3, H, W] in [-1, 1].
        masks: [B, K, 1, H, W], nonzero where a pixel is given.
        frames: [B, K] pixel frames τ, fractional ones included.

    Returns:
        one condition segment of K latent frames; frame k sits at τ_k / N.
    """
    batch = len(pixels)
    images = rearrange(pixels * (masks != 0), "b k c h w -> (b k) c h w")
    latents = torch.cat([codec.encode_image(part) for part in torch.split(images, IMAGES_AT_ONCE)])
    latent = rearrange(latents, "(b k) c 1 h w -> b c k h w", b=batch)
    return condition(latent, temporal_position(frames, codec.temporal_stride).to(latent.device))


def encode_clip(codec: Codec, pixels: Tensor, masks: Tensor, start: Tensor) -> Segment:
    """A condition from a clip encoded as a clip: latent j sits at (t₀ + N·j)/N, a quarter of the tokens.

    Args:
        pixels: [B, 3, T, H, W] in [-1, 1], T = 1 + N·k.
        masks: [B, 1, T, H, W], nonzero where a pixel is given.
        start: [B] pixel frame t₀ of the clip's first frame.
    """
    latent = codec.encode_video(pixels * (masks != 0))
    ends = torch.arange(latent.shape[2], dtype=torch.float64) * codec.temporal_stride
    positions = temporal_position(start.double().unsqueeze(1) + ends, codec.temporal_stride)
    return condition(latent, positions.to(latent.device), clip=True)
