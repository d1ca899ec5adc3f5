"""run.json: what it takes to make the same results again, and to notice what has changed since.

One record for both front-ends, which say with a `RunKind` what is their own.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import torch

from vgen.backbone.lora_files import find_lora
from vgen.checks import show, whole
from vgen.errors import InputError
from vgen.files import file_sha256, package_versions, write_whole
from vgen.inference.settings import RunSettings
from vgen.models import fingerprint, installed, resolve

logger = logging.getLogger(__name__)

PACKAGES = ("vgen", "torch", "diffusers", "transformers", "numpy")
SHARED = {"settings": dict, "media": dict, "model": str, "lora": str, "torch_threads": int}


class Asked(Protocol):
    """What a run is asked for: a canvas, or a rollout."""

    def to_dict(self, relative_to: str | PathLike[str]) -> dict[str, Any]:
        """The same as plain JSON; paths are relative to a folder."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], base: str | PathLike[str]) -> Self:
        """The inverse of `to_dict`."""


AnyAsked = TypeVar("AnyAsked", bound=Asked)
AnySettings = TypeVar("AnySettings", bound=RunSettings)


@dataclass(frozen=True)
class RunKind(Generic[AnyAsked, AnySettings]):
    """What the runs of a front-end have of their own.

    Attributes:
        key: under which run.json keeps what was asked.
        command: that writes such a run.json.
        asked, settings: the types of what was asked, and of how the model was run.
        files: the media that what was asked stands on.
        parts: subfolders of the model that count for it, though the model's index does not name them.
    """

    key: str
    command: str
    asked: type[AnyAsked]
    settings: type[AnySettings]
    files: Callable[[AnyAsked], Iterable[str | PathLike[str]]]
    parts: Callable[[AnyAsked], Sequence[str]] = lambda asked: ()


@dataclass(frozen=True)
class RecordedRun(Generic[AnyAsked, AnySettings]):
    """A run to repeat: what it was asked and its settings, with paths that hold here, and all that its file says."""

    asked: AnyAsked
    settings: AnySettings
    data: Mapping[str, Any]

    def equals(self, result: RunResult) -> bool:
        """Whether results are those of the run, bit for bit."""
        digests = {name: digest for name, digest in asdict(result).items() if name.endswith("_sha256")}
        return digests == {name: self.data.get(name) for name in digests}


@dataclass(frozen=True)
class RunResult:
    """What came out of a run, as far as both front-ends say it.

    Attributes:
        seconds: of each stage.
        frames_sha256: of the bytes of all frames of the video; "" where none was made.
        previews: what was written beside the video for the eye, as `vgen.inference.preview` tells it.
    """

    seconds: dict[str, float]
    frames_sha256: str
    previews: list[str] = field(default_factory=list, kw_only=True)


def describe_run(
    kind: RunKind[AnyAsked, AnySettings], asked: AnyAsked, settings: AnySettings, folder: str | PathLike[str]
) -> dict[str, Any]:
    """What decides on the results of a run, for run.json in a folder; paths are relative to it.

    Raises:
        InputError: a file, the model or the LoRA is missing, or a patch has no file.
    """
    folder = os.path.realpath(folder)  # what is above a link is not above what it leads to
    model, lora = resolve(settings.model), settings.lora
    if settings.model not in installed() and Path(model).is_dir():
        settings = replace(settings, model=os.path.relpath(model, folder))
    if lora is not None and Path(lora).exists():
        settings = replace(settings, lora=os.path.relpath(lora, folder))
    files = dict.fromkeys(kind.files(asked))
    return {
        kind.key: asked.to_dict(folder),
        "settings": asdict(settings),
        "media": {os.path.relpath(file, folder): file_sha256(file) for file in files},
        "model": fingerprint(model, kind.parts(asked)),
        "lora": lora_sha256(lora),
        "torch_threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "versions": package_versions(PACKAGES, "not installed"),
    }


def check_outside(kind: RunKind[AnyAsked, AnySettings], asked: AnyAsked, out: str | PathLike[str]) -> None:
    """Refuses to replace a folder that holds what is read: the run could not be made again.

    Raises:
        InputError: it names the file.
    """
    folder = Path(os.path.realpath(out))
    for file in kind.files(asked):
        if Path(os.path.realpath(file)).is_relative_to(folder):
            raise InputError(f"out={show(str(out))} holds {show(str(file))}, which this run reads; name another folder")


def write_record(file: Path, run: Mapping[str, Any]) -> None:
    """Writes run.json."""
    text = json.dumps(run, indent=2, ensure_ascii=False)
    try:
        content = text.encode()
    except UnicodeEncodeError:  # a file's name that is no UTF-8
        content = json.dumps(run, indent=2).encode()
    write_whole(file, content + b"\n")


def read_run(kind: RunKind[AnyAsked, AnySettings], file: str | PathLike[str]) -> RecordedRun[AnyAsked, AnySettings]:
    """Reads run.json and checks that its media, model and LoRA are what they were.

    What else has changed (versions, device) is logged: the frames may then differ in the last bit, or more.

    Raises:
        InputError: the file is no record of a run of this kind, or what it stands on is missing or has changed.
    """
    file = Path(os.path.realpath(file))  # which, unlike resolve, takes a link to itself
    data = _read_json(file, kind)
    asked = kind.asked.from_dict(data[kind.key], file.parent)
    settings = _read_settings(kind.settings, data["settings"], file.parent)
    _check_unchanged(file, data, describe_run(kind, asked, settings, file.parent), settings)
    return RecordedRun(asked, settings, data)


def _read_json(file: Path, kind: RunKind[Any, Any]) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the run {show(file)}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{show(file)} is not the record of a run: it is not JSON ({error})") from error
    for key, type_ in ({kind.key: dict} | SHARED).items():
        if not isinstance(data, dict) or not isinstance(data.get(key), type_):
            raise InputError(
                f"{show(file)} is not the record of a run: it has no {key}; name a run.json of {kind.command}"
            )
    whole("torch_threads", data["torch_threads"], 1, 1024)
    return data


def _read_settings(kind: type[AnySettings], data: Mapping[str, Any], base: Path) -> AnySettings:
    """The settings of a run whose run.json lies in `base`, with paths that hold here."""
    settings = kind.from_dict(data)
    for name in ("model", "lora"):
        path = base / (getattr(settings, name) or "")
        if getattr(settings, name) and path.exists():
            found: dict[str, Any] = {name: str(path)}
            settings = replace(settings, **found)
    return settings


def _check_unchanged(file: Path, then: Mapping[str, Any], now: Mapping[str, Any], settings: RunSettings) -> None:
    """See `read_run`.

    Args:
        file: of the run, for messages.
        then, now: what run.json says, and what `describe_run` says today.
        settings: with paths that hold here.
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


def lora_sha256(lora: str | None) -> str:
    """The SHA-256 of a LoRA's files; its name where it comes from the hub, "" where there is none."""
    if lora is None or not Path(lora).exists():
        return lora or ""
    file = find_lora(lora)
    return " ".join(file_sha256(part) for part in (file.weights, file.config) if part is not None)
