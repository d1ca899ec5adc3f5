"""run.json: what it takes to make the same video again, and to notice what has changed since."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from vgen.canvas.runtime import Settings
from vgen.canvas.spec import Canvas
from vgen.checks import show, whole
from vgen.errors import InputError
from vgen.weights import file_sha256, fingerprint, installed, resolve

logger = logging.getLogger(__name__)

PACKAGES = ("vgen", "torch", "diffusers", "transformers", "numpy")


@dataclass(frozen=True)
class Recorded:
    """A run to repeat: its canvas and settings, with paths that hold here, and all that its file says."""

    canvas: Canvas
    settings: Settings
    data: Mapping[str, Any]


def describe_run(canvas: Canvas, settings: Settings, folder: str | PathLike) -> dict[str, Any]:
    """What decides on a video, for run.json in a folder; paths are relative to it.

    Raises:
        InputError: a file of the canvas, the model or the LoRA is missing, or a patch has no file.
    """
    model, lora = resolve(settings.model), settings.lora
    if settings.model not in installed() and Path(model).is_dir():
        settings = replace(settings, model=os.path.relpath(model, folder))
    if lora is not None and Path(lora).exists():
        settings = replace(settings, lora=os.path.relpath(lora, folder))
    return {
        "canvas": canvas.to_dict(relative_to=folder),
        "settings": asdict(settings),
        "media": {os.path.relpath(file, folder): file_sha256(file) for file in _media_files(canvas)},
        "model": fingerprint(model),
        "lora": _lora_sha256(lora),
        "torch_threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "versions": {package: _version(package) for package in PACKAGES},
    }


def write_record(file: Path, run: Mapping[str, Any]) -> None:
    """Writes run.json."""
    file.write_text(json.dumps(run, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_record(file: str | PathLike) -> Recorded:
    """Reads run.json and checks that its media, model and LoRA are what they were.

    What else has changed (versions, device) is logged: the frames may then differ in the last bit, or more.

    Raises:
        InputError: the file is no record of a run, or what it stands on is missing or has changed.
    """
    file = Path(file)
    data = _read_json(file)
    canvas = Canvas.from_dict(data["canvas"], base=file.parent)
    settings = Settings.from_dict(data["settings"])
    for name in ("model", "lora"):
        path = file.parent / (getattr(settings, name) or "")
        if getattr(settings, name) and path.exists():
            settings = replace(settings, **{name: str(path)})
    now = describe_run(canvas, settings, file.parent)
    for media, digest in now["media"].items():
        if data["media"].get(media) != digest:
            raise InputError(f"{show(file)}: {show(media)} has changed since that run; bring back the file it had")
    for name in ("model", "lora"):
        if data[name] != now[name]:
            changed = f"{name} {show(getattr(settings, name))}"
            raise InputError(f"{show(file)}: {changed} has changed since that run; bring back the weights it had")
    for name in ("device", "versions"):
        if data.get(name) != now[name]:
            logger.warning("%s was %s and is %s: the frames may differ", name, data.get(name), now[name])
    return Recorded(canvas, settings, data)


def _read_json(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the run {show(file)}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{show(file)} is not the record of a run: it is not JSON ({error})") from error
    kinds = {"canvas": dict, "settings": dict, "media": dict, "model": str, "lora": str, "torch_threads": int}
    for key, kind in kinds.items():
        if not isinstance(data, dict) or not isinstance(data.get(key), kind):
            raise InputError(f"{show(file)} is not the record of a run: it has no {key}; name a run.json of infer.py")
    whole("torch_threads", data["torch_threads"], 1, 1024)
    return data


def _media_files(canvas: Canvas) -> list[str | PathLike]:
    """The files that a canvas stands on, each once."""
    media = (file for patch in canvas.patches for file in (patch.source, patch.mask))
    return list(dict.fromkeys(file for file in media if isinstance(file, str | PathLike)))


def _lora_sha256(lora: str | None) -> str:
    """Of a LoRA's files; its name where it comes from the hub, "" where there is none."""
    if lora is None or not Path(lora).exists():
        return lora or ""
    files = [Path(lora)] if Path(lora).is_file() else sorted(Path(lora).rglob("*.safetensors"))
    return " ".join(map(file_sha256, files))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
