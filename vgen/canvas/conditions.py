"""From what lies on a canvas to condition segments."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vgen.backbone.codec import Codec
from vgen.backbone.encoding import encode_clip, encode_frames
from vgen.backbone.segments import Segment
from vgen.media.placing import Placed, PlacedClip, PlacedFrame


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
