"""From a question and settings to a folder of results: videos, contact sheet, trajectory and run.json."""

from __future__ import annotations

from dataclasses import asdict
from os import PathLike
from typing import TYPE_CHECKING

from vgen.inference.ego.prepare import prepare
from vgen.inference.ego.question import Question
from vgen.inference.ego.record import describe_run
from vgen.inference.ego.settings import Settings
from vgen.inference.record import write_record
from vgen.results import VIDEO_RUN, results_folder

if TYPE_CHECKING:
    from vgen.inference.ego.answer import Made


def make(question: Question, settings: Settings, out: str | PathLike, overwrite: bool = False) -> Made:
    """Answers a question into a folder, which is written whole or not at all; memory does not grow with the length.

    Raises:
        InputError: as `prepare`; or the folder cannot be written, or holds something, see `vgen.results`.
    """
    prepared = prepare(question, settings)
    with results_folder(out, VIDEO_RUN, overwrite) as folder:
        run = describe_run(question, settings, out)
        from vgen.inference.ego.answer import explain, roll_out  # late, so that a wrong question is refused at once

        made = (explain if question.mode == "inverse" else roll_out)(question, settings, prepared, folder)
        write_record(folder / "run.json", run | asdict(made))
    return made
