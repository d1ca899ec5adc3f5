"""From a canvas and settings to a folder of results: video.mp4, contact_sheet.png, run.json and previews."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from vgen.canvas.extend import OVERLAP, check_length, generate
from vgen.canvas.keep import Seam, mean_seam
from vgen.canvas.outside import canvas_outside
from vgen.canvas.placed import PlacedCanvas, place
from vgen.canvas.report import (
    Fidelity,
    PatchKey,
    codec_psnr,
    contact_sheet,
    far_from_codec,
    fidelity,
    given_frames,
    sheet_frames,
)
from vgen.canvas.spec import Canvas
from vgen.errors import InputError
from vgen.inference.output import write_frames
from vgen.inference.preview import Animation, write_previews
from vgen.inference.record import RunKind, RunResult, check_outside, describe_run, write_record
from vgen.inference.settings import CanvasSettings
from vgen.models import ModelInfo
from vgen.models.outside import Held, outside_line
from vgen.results import VIDEO_RUN, results_folder

if TYPE_CHECKING:
    from vgen.canvas.pipeline import CanvasPipeline

logger = logging.getLogger(__name__)

CANVAS_RUN = RunKind("canvas", "vgen infer", Canvas, CanvasSettings, lambda canvas: canvas.files)


@dataclass(frozen=True)
class CanvasResult(RunResult):
    """What came out of a completed canvas.

    Attributes:
        fidelity: how closely each patch was kept.
        fps: frames per second of the video: the canvas's, or where it says none, its clips'.
        left_out: what the contact sheet does not show, in words; "" where it shows all.
        seam: what is left of the steps of colour, where given pixels are kept exactly; of an extension, the mean of its
            segments.
        prompt: as it was read: where the canvas says none, it may be the model's own, see `vgen.canvas.prompt`.
    """

    fidelity: list[Fidelity]
    fps: float
    left_out: str
    seam: Seam | None = None
    prompt: str = ""


def run_canvas(
    canvas: Canvas,
    settings: CanvasSettings,
    out: str | PathLike[str],
    overwrite: bool = False,
    animation: Animation | None = None,
) -> CanvasResult:
    """Completes a canvas into a folder, which is written whole or not at all; memory does not grow with the length.

    An extension that is stopped leaves the frames of its finished segments as a video beside the folder, see
    `write_frames`.

    Args:
        canvas: what to complete; all its media are files.
        settings: how the model is run.
        out: the folder.
        overwrite: replaces the results of an earlier run there, see `vgen.results`.
        animation: kind of an animated picture that is written too, for which memory grows with the length.

    Raises:
        InputError: the canvas does not fit the model, a file cannot be used, the machine cannot do it, or the folder
            cannot be written or holds something.
    """
    settings.check_machine()
    info = ModelInfo.read(settings.model, parts=())
    _check_extension(canvas, settings, info.temporal_stride)
    placed = place(canvas, info.temporal_stride, info.size_multiple)
    fps, total = placed.fps, settings.extend_to or canvas.frames
    shown = sheet_frames(total, placed)
    with results_folder(out, VIDEO_RUN, overwrite) as folder:
        check_outside(CANVAS_RUN, canvas, out)
        if line := info.work_line(canvas.frames, canvas.height, canvas.width):
            logger.warning("%s", line)
        run = describe_run(CANVAS_RUN, canvas, settings, out)
        began, seconds = time.perf_counter(), {}
        from vgen.backbone.pipeline import timed  # late, so that a wrong canvas is refused at once
        from vgen.canvas.pipeline import CanvasPipeline

        pipe = settings.load(CanvasPipeline)
        seconds["load"] = time.perf_counter() - began
        with timed(seconds, "codec"):
            held = codec_psnr(pipe.codec, placed, padding=pipe.transformer.config.condition_padding)
        placed = pipe.prompted(placed)
        _tell_outside(pipe, placed, held)
        seams: list[Seam] = []
        chunks = _frames(pipe, placed, settings, seconds, seams)
        keep = {*shown, *given_frames(placed)}
        frames, digest = write_frames(chunks, folder / "video.mp4", fps, keep, total, stopped=out)
        seconds["all"] = time.perf_counter() - began
        kept = {index: frames[index] for index in shown}
        left_out = contact_sheet(kept, placed, folder / "contact_sheet.png", total)
        seconds = {stage: round(took, 3) for stage, took in seconds.items()}
        previews = write_previews(folder / "video.mp4", animation)
        rows = fidelity(frames, placed, held)
        if line := far_from_codec(rows, placed):
            logger.warning("%s", line)
        kept_by = rows, fps, left_out, mean_seam(seams)
        result = CanvasResult(seconds, digest, *kept_by, prompt=placed.prompt, previews=previews)
        write_record(folder / "run.json", run | asdict(result))
    return result


def _check_extension(canvas: Canvas, settings: CanvasSettings, stride: int) -> None:
    if settings.extend_to is None:
        return
    ends, where = (2, "at either end") if settings.loop else (1, "from the one before")
    if canvas.frames <= (given := ends * OVERLAP):
        nearest = 1 + stride * math.ceil(given / stride)
        rule = f"each segment of --extend-to is given {OVERLAP} {where}, and makes the others"
        raise InputError(f"frames={canvas.frames} are too few: {rule}; nearest: {nearest}")
    check_length(canvas, settings.extend_to, ends=ends, name="--extend-to")


def _frames(
    pipe: CanvasPipeline, placed: PlacedCanvas, settings: CanvasSettings, seconds: dict[str, float], seams: list[Seam]
) -> Iterator[np.ndarray]:
    """The frames of the whole video as they come; what stages take is added to `seconds`, what is left of seams to
    `seams`."""
    return generate(
        pipe,
        placed,
        settings.extend_to,
        loops=settings.loop,
        timings=seconds,
        seams=seams,
        num_inference_steps=settings.steps,
        guidance_scale=settings.guidance,
        paradigm=settings.paradigm,
    )


def _tell_outside(pipe: CanvasPipeline, placed: PlacedCanvas, held: Mapping[PatchKey, Held]) -> None:
    """Logs what the model was not trained for; `held` is what its codec holds of the patches."""
    if pipe.trained is not None:
        found = canvas_outside(pipe.trained, placed, held, pipe.config.default_prompt)
        if line := outside_line(pipe.label, found):
            logger.warning("%s", line)
        pipe.trained = None  # it is said, and with more than the pipeline by itself would say
