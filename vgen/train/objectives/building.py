"""Building models with their weights, or on paper: as their configurations say, on torch's meta device, without any."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from diffusers import AutoencoderKLWan, ModelMixin

from vgen.backbone.codec import WanCodec, load_vae
from vgen.backbone.on_paper import on_paper
from vgen.errors import InputError, unknown_key
from vgen.models import loading, read_config

Model = TypeVar("Model", bound=ModelMixin)


def blank(kind: type[Model], folder: str | Path, part: str = "", **choices: Any) -> Model:
    """A component as its configuration says, on the default device.

    Args:
        kind: The class of the component.
        folder: A model, local or on the hub, of which the configuration alone is downloaded; or the component itself.
        part: The name of the component in the model; "" where the folder is the component itself.
        choices: What replaces values of the configuration.

    Raises:
        InputError: the configuration cannot be read, or nothing can be made of it.
    """
    settings = read_config(str(folder), f"{part}/config.json".lstrip("/"))
    with loading(folder):
        return kind.from_config(settings, **choices)


def check_keywords(keywords: dict[str, Any], kind: type[ModelMixin], name: str) -> None:
    """Refuses keywords that a class of diffusers does not take.

    Args:
        name: Of these keywords, for the message.

    Raises:
        InputError: one is unknown; it names the nearest that is known.
    """
    known = set(kind._get_init_keys(kind)) - {"self"}
    for key in keywords:
        if key not in known:
            raise unknown_key(key, known, name)


def frozen_codec(folder: str) -> WanCodec:
    """The codec of `objective.codec`, which is not trained.

    Raises:
        InputError: the folder holds none.
    """
    try:
        vae = blank(AutoencoderKLWan, folder) if on_paper() else load_vae(folder)
    except InputError as error:
        raise InputError(f"objective.codec={folder} is no folder of an AutoencoderKLWan: {error}") from error
    return WanCodec(vae.requires_grad_(False))
