"""From the patches of a canvas to pixels, placed on it."""

from __future__ import annotations

from vgen.canvas.spec import Canvas
from vgen.media.placing import Placed, place_all


def place(canvas: Canvas, temporal_stride: int = 4) -> list[Placed]:
    """All patches of a canvas, in their order, not composited; each names the index of its patch.

    Raises:
        InputError: as `vgen.media.placing.load_patch`; the message starts with the patch.
    """
    return place_all(canvas.patches, canvas, temporal_stride)
