"""What a paradigm of conditioning is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vgen.backbone.codec import Codec
from vgen.backbone.conditioning import Conditioning
from vgen.backbone.encoding import Given
from vgen.errors import InputError

Shape = tuple[int, int, int, int, int]  # (B, C, F, h, w) of the target's latents


class Paradigm(Protocol):
    """A way in which what is given reaches the model; training and pipeline use the same object."""

    def conditioning(self, codec: Codec, given: Sequence[Given], shape: Shape) -> Conditioning:
        """What the model learns of what is given.

        Args:
            codec: encodes it.
            given: frames and clips of B videos; may be empty.
            shape: (B, C, F, h, w) of the latents that are to be made.

        Raises:
            InputError: the paradigm has no way for a strength below 1.
        """

    def frames_beside(self, given: int, target: int) -> int:
        """How many latent frames stand beside a target of so many, where so many are given."""


def check_clean(given: Sequence[Given]) -> None:
    """Refuses what is given with a strength below 1 where all that is given is read as one video.

    Raises:
        InputError: it names the strength.
    """
    for each in given:
        if each.strength < 1:
            rule = "needs a paradigm in which each patch is a condition of its own; use strength=1, or in_context"
            raise InputError(f"strength={each.strength:g} {rule}")
