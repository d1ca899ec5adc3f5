"""What is given of a target, as the transformer learns of it: beside the target, in its place, or in further channels.

This is the seam at which paradigms of conditioning differ (`vgen.canvas.paradigms`): all that they do goes into a
`Conditioning`, and the loops of training and of sampling know nothing else of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vgen.backbone.padding import Padding
from vgen.backbone.segments import Segment
from vgen.errors import InputError

ParadigmName = Literal[
    "in_context",
    "nearest_slot",
    "integer_positions",
    "no_positions",
    "pixel_padding",
    "latent_conditioning",
    "latent_replacement",
    "channel_concatenation",
]
PADDING_IN_TIME: ParadigmName = "pixel_padding"  # the only one that lays all that is given on one grey video
CONCATENATION: ParadigmName = "channel_concatenation"  # the only one of which a model has other weights


def check_padding(paradigm: str, padding: Padding) -> None:
    """Refuses a padding of conditions that a paradigm does not know.

    Raises:
        InputError: padding in time is of zeros alone.
    """
    if paradigm == PADDING_IN_TIME and padding != "zeros":
        raise InputError(f"condition_padding={padding}: paradigm={paradigm} pads with zeros; use zeros")


def channels_read(paradigm: str, channels: int) -> int:
    """How many channels a transformer of a paradigm reads of latents with so many: under channel concatenation the
    given latents and their mask too."""
    return 2 * channels + 1 if paradigm == CONCATENATION else channels


@dataclass(frozen=True)
class Slots:
    """Latents that stand in slots of a target's own grid.

    Attributes:
        latent: [B, C, F, h, w], zeros in slots where nothing is given.
        mask: [B, 1, F, h, w], 0 to 1, by how much the pixels of a latent one are given.
    """

    latent: Tensor
    mask: Tensor

    @property
    def covered(self) -> Tensor:
        """bool [B, 1, F, h, w], where all pixels are given: what is given in part is no latent of the video."""
        return self.mask > 1 - 1e-4


@dataclass(frozen=True)
class Conditioning:
    """What is given of a target [B, C, F, h, w], the same at every step.

    Attributes:
        segments: conditions that stand beside the target in the sequence.
        slots: what stands in the target's place, and is no part of what is made.
        channels: [B, C', F, h, w], what is read with the target, in channels after its own.
    """

    segments: Sequence[Segment] = ()
    slots: Slots | None = None
    channels: Tensor | None = None

    def enter(self, latents: Tensor) -> Tensor:
        """Noisy latents [B, C, F, h, w] as the transformer reads them, [B, C + C', F, h, w]."""
        latents = self.overwrite(latents)
        return latents if self.channels is None else torch.cat([latents, self.channels], dim=1)

    def overwrite(self, latents: Tensor) -> Tensor:
        """Latents [B, C, F, h, w] with what stands in their place."""
        if self.slots is None:
            return latents
        return torch.where(self.slots.covered, self.slots.latent.to(latents), latents)

    def mean(self, error: Tensor) -> Tensor:
        """The mean [B] of errors [B, C, F, h, w] over what is made; 0 where that is nothing."""
        if self.slots is None:
            return error.flatten(1).mean(1)
        made = (~self.slots.covered).expand_as(error).flatten(1)
        return (error.flatten(1) * made).sum(1) / made.sum(1).clamp(min=1)
