"""run.json: what it takes to make the same video again, and to notice what has changed since. Shared by the front-ends,
which add what they were asked for."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import torch

from vgen.backbone.lora_files import find_lora
from vgen.checks import show, whole
from vgen.errors import InputError
from vgen.files import file_sha256
from vgen.inference.settings import RunSettings
from vgen.models import fingerprint, installed, resolve

logger = logging.getLogger(__name__)

PACKAGES = ("vgen", "torch", "diffusers", "transformers", "numpy")
SHARED = {"settings": dict, "media": dict, "model": str, "lora": str, "torch_threads": int}

AnySettings = TypeVar("AnySettings", bound=RunSettings)


def describe(
    settings: RunSettings, media: Iterable[str | PathLike], folder: str | PathLike, beside: Sequence[str] = ()
) -> dict[str, Any]:
    """What decides on a video beside what was asked for, for run.json in a folder; paths are relative to it.

    Args:
        settings: of the run.
        media: the files that it stands on.
        folder: of run.json, without links: what is above a link is not above what it leads to.
        beside: subfolders of the model that count, though its index does not name them.

    Raises:
        InputError: a file, the model or the LoRA is missing.
    """
    model, lora = resolve(settings.model), settings.lora
    if settings.model not in installed() and Path(model).is_dir():
        settings = replace(settings, model=os.path.relpath(model, folder))
    if lora is not None and Path(lora).exists():
        settings = replace(settings, lora=os.path.relpath(lora, folder))
    return {
        "settings": asdict(settings),
        "media": {os.path.relpath(file, folder): file_sha256(file) for file in dict.fromkeys(media)},
        "model": fingerprint(model, beside),
        "lora": _lora_sha256(lora),
        "torch_threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "versions": {package: _version(package) for package in PACKAGES},
    }


def write_record(file: Path, run: Mapping[str, Any]) -> None:
    """Writes run.json."""
    text = json.dumps(run, indent=2, ensure_ascii=False)
    try:
        content = text.encode()
    except UnicodeEncodeError:  # a file's name that is no UTF-8
        content = json.dumps(run, indent=2).encode()
    file.write_bytes(content + b"\n")


def read_json(file: Path, asked: str, command: str) -> dict[str, Any]:
    """What run.json says.

    Args:
        asked: the key under which a front-end keeps what it was asked for.
        command: that writes such a file.

    Raises:
        InputError: the file is no record of a run.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the run {show(file)}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{show(file)} is not the record of a run: it is not JSON ({error})") from error
    for key, kind in ({asked: dict} | SHARED).items():
        if not isinstance(data, dict) or not isinstance(data.get(key), kind):
            raise InputError(f"{show(file)} is not the record of a run: it has no {key}; name a run.json of {command}")
    whole("torch_threads", data["torch_threads"], 1, 1024)
    return data


def read_settings(kind: type[AnySettings], data: Mapping[str, Any], base: Path) -> AnySettings:
    """The settings of a run whose run.json lies in `base`, with paths that hold here.

    Raises:
        InputError: a key is unknown or a value breaks its rule.
    """
    settings = kind.from_dict(data["settings"])
    for name in ("model", "lora"):
        path = base / (getattr(settings, name) or "")
        if getattr(settings, name) and path.exists():
            settings = replace(settings, **{name: str(path)})
    return settings


def check_unchanged(file: Path, then: Mapping[str, Any], now: Mapping[str, Any], settings: RunSettings) -> None:
    """Refuses a run whose media, model or LoRA are not what they were. What else has changed (versions, device) is
    logged: the frames may then differ in the last bit, or more.

    Args:
        file: of the run, for messages.
        then, now: what run.json says, and what `describe` says today.
        settings: with paths that hold here.

    Raises:
        InputError: it names what has changed.
    """
    for media, digest in now["media"].items():
        if then["media"].get(media) != digest:
            raise InputError(f"{show(file)}: {show(media)} has changed since that run; bring back the file it had")
    for name in ("model", "lora"):
        if then[name] != now[name]:
            changed = f"{name} {show(getattr(settings, name))}"
            raise InputError(f"{show(file)}: {changed} has changed since that run; bring back the weights it had")
    for name in ("device", "versions"):
        if then.get(name) != now[name]:
            logger.warning("%s was %s and is %s: the frames may differ", name, then.get(name), now[name])


def _lora_sha256(lora: str | None) -> str:
    """Of a LoRA's files; its name where it comes from the hub, "" where there is none."""
    if lora is None or not Path(lora).exists():
        return lora or ""
    file = find_lora(lora)
    return " ".join(file_sha256(part) for part in (file.weights, file.config) if part is not None)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
