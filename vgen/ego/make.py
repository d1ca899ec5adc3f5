"""From a question and settings to a folder of results: videos, contact sheet, trajectory and run.json."""

from __future__ import annotations

from dataclasses import asdict
from os import PathLike
from typing import TYPE_CHECKING

from vgen.backbone.record import write_record
from vgen.data.output import whole_folder
from vgen.ego.prepare import prepare
from vgen.ego.question import Question
from vgen.ego.record import describe_run
from vgen.ego.runtime import Settings

if TYPE_CHECKING:
    from vgen.ego.answer import Made


def make(question: Question, settings: Settings, out: str | PathLike) -> Made:
    """Answers a question into a folder, which is written whole or not at all; memory does not grow with the length.

    Raises:
        InputError: as `prepare`, or the folder cannot be written.
    """
    prepared = prepare(question, settings)
    with whole_folder(out) as folder:
        run = describe_run(question, settings, out)
        from vgen.ego.answer import explain, roll_out  # late, so that a wrong question is refused at once

        made = (explain if question.mode == "inverse" else roll_out)(question, settings, prepared, folder)
        write_record(folder / "run.json", run | asdict(made))
    return made
