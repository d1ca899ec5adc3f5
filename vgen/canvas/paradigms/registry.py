"""All paradigms by name, and which one a call uses."""

from __future__ import annotations

from collections.abc import Mapping

from vgen import checks
from vgen.backbone.conditioning import CONCATENATION, ParadigmName
from vgen.canvas.paradigms.padding import PixelPadding
from vgen.canvas.paradigms.paradigm import Paradigm
from vgen.canvas.paradigms.positions import Positions, behind_the_target, nearest_slots, nowhere, true_times
from vgen.canvas.paradigms.slots import ChannelConcatenation, LatentConditioning, LatentReplacement
from vgen.errors import InputError

PARADIGMS: Mapping[ParadigmName, Paradigm] = {
    "in_context": Positions(true_times),
    "nearest_slot": Positions(nearest_slots),
    "integer_positions": Positions(behind_the_target),
    "no_positions": Positions(nowhere),
    "pixel_padding": PixelPadding(),
    "latent_conditioning": LatentConditioning(),
    "latent_replacement": LatentReplacement(),
    "channel_concatenation": ChannelConcatenation(),
}


def choose_paradigm(trained: ParadigmName, asked: str | None = None, model: str = "this model") -> Paradigm:
    """The paradigm of a call.

    Args:
        trained: what the model was trained for, as its configuration says.
        asked: what the call asks for; None is the model's own.
        model: as the message names it.

    Raises:
        InputError: there is no such paradigm, or it needs other weights than the model has.
    """
    if asked is None:
        return PARADIGMS[trained]
    name: ParadigmName = next(n for n in PARADIGMS if n == checks.choice("paradigm", asked, PARADIGMS))
    if name != trained and CONCATENATION in (name, trained):
        needs = f"reads other channels than {model}, which was trained with paradigm={trained}"
        raise InputError(f"paradigm={name} {needs}; use {trained}, or a model that was trained for it")
    return PARADIGMS[name]
