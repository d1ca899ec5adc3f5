"""Conditions from pixels: each is encoded alone, and sits at τ/N (VideoCanvas, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from vgen.backbone.codec import Codec
from vgen.backbone.padding import Nearest, Padding, padded
from vgen.backbone.segments import Segment, condition
from vgen.backbone.shapes import temporal_position
from vgen.media.placing import Placed, PlacedClip, PlacedFrame

IMAGES_AT_ONCE = 8  # bounds the codec's memory; each image is encoded alone whatever this is
GPU_PIXELS = 1 << 21  # of images that a GPU encodes at once: 8 of 384x672, 128 of 128x128


@dataclass(frozen=True)
class Given:
    """What is given of a batch of videos, before it is encoded: K frames, each alone, or one clip of K frames.

    Attributes:
        pixels: [B, K, 3, H, W] in [-1, 1].
        masks: [B, K, 1, H, W], by how much a pixel is given, 0 to 1 or booleans.
        frames: [B, K] pixel frames τ, fractional ones included; those of a clip follow one another.
        clip: whether they are encoded together, as a clip; K = 1 + N·k then.
        strength: in (0, 1]; below 1 they are noised to diffusion time 1 - strength.
        seed: of that noise.
        padding: what stands in for pixels that are not given, as the model was trained.
        nearest: of these masks, where it is known already.
    """

    pixels: Tensor
    masks: Tensor
    frames: Tensor
    clip: bool = False
    strength: float = 1.0
    seed: tuple[int, ...] = (0,)
    padding: Padding = field(kw_only=True)
    nearest: Nearest | None = None

    def encode(self, codec: Codec) -> Segment:
        """The condition segment, at its true times τ/N."""
        encode = encode_clip if self.clip else encode_frames
        segment = encode(codec, self.pixels, self.masks, self.frames, self.padding, self.nearest)
        return segment if self.strength == 1 else weakened(segment, self.strength, self.seed)


def given_of(placed: Sequence[Placed], seed: int = 0, *, padding: Padding) -> list[Given]:
    """What lies on a canvas, as a batch of one: all images of equal strength in one, then one for each clip.

    Args:
        placed: images and clips.
        seed: of the noise of those with a strength below 1; each has noise of its own.
        padding: of pixels that are not given, as the model was trained.
    """
    images = [item for item in placed if isinstance(item, PlacedFrame)]
    given = []
    for strength in dict.fromkeys(image.strength for image in images):
        equal = [image for image in images if image.strength == strength]
        pixels, masks = (torch.stack([getattr(item, name) for item in equal]) for name in ("pixels", "mask"))
        frames = torch.tensor([[item.frame for item in equal]], dtype=torch.float64)
        given.append(Given(pixels[None], masks[None], frames, strength=strength, padding=padding))
    for clip in (item for item in placed if isinstance(item, PlacedClip)):
        frames = clip.frame + torch.arange(clip.pixels.shape[1], dtype=torch.float64)[None]
        pixels, masks = (plane.transpose(0, 1)[None] for plane in (clip.pixels, clip.mask))
        given.append(Given(pixels, masks, frames, clip=True, strength=clip.strength, padding=padding))
    return [replace(each, seed=(seed, index + 1)) for index, each in enumerate(given)]


def weakened(segment: Segment, strength: float, seed: tuple[int, ...]) -> Segment:
    """A clean condition, noised to diffusion time s = 1 - strength, which it then says: z_s = (1-s)·z + s·ε.

    The less strength, the freer the model is to depart from it (`strength` of a keyframe in LTX-2.5).
    """
    draw = np.random.default_rng(seed).standard_normal(segment.latent.shape, dtype=np.float32)
    noise = torch.from_numpy(draw).to(segment.latent)
    time = torch.full_like(segment.time, 1 - strength)
    return replace(segment, latent=strength * segment.latent + (1 - strength) * noise, time=time)


def encode_frames(
    codec: Codec,
    pixels: Tensor,
    masks: Tensor,
    frames: Tensor,
    padding: Padding = "zeros",
    nearest: Nearest | None = None,
) -> Segment:
    """Conditions from images: the mask weighs them towards their padding, then image mode, each alone.

    Args:
        pixels: [B, K, 3, H, W] in [-1, 1].
        masks: [B, K, 1, H, W], by how much a pixel is given, 0 to 1 or booleans.
        frames: [B, K] pixel frames τ, fractional ones included.
        padding: of pixels that are not given; zeros are mid-grey.
        nearest: of these masks, where it is known already.

    Returns:
        one condition segment of K latent frames; frame k sits at τ_k / N.
    """
    batch = len(pixels)
    images = rearrange(padded(pixels, masks, padding, nearest), "b k c h w -> (b k) c h w")
    latents = torch.cat([codec.encode_image(part) for part in torch.split(images, images_at_once(images))])
    latent = rearrange(latents, "(b k) c 1 h w -> b c k h w", b=batch)
    positions = temporal_position(frames, codec.temporal_stride).to(latent.device)
    given = latent_mask(masks.transpose(1, 2), codec.spatial_stride)[:, 0].to(latent.device)
    return condition(latent, positions, given=given)


def images_at_once(images: Tensor) -> int:
    """How many of images [N, 3, H, W] are encoded at once: on a GPU as many as keep it busy."""
    if images.device.type == "cpu":
        return IMAGES_AT_ONCE
    return max(IMAGES_AT_ONCE, GPU_PIXELS // (images.shape[-2] * images.shape[-1]))


def encode_clip(
    codec: Codec,
    pixels: Tensor,
    masks: Tensor,
    frames: Tensor,
    padding: Padding = "zeros",
    nearest: Nearest | None = None,
) -> Segment:
    """A condition from a clip encoded as a clip: latent j sits at (t₀ + N·j)/N, a quarter of the tokens.

    Args:
        pixels, masks, padding, nearest: as of `encode_frames`, K = 1 + N·k; each frame is padded from itself.
        frames: [B, K] pixel frames τ, which follow one another from t₀ on.
    """
    images = padded(pixels, masks, padding, nearest)
    at_once = max(1, images_at_once(images[0]) // images.shape[1])
    latent = torch.cat([codec.encode_video(part.transpose(1, 2)) for part in torch.split(images, at_once)])
    positions = temporal_position(frames[:, :: codec.temporal_stride], codec.temporal_stride)
    given = latent_mask(masks.transpose(1, 2), codec.spatial_stride, codec.temporal_stride)[:, 0].to(latent.device)
    return condition(latent, positions.to(latent.device), clip=True, given=given)


def latent_mask(masks: Tensor, side: int, stride: int = 1) -> Tensor:
    """The share of pixels that is given of each latent pixel, [B, 1, F, h, w].

    Args:
        masks: [B, 1, T, H, W], by how much a pixel is given, 0 to 1 or booleans.
        side: S of the codec, pixels along a side of a latent pixel.
        stride: N of the codec where the frames are a clip, whose first latent is of its first frame and each further
            one of N frames; 1 where each is encoded alone.
    """
    masks = functional.avg_pool3d(masks.float(), (1, side, side))
    if stride == 1 or masks.shape[2] == 1:
        return masks
    return torch.cat([masks[:, :, :1], functional.avg_pool3d(masks[:, :, 1:], (stride, 1, 1))], dim=2)


def rebuild(codec: Codec, pixels: Tensor, masks: Tensor, padding: Padding = "zeros") -> Tensor:
    """What is left of images after the codec: each encoded as a condition is, alone, and decoded again.

    Args:
        pixels: [K, 3, H, W] in [-1, 1].
        masks: [K, 1, H, W], as of `encode_frames`.
        padding: of pixels that are not given.

    Returns:
        [K, 3, H, W] in [-1, 1], on the CPU.
    """
    parts = torch.split(padded(pixels, masks, padding), IMAGES_AT_ONCE)
    return torch.cat([codec.decode(codec.encode_image(part))[:, :, 0].cpu() for part in parts])
