"""Padding in time, in pixels: all that is given is laid on one grey video, which is encoded as a clip."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vgen.backbone.codec import Codec
from vgen.backbone.conditioning import Conditioning
from vgen.backbone.encoding import Given, images_at_once
from vgen.backbone.segments import condition
from vgen.backbone.shapes import pixel_frames
from vgen.canvas.paradigms.paradigm import Shape, check_clean


class PixelPadding:
    """Given frames on a grey video of T frames (zeros in [-1, 1]), which is encoded as one clip and stands beside the
    target on the same grid, t = 0 ... F-1.

    A frame lies at the pixel frame nearest to its τ, a clip frame by frame. Where several lie at one pixel frame, the
    later that is given lies over the earlier, as its mask weighs it. All are one video, so a strength below 1 is
    refused.
    """

    def conditioning(self, codec: Codec, given: Sequence[Given], shape: Shape) -> Conditioning:
        """One clip beside the target, none where nothing is given; see `Paradigm`."""
        if not given:
            return Conditioning()
        check_clean(given)
        batch, _, frames, _, _ = shape
        video = padded(given, pixel_frames(frames, codec.temporal_stride))
        at_once = max(1, images_at_once(video[0]) // video.shape[2])
        latent = torch.cat([codec.encode_video(part) for part in torch.split(video, at_once)])
        t = torch.arange(frames, dtype=torch.float64, device=latent.device).expand(batch, frames)
        return Conditioning([condition(latent, t, clip=True)])

    def frames_beside(self, given: int, target: int) -> int:
        """As many as the target has; see `Paradigm`."""
        return target if given else 0


def padded(given: Sequence[Given], frames: int) -> Tensor:
    """Videos [B, 3, T, H, W] in [-1, 1] of T frames, on which lies what is given."""
    batch, _, channels, height, width = given[0].pixels.shape
    video = torch.zeros(batch, channels, frames, height, width, device=given[0].pixels.device)
    rows = torch.arange(batch)
    for each in given:
        places = (each.frames + 0.5).floor().long().cpu()
        for index in range(places.shape[1]):
            mask = each.masks[:, index].to(video.dtype)
            below = video[rows, :, places[:, index]]
            video[rows, :, places[:, index]] = each.pixels[:, index] * mask + below * (1 - mask)
    return video
