"""From a canvas and settings to a folder of results: video.mp4, contact_sheet.png and run.json."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path

from vgen.canvas.extend import check_length
from vgen.canvas.placed import PlacedCanvas, place
from vgen.canvas.report import Fidelity, contact_sheet, fidelity, given_frames, sheet_frames
from vgen.canvas.spec import Canvas
from vgen.inference.canvas_record import describe_run
from vgen.inference.canvas_settings import Settings, generate
from vgen.inference.output import write_frames
from vgen.inference.record import write_record
from vgen.inference.settings import check_settings, load_pipeline
from vgen.models import ModelInfo
from vgen.results import VIDEO_RUN, results_folder


@dataclass(frozen=True)
class Made:
    """What came out: how closely each patch was kept, the seconds of each stage, the SHA-256 of all frames' bytes."""

    fidelity: list[Fidelity]
    seconds: dict[str, float]
    frames_sha256: str


def check(canvas: Canvas, settings: Settings) -> PlacedCanvas:
    """Refuses all that can be refused before the model is loaded; returns the canvas, placed.

    Raises:
        InputError: the canvas does not fit the model, a file cannot be used, or the machine cannot do it.
    """
    check_settings(settings)
    info = ModelInfo.read(settings.model, parts=())
    placed = place(canvas, info.temporal_stride, info.size_multiple)
    if settings.extend_to is not None:
        check_length(canvas, settings.extend_to, ends=2 if settings.loop else 1)
    return placed


def make(canvas: Canvas, settings: Settings, out: str | PathLike, overwrite: bool = False) -> Made:
    """Completes a canvas into a folder, which is written whole or not at all; memory does not grow with the length.

    Raises:
        InputError: as `check`; or the folder cannot be written, or holds something, see `vgen.results`.
    """
    placed = check(canvas, settings)
    total = settings.extend_to or canvas.frames
    shown = sheet_frames(total, placed)
    keep = {*shown, *given_frames(placed)}
    with results_folder(out, VIDEO_RUN, overwrite) as folder:
        run = describe_run(canvas, settings, out)
        began, seconds = time.perf_counter(), {}
        from vgen.canvas.pipeline import CanvasPipeline  # late, so that a wrong canvas is refused at once

        pipe = load_pipeline(CanvasPipeline, settings)
        seconds["load"] = time.perf_counter() - began
        frames, digest = write_frames(
            generate(pipe, placed, settings, seconds), folder / "video.mp4", canvas.fps, keep, total
        )
        seconds["all"] = time.perf_counter() - began
        made = Made(fidelity(frames, placed), {stage: round(took, 3) for stage, took in seconds.items()}, digest)
        contact_sheet({index: frames[index] for index in shown}, placed, folder / "contact_sheet.png")
        write_record(Path(folder, "run.json"), run | asdict(made))
    return made
