"""Latents in slots of the target's grid: a latent video that is given beside the target, in its place, or with it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vgen.backbone.codec import Codec
from vgen.backbone.conditioning import Conditioning, Slots
from vgen.backbone.encoding import Given
from vgen.backbone.segments import Segment, condition
from vgen.canvas.paradigms.paradigm import Shape, check_clean


class LatentConditioning:
    """The latent video of `slots_of` beside the target, on the same grid, t = 0 ... F-1."""

    def conditioning(self, codec: Codec, given: Sequence[Given], shape: Shape) -> Conditioning:
        """One run of F latents beside the target, none where nothing is given; see `Paradigm`."""
        if not given:
            return Conditioning()
        latent = slots_of(codec, given, shape).latent
        t = torch.arange(shape[2], dtype=torch.float64, device=latent.device).expand(shape[0], shape[2])
        return Conditioning([condition(latent, t, clip=True)])

    def frames_beside(self, given: int, target: int) -> int:
        """As many as the target has; see `Paradigm`."""
        return target if given else 0


class LatentReplacement:
    """Given latents in the place of the target's own, clean, at every step and in the end; the loss is on the others.

    A latent pixel is replaced where all of its pixels are given: of one that is given in part, the rest would be grey
    in the video. The target has one diffusion time, so what stands in it is clean and says the target's.
    """

    def conditioning(self, codec: Codec, given: Sequence[Given], shape: Shape) -> Conditioning:
        """Slots, and nothing beside the target; see `Paradigm`."""
        return Conditioning(slots=slots_of(codec, given, shape)) if given else Conditioning()

    def frames_beside(self, given: int, target: int) -> int:
        """None; see `Paradigm`."""
        return 0


class ChannelConcatenation:
    """The latent video of `slots_of` and its mask as further input channels of the target: C latents and one mask.

    The mask of a latent pixel is the share of its pixels that is given. Where nothing is given, all are zeros.
    """

    def conditioning(self, codec: Codec, given: Sequence[Given], shape: Shape) -> Conditioning:
        """Channels that are read with the target; see `Paradigm`."""
        slots = slots_of(codec, given, shape)
        return Conditioning(channels=torch.cat([slots.latent, slots.mask], dim=1))

    def frames_beside(self, given: int, target: int) -> int:
        """None; see `Paradigm`."""
        return 0


def slots_of(codec: Codec, given: Sequence[Given], shape: Shape) -> Slots:
    """A latent video of the target's shape: each frame is encoded in image mode, and its latent stands in slot
    ceil(τ/N), whose window τ lies in; the others are zeros. Latent j of a clip stands in slot ceil(τ₀/N) + j.

    Where several fall into one slot, the first in time stands there, and each later one over it where it is given.

    Raises:
        InputError: a strength below 1, as there is one diffusion time for all.
    """
    check_clean(given)
    batch, _, frames, height, width = shape
    if not given:
        device = getattr(codec, "device", None)
        return Slots(torch.zeros(shape, device=device), torch.zeros(batch, 1, frames, height, width, device=device))
    segments = [each.encode(codec) for each in given]
    latents = torch.cat([segment.latent for segment in segments], dim=2)
    masks = torch.cat([_given(segment) for segment in segments], dim=1).unsqueeze(1).to(latents)
    t = torch.cat([segment.t for segment in segments], dim=1)
    slots = Slots(latents.new_zeros(shape), latents.new_zeros(batch, 1, frames, height, width))
    rows, places, order = torch.arange(batch, device=t.device), t.ceil().long(), t.argsort(dim=1, stable=True)
    for next_in_time in order.unbind(1):
        _lay(slots, rows, places[rows, next_in_time], latents[rows, :, next_in_time], masks[rows, :, next_in_time])
    return slots


def _lay(slots: Slots, rows: Tensor, places: Tensor, latent: Tensor, mask: Tensor) -> None:
    """Puts a latent [B, C, h, w] with its mask [B, 1, h, w] into a slot of each video, over what stands there."""
    below, below_mask = slots.latent[rows, :, places], slots.mask[rows, :, places]
    empty = ~below_mask.flatten(1).any(dim=1).view(-1, 1, 1, 1)
    slots.latent[rows, :, places] = torch.where(empty | (mask > 0), latent, below)
    slots.mask[rows, :, places] = torch.where(mask > 0, mask, below_mask)


def _given(segment: Segment) -> Tensor:
    """The share of pixels that is given of each latent pixel of a condition, [B, F, h, w]."""
    assert segment.given is not None, "a condition from pixels says which are given"
    return segment.given
