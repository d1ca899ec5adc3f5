"""Conditions from pixels: each is encoded alone, and sits at τ/N (VideoCanvas, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from vgen.backbone.codec import Codec
from vgen.backbone.segments import Segment, condition
from vgen.backbone.shapes import temporal_position
from vgen.media.placing import Placed, PlacedClip, PlacedFrame

IMAGES_AT_ONCE = 8  # bounds the codec's memory; each image is encoded alone whatever this is
GPU_PIXELS = 1 << 21  # of images that a GPU encodes at once: 8 of 384x672, 128 of 128x128


def encode_placed(codec: Codec, placed: Sequence[Placed]) -> list[Segment]:
    """Condition segments (batch of one) of what lies on a canvas: all images in one, then one for each clip."""
    images = [item for item in placed if isinstance(item, PlacedFrame)]
    clips = [item for item in placed if isinstance(item, PlacedClip)]
    segments = []
    if images:
        pixels, masks = (torch.stack([getattr(item, name) for item in images]) for name in ("pixels", "mask"))
        frames = torch.tensor([[item.frame for item in images]], dtype=torch.float64)
        segments.append(encode_frames(codec, pixels[None], masks[None], frames))
    for clip in clips:
        start = torch.tensor([clip.frame], dtype=torch.float64)
        segments.append(encode_clip(codec, clip.pixels[None], clip.mask[None], start))
    return segments


def encode_frames(codec: Codec, pixels: Tensor, masks: Tensor, frames: Tensor) -> Segment:
    """Conditions from images: the mask weighs them towards zeros (mid-grey), then image mode, each alone.

    Args:
        pixels: [B, K, 3, H, W] in [-1, 1].
        masks: [B, K, 1, H, W], by how much a pixel is given, 0 to 1 or booleans.
        frames: [B, K] pixel frames τ, fractional ones included.

    Returns:
        one condition segment of K latent frames; frame k sits at τ_k / N.
    """
    batch = len(pixels)
    images = rearrange(pixels * masks, "b k c h w -> (b k) c h w")
    latents = torch.cat([codec.encode_image(part) for part in torch.split(images, images_at_once(images))])
    latent = rearrange(latents, "(b k) c 1 h w -> b c k h w", b=batch)
    return condition(latent, temporal_position(frames, codec.temporal_stride).to(latent.device))


def images_at_once(images: Tensor) -> int:
    """How many of images [N, 3, H, W] are encoded at once: on a GPU as many as keep it busy."""
    if images.device.type == "cpu":
        return IMAGES_AT_ONCE
    return max(IMAGES_AT_ONCE, GPU_PIXELS // (images.shape[-2] * images.shape[-1]))


def encode_clip(codec: Codec, pixels: Tensor, masks: Tensor, start: Tensor) -> Segment:
    """A condition from a clip encoded as a clip: latent j sits at (t₀ + N·j)/N, a quarter of the tokens.

    Args:
        pixels: [B, 3, T, H, W] in [-1, 1], T = 1 + N·k.
        masks: [B, 1, T, H, W], as of `encode_frames`.
        start: [B] pixel frame t₀ of the clip's first frame.
    """
    latent = codec.encode_video(pixels * masks)
    ends = torch.arange(latent.shape[2], dtype=torch.float64) * codec.temporal_stride
    positions = temporal_position(start.double().unsqueeze(1) + ends, codec.temporal_stride)
    return condition(latent, positions.to(latent.device), clip=True)


def rebuild(codec: Codec, pixels: Tensor, masks: Tensor) -> Tensor:
    """What is left of images after the codec: each encoded as a condition is, alone, and decoded again.

    Args:
        pixels: [K, 3, H, W] in [-1, 1].
        masks: [K, 1, H, W], as of `encode_frames`.

    Returns:
        [K, 3, H, W] in [-1, 1], on the CPU.
    """
    parts = torch.split(pixels * masks, IMAGES_AT_ONCE)
    return torch.cat([codec.decode(codec.encode_image(part))[:, :, 0].cpu() for part in parts])
