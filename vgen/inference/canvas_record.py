"""run.json of a canvas: what it takes to make the same video again, and to notice what has changed since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike, path
from pathlib import Path
from typing import Any

from vgen.canvas.spec import Canvas
from vgen.inference.canvas_settings import Settings
from vgen.inference.record import check_unchanged, describe, read_json, read_settings


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
    folder = Path(path.realpath(folder))
    asked = {"canvas": canvas.to_dict(relative_to=folder)}
    return asked | describe(settings, _media_files(canvas), folder)


def read_record(file: str | PathLike) -> Recorded:
    """Reads run.json and checks that its media, model and LoRA are what they were.

    What else has changed (versions, device) is logged: the frames may then differ in the last bit, or more.

    Raises:
        InputError: the file is no record of a run, or what it stands on is missing or has changed.
    """
    file = Path(path.realpath(file))  # which, unlike resolve, takes a link to itself
    data = read_json(file, "canvas", "infer.py")
    canvas = Canvas.from_dict(data["canvas"], base=file.parent)
    settings = read_settings(Settings, data, file.parent)
    check_unchanged(file, data, describe_run(canvas, settings, file.parent), settings)
    return Recorded(canvas, settings, data)


def _media_files(canvas: Canvas) -> list[str | PathLike]:
    """The files that a canvas stands on."""
    media = (file for patch in canvas.patches for file in (patch.source, patch.mask))
    return [file for file in media if isinstance(file, str | PathLike)]
