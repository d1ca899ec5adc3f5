"""run.json of a rollout: what it takes to make it again, and to notice what has changed since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike, path
from pathlib import Path
from typing import Any

from vgen.inference.ego.spec import RolloutSpec
from vgen.inference.ego.settings import Settings
from vgen.inference.ego.observation import start_files
from vgen.inference.record import check_unchanged, describe, read_json, read_settings


@dataclass(frozen=True)
class Recorded:
    """A run to repeat: its question and settings, with paths that hold here, and all that its file says."""

    spec: RolloutSpec
    settings: Settings
    data: Mapping[str, Any]


def describe_run(spec: RolloutSpec, settings: Settings, folder: str | PathLike) -> dict[str, Any]:
    """What decides on a rollout, for run.json in a folder; paths are relative to it.

    Raises:
        InputError: a file of the question, the model or the LoRA is missing, or a goal has no file.
    """
    folder = Path(path.realpath(folder))
    asked = {"question": spec.to_dict(folder)}
    return asked | describe(settings, _media_files(spec), folder, spec.parts)


def read_record(file: str | PathLike) -> Recorded:
    """Reads run.json and checks that its media, model and LoRA are what they were.

    What else has changed (versions, device) is logged: the frames may then differ in the last bit, or more.

    Raises:
        InputError: the file is no record of a run, or what it stands on is missing or has changed.
    """
    file = Path(path.realpath(file))  # which, unlike resolve, takes a link to itself
    data = read_json(file, "question", "rollout.py")
    spec = RolloutSpec.from_dict(data["question"], file.parent)
    settings = read_settings(Settings, data, file.parent)
    check_unchanged(file, data, describe_run(spec, settings, file.parent), settings)
    return Recorded(spec, settings, data)


def _media_files(spec: RolloutSpec) -> list[str | PathLike]:
    """The files that a question stands on."""
    trajectory = [] if spec.trajectory is None else [spec.trajectory]
    goals = [file for goal in spec.goals for file in (goal.source, goal.mask) if isinstance(file, str | PathLike)]
    return [*start_files(spec.start), *trajectory, *goals]
