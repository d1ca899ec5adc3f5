"""From what a rollout is asked and settings to a folder of results: videos, contact sheet, trajectory and run.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from os import PathLike
from typing import TYPE_CHECKING

from vgen.inference.ego.inputs import read_inputs
from vgen.inference.ego.observation import start_files
from vgen.inference.ego.spec import MODES, RolloutSpec
from vgen.inference.preview import Animation, write_previews
from vgen.inference.record import RunKind, check_outside, describe_run, write_record
from vgen.inference.settings import EgoSettings
from vgen.results import VIDEO_RUN, results_folder

if TYPE_CHECKING:
    from vgen.inference.ego.generate import RolloutResult


def run_rollout(
    spec: RolloutSpec,
    settings: EgoSettings,
    out: str | PathLike[str],
    overwrite: bool = False,
    animation: Animation | None = None,
) -> RolloutResult:
    """Does what a rollout is asked, into a folder, which is written whole or not at all; memory does not grow with the
    length.

    Args:
        spec: what is asked.
        settings: how the model is run.
        out: the folder.
        overwrite: replaces the results of an earlier run there, see `vgen.results`.
        animation: kind of an animated picture of the video that is written too, for which memory grows with the length.

    Raises:
        InputError: as `read_inputs`; or the folder cannot be written, or holds something.
    """
    settings.check_machine()
    inputs = read_inputs(spec, settings)
    with results_folder(out, VIDEO_RUN, overwrite) as folder:
        check_outside(ROLLOUT_RUN, spec, out)
        run = describe_run(ROLLOUT_RUN, spec, settings, out)
        from vgen.inference.ego.generate import explain, roll_out  # late, so that wrong input is refused at once

        if spec.mode == "inverse":
            result = explain(spec, settings, inputs, folder)
        else:
            made = roll_out(spec, settings, inputs, folder, out)
            result = replace(made, previews=write_previews(folder / "video.mp4", animation))
        write_record(folder / "run.json", run | asdict(result))
    return result


def media_files(spec: RolloutSpec) -> Sequence[str | PathLike[str]]:
    """The files that a rollout stands on."""
    trajectory = [file for file in (spec.trajectory, spec.trajectory_from) if file is not None]
    return [*start_files(spec.start), *trajectory, *(file for goal in spec.goals for file in goal.files)]


ROLLOUT_RUN = RunKind("question", "vgen rollout", RolloutSpec, EgoSettings, media_files, lambda spec: MODES[spec.mode])
