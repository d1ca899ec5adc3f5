"""Where models are: nano, installed with the package; local diffusers folders; and hub ids."""

from __future__ import annotations

import difflib
import re
from os import PathLike
from pathlib import Path

from vgen.errors import InputError

INSTALLED = Path(__file__).parent


def resolve(model: str | PathLike) -> str:
    """What diffusers' `from_pretrained` takes: the folder of "nano", a local folder, or a hub id as it is.

    A local folder goes before a hub id of the same spelling.

    Raises:
        InputError: it is none of them; a folder must hold a model_index.json.
    """
    name = str(model)
    folder = INSTALLED / name if name in installed() else Path(name)
    if name and (folder / "model_index.json").is_file():
        return str(folder)
    if name and folder.exists():
        raise InputError(f"model {name!r} is no diffusers folder: it has no model_index.json")
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name):
        return name
    near = difflib.get_close_matches(name, installed(), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    known = ", ".join(installed()) or "none is installed"
    raise InputError(f"model {name!r} is no installed model ({known}), no folder and no hub id as owner/name{hint}")


def installed() -> list[str]:
    """The names of the models that come with the package."""
    return sorted(index.parent.name for index in INSTALLED.glob("*/model_index.json"))
