"""Pictures of what a model makes, for its card: contact sheets of canvases."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from vgen.canvas.spec import Canvas
from vgen.errors import InputError
from vgen.inference.canvas import run_canvas
from vgen.inference.settings import CanvasSettings
from vgen.reproduce.card import PICTURES
from vgen.shipped import find

logger = logging.getLogger(__name__)


def draw_pictures(specs: Sequence[str], out: Path, seconds: float) -> str:
    """Completes canvases with `<out>/model` and keeps their contact sheets in `<out>/pictures`; returns which of them
    are left out, and why, or "".

    Args:
        specs: files of canvases.
        seconds: after which no further one is begun.
    """
    ends, lost = time.monotonic() + seconds, []
    (out / PICTURES).mkdir(parents=True, exist_ok=True)
    for spec in specs:
        file = out / PICTURES / f"{Path(spec).stem}.png"
        if file.exists():
            continue
        if time.monotonic() > ends:
            lost.append(f"{file.stem}: no time was left")
            continue
        made = out / "drawn" / file.stem
        try:
            run_canvas(Canvas.from_yaml(find(spec)), CanvasSettings(model=str(out / "model")), made, overwrite=True)
        except InputError as error:
            lost.append(f"{file.stem}: {error}")
            continue
        shutil.copyfile(made / "contact_sheet.png", file)
    return "; ".join(lost)
