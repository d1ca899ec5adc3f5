"""From a question and settings to a folder of results: videos, contact sheet, trajectory and run.json."""

from __future__ import annotations

from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from vgen.backbone.record import read_json, write_record
from vgen.checks import show
from vgen.data.output import whole_folder
from vgen.ego.prepare import prepare
from vgen.ego.question import Question
from vgen.ego.record import describe_run
from vgen.ego.runtime import Settings
from vgen.errors import InputError

if TYPE_CHECKING:
    from vgen.ego.answer import Made


def make(question: Question, settings: Settings, out: str | PathLike) -> Made:
    """Answers a question into a folder, which is written whole or not at all; memory does not grow with the length.

    Raises:
        InputError: as `prepare`; or the folder cannot be written, or holds a run of another mode, whose files would
            stay among those of this one.
    """
    prepared = prepare(question, settings)
    _check_free(Path(out), question.mode)
    with whole_folder(out) as folder:
        run = describe_run(question, settings, out)
        from vgen.ego.answer import explain, roll_out  # late, so that a wrong question is refused at once

        made = (explain if question.mode == "inverse" else roll_out)(question, settings, prepared, folder)
        write_record(folder / "run.json", run | asdict(made))
    return made


def _check_free(folder: Path, mode: str) -> None:
    """Refuses a folder with a run of another mode."""
    earlier = folder / "run.json"
    if not earlier.is_file():
        return
    try:
        held = read_json(earlier, "question", "rollout.py")["question"].get("mode")
    except InputError:
        held = "another command"
    if held != mode:
        raise InputError(f"out={show(folder)} holds a run of {held}, and this is {mode}; name another folder")
