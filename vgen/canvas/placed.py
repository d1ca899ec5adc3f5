"""A canvas with its media read and placed: once, for what is refused, for the video and for the report."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vgen.canvas.spec import Canvas, validate
from vgen.media.placing import Placed, composite, frame_rate, place_all


@dataclass(frozen=True)
class PlacedCanvas:
    """What lies on a canvas. `place` makes it; a pipeline takes it in place of the canvas.

    Attributes:
        canvas: What was placed, with the frame rate that its clips have where it says none.
        patches: Every given image or clip on its own, in the order of the canvas's patches, whose index each names.
        conditions: The same, composited: one for each place in time. These are encoded.
    """

    canvas: Canvas
    patches: tuple[Placed, ...]
    conditions: tuple[Placed, ...]

    @property
    def fps(self) -> float:
        """Frames per second of the video."""
        assert self.canvas.fps is not None, "`place` fills it in"
        return self.canvas.fps


def place(canvas: Canvas, temporal_stride: int = 4, size_multiple: int = 1) -> PlacedCanvas:
    """Reads all media of a canvas and places them.

    Args:
        canvas: What the user asks for.
        temporal_stride: N of the codec: 1 + N·k pixel frames are legal.
        size_multiple: Of which height and width must be multiples.

    Raises:
        InputError: the model cannot hold the canvas, or as `vgen.media.placing.load_patch`; the message then starts
            with the patch.
    """
    validate(canvas, temporal_stride, size_multiple)
    canvas = canvas if canvas.fps is not None else replace(canvas, fps=frame_rate(canvas.patches))
    patches = tuple(place_all(canvas.patches, canvas, temporal_stride))
    return PlacedCanvas(canvas, patches, tuple(composite(patches)))
