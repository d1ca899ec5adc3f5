"""Where the weights of a LoRA are: a file, a folder or a hub id; and what such a file holds."""

from __future__ import annotations

import json
import logging
import os
import pickle
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path, PurePath
from typing import Any

import torch
from huggingface_hub import hf_hub_download, model_info, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vgen.checks import show
from vgen.errors import InputError
from vgen.models import is_hub_id

SAFE, PICKLED = (".safetensors", ".sft"), (".bin", ".pt", ".pth", ".ckpt")
STANDARD = ("pytorch_lora_weights", "adapter_model")  # what diffusers and peft call the file in a folder
CONFIG = "adapter_config.json"
DIFFUSERS = "lora_adapter_metadata"  # where diffusers puts a config in a file's metadata
METADATA = ("r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "use_dora")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoraFile:
    """A file of weights, the adapter_config.json that belongs to it, and among which files it was chosen."""

    weights: Path
    config: Path | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lora:
    """What a file holds.

    Attributes:
        name: for messages.
        weights: tensors by their names in the file.
        config: as peft's adapter_config.json (lora_alpha, use_rslora, alpha_pattern ...); {} where there is none.
    """

    name: str
    weights: dict[str, Tensor]
    config: dict[str, Any] = field(default_factory=dict)


def read_lora(lora: str | PathLike[str], weight_name: str | None = None, subfolder: str = "", **hub: Any) -> Lora:
    """The weights of a LoRA, by their names in its file.

    Args:
        lora: a file (.safetensors; .bin, .pt, .pth and .ckpt where they hold tensors alone), a folder or a hub id.
        weight_name: which file of a folder or of a hub id; without it, the only one, or the one of a standard name.
        subfolder: where that file is.
        hub: as `hf_hub_download` takes it (`revision`, `token`, `cache_dir` ...).

    Raises:
        InputError: there is no such file, or none to choose, or it is damaged.
    """
    file = find_lora(lora, weight_name, subfolder, **hub)
    if len(file.choices) > 1:
        logger.warning("lora=%s holds %s; %s is taken", lora, _listed(file.choices), file.weights.name)
    name = str(file.weights) if os.path.exists(lora) else f"{lora}: {file.weights.name}"
    try:
        weights, metadata = _read_weights(file.weights)
        config = _read_config(file.config) if file.config else _config(metadata)
    except OSError as error:
        raise InputError(f"lora={show(name)} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"lora={show(name)} {error}") from error
    if not weights:
        raise InputError(f"lora={show(name)} has no weights in it; use a file that has")
    return Lora(name, weights, config)


def find_lora(lora: str | PathLike[str], weight_name: str | None = None, subfolder: str = "", **hub: Any) -> LoraFile:
    """The file of a LoRA; arguments as in `read_lora`. Of a hub id, the file is downloaded, once.

    Raises:
        InputError: there is none, or there are several and none has a standard name.
    """
    if os.path.isfile(lora):
        return _with_config(Path(lora))
    if str(lora) and os.path.isdir(lora):
        folder = Path(lora, subfolder)
        chosen, choices = _choose(lora, _names(folder), weight_name, _deeper(folder))
        return _with_config(folder / chosen, choices)
    if is_hub_id(str(lora)):
        return _from_hub(str(lora), weight_name, subfolder, hub)
    raise InputError(f"lora={show(lora)} is no file, no folder and no hub id as owner/name")


def _names(folder: Path) -> list[str]:
    try:
        return [file.name for file in folder.iterdir() if file.is_file()]
    except OSError as error:
        raise InputError(f"lora={show(folder)} cannot be read: {error.strerror}") from error


def _choose(
    lora: str | PathLike[str], names: Iterable[str], weight_name: str | None, deeper: str | None = None
) -> tuple[str, tuple[str, ...]]:
    """The file of weights among those of a folder, and all that it could have been."""
    names = sorted(name for name in names if not name.startswith("."))
    if weight_name is not None:
        if weight_name not in names:
            raise InputError(f"lora={show(lora)} has no file {show(weight_name)}; it has {_listed(names)}")
        return weight_name, ()
    for endings in (SAFE, PICKLED):
        found = [name for name in names if PurePath(name).suffix in endings]
        standard = [name for stem in STANDARD for name in found if PurePath(name).stem == stem]
        if len(found) > 1 and not standard:
            raise InputError(f"lora={show(lora)} holds {_listed(found)}; name one of them")
        if found:
            return (standard or found)[0], tuple(found)
    hint = f"nearest: {deeper}" if deeper else "name a file *.safetensors"
    raise InputError(f"lora={show(lora)} is a folder without a LoRA's file; {hint}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "") if names else "none"


def _deeper(folder: Path) -> str | None:
    """A file further down that may be meant."""
    found = sorted(folder.glob(f"*/{STANDARD[0]}*")) + sorted(folder.glob("*/*.safetensors"))
    return next((str(file) for file in found if file.is_file()), None)


def _with_config(weights: Path, choices: tuple[str, ...] = ()) -> LoraFile:
    """The weights and the adapter_config.json beside them: peft's own file, or the only one there."""
    config = weights.with_name(CONFIG)
    if not config.is_file():
        return LoraFile(weights, None, choices)
    return LoraFile(weights, config if _belongs(weights.name, _names(weights.parent)) else None, choices)


def _belongs(weights: str, names: Iterable[str]) -> bool:
    """Whether the adapter_config.json among the names of a folder is that of the file of weights."""
    others = [name for name in names if PurePath(name).suffix in SAFE + PICKLED and name != weights]
    return PurePath(weights).stem == STANDARD[1] or not others


def _from_hub(lora: str, weight_name: str | None, subfolder: str, hub: dict[str, Any]) -> LoraFile:
    """Lists a repository, chooses, and downloads the file; without the hub, of what was downloaded earlier."""
    prefix = f"{subfolder}/" if subfolder else ""
    named = {key: hub[key] for key in ("revision", "token") if key in hub}
    try:
        if hub.get("local_files_only"):
            raise LocalEntryNotFoundError("asked for what is here")
        files = [file.rfilename for file in model_info(lora, **named).siblings or []]
    except Exception as error:  # of whichever HTTP client huggingface_hub stands on
        return _downloaded(lora, weight_name, subfolder, hub, error)
    inside = [file.removeprefix(prefix) for file in files if file.startswith(prefix)]
    names = [name for name in inside if "/" not in name]
    chosen, choices = _choose(lora, names, weight_name)
    wanted = [chosen, CONFIG] if CONFIG in names and _belongs(chosen, names) else [chosen]
    try:
        got = [Path(hf_hub_download(lora, prefix + name, **hub)) for name in wanted]
    except Exception as error:
        raise InputError(f"lora={lora}: cannot get {chosen}: {_line(error)}") from error
    return LoraFile(got[0], got[1] if len(got) > 1 else None, choices)


def _downloaded(lora: str, weight_name: str | None, subfolder: str, hub: dict[str, Any], reason: Exception) -> LoraFile:
    named = {key: hub[key] for key in ("revision", "cache_dir") if key in hub}
    try:
        folder = snapshot_download(lora, local_files_only=True, **named)
    except (OSError, ValueError) as error:
        why = f"the hub does not give it ({_line(reason)})"
        raise InputError(f"lora={lora} is no file or folder here, and {why}") from error
    return find_lora(folder, weight_name, subfolder)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:150]


def _read_weights(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata.

    Raises:
        OSError, ValueError: it cannot be read; the message of a ValueError goes on after the file's name.
    """
    with file.open("rb") as stream:
        start = stream.read(64)
    if not start:
        raise ValueError("is empty; get it again")
    if start.startswith(b"version https://git-lfs"):
        raise ValueError("is a pointer of git-lfs, not the file itself; get it with git lfs pull")
    if file.suffix in PICKLED:
        return _read_pickle(file), {}
    try:
        with safe_open(file, "pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata() or {}  # noqa: SIM118
    except (SafetensorError, RuntimeError, TypeError, KeyError) as error:
        raise ValueError(f"is damaged or no safetensors file ({_line(error)}); get it again") from error


def _read_pickle(file: Path) -> dict[str, Tensor]:
    """Tensors alone: a pickle of anything else could run any program."""
    rule = "use a .safetensors file"
    try:
        with warnings.catch_warnings(action="ignore"):  # of old pickles, which the lines below speak of
            held = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"is no file of tensors alone, and anything else in it could run a program; {rule}") from error
    except (RuntimeError, ValueError, EOFError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"is damaged ({_line(error)}); {rule}") from error
    for key in ("state_dict", "module", "model"):
        if isinstance(held, dict) and isinstance(held.get(key), dict):
            held = held[key]
    if not isinstance(held, dict) or not all(isinstance(value, Tensor) for value in held.values()):
        raise ValueError(f"is no file of tensors by name; {rule}")
    return {str(name): value.detach() for name, value in held.items()}


def _read_config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"has an {CONFIG} beside it that is not JSON ({error})") from error
    if not isinstance(config, dict):
        raise ValueError(f"has an {CONFIG} beside it that is no mapping")
    return config


def _config(metadata: dict[str, str]) -> dict[str, Any]:
    """The configuration in a file's metadata: under diffusers' key, or as single values under peft's names."""
    try:
        if DIFFUSERS in metadata:
            whole = json.loads(metadata[DIFFUSERS])
            parts = {name: value for name, value in whole.items() if not name.startswith("text_encoder")}
            return {name.removeprefix("transformer."): value for name, value in parts.items()}
        named = METADATA if "lora_alpha" in metadata else ()  # other programs may mean other things by "r" alone
        return {name: json.loads(metadata[name].lower()) for name in named if name in metadata}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"has metadata of a LoRA that is not JSON ({error})") from error
