"""Pictures of what a model makes, for its card: contact sheets of canvases."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from vgen.backbone.load import load_pipeline
from vgen.canvas.pipeline import CanvasPipeline
from vgen.canvas.placed import place
from vgen.canvas.report import contact_sheet
from vgen.canvas.spec import Canvas
from vgen.errors import InputError
from vgen.files import writing
from vgen.models import ModelInfo
from vgen.reproduce.card import PICTURES
from vgen.shipped import find


def draw_pictures(specs: Sequence[str], out: Path, seconds: float) -> str:
    """Completes canvases with `<out>/model` and keeps their contact sheets in `<out>/pictures`; returns which of them
    are left out, and why, or "". No video is written, so PyAV is not needed where the canvases' media are pictures.

    Args:
        specs: files of canvases.
        seconds: after which no further one is begun.
    """
    ends, lost = time.monotonic() + seconds, []
    (out / PICTURES).mkdir(parents=True, exist_ok=True)
    pipe: CanvasPipeline | None = None
    for spec in specs:
        file = out / PICTURES / f"{Path(spec).stem}.png"
        if file.exists():
            continue
        if time.monotonic() > ends:
            lost.append(f"{file.stem}: no time was left")
            continue
        try:
            pipe = pipe or load_pipeline(CanvasPipeline, str(out / "model"))
            _draw(pipe, str(out / "model"), spec, file)
        except InputError as error:
            lost.append(f"{file.stem}: {error}")
    return "; ".join(lost)


def _draw(pipe: CanvasPipeline, model: str, spec: str, file: Path) -> None:
    info = ModelInfo.read(model, parts=())
    placed = pipe.prompted(place(Canvas.from_yaml(find(spec)), info.temporal_stride, info.size_multiple))
    video = pipe(placed).video
    with writing(file):
        contact_sheet(video, placed, file)
