"""From a question and settings to a folder of results: videos, contact sheet, trajectory and run.json."""

from __future__ import annotations

from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from vgen.checks import show
from vgen.errors import InputError
from vgen.inference.ego.prepare import prepare
from vgen.inference.ego.question import Question
from vgen.inference.ego.record import describe_run
from vgen.inference.ego.settings import Settings
from vgen.inference.output import whole_folder
from vgen.inference.record import read_json, write_record

if TYPE_CHECKING:
    from vgen.inference.ego.answer import Made


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
        from vgen.inference.ego.answer import explain, roll_out  # late, so that a wrong question is refused at once

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
