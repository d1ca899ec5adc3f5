"""A canvas with its media read and placed: once, for what is refused, for the video and for the report."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vgen.backbone.shapes import check_frames, check_size
from vgen.canvas.spec import Canvas
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

    @property
    def prompt(self) -> str:
        """What the video shows, "" where nothing is said of it."""
        return self.canvas.prompt or ""

    def with_prompt(self, prompt: str) -> PlacedCanvas:
        """The same with another prompt."""
        return replace(self, canvas=replace(self.canvas, prompt=prompt))

    def keeps(self, placed: Placed) -> bool:
        """Whether the pixels of a patch are put back exactly: `keep` of the patch, or else of the canvas."""
        return (self.canvas.patches[placed.patch].keep or self.canvas.keep) == "exact"


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


def validate(canvas: Canvas, temporal_stride: int = 4, size_multiple: int = 32) -> None:
    """Refuses a canvas that a model cannot hold.

    Args:
        canvas: What the user asks for.
        temporal_stride: N of the codec: 1 + N·k pixel frames are legal.
        size_multiple: Spatial stride of the codec times the patch of the transformer.

    Raises:
        InputError: it names the nearest legal frame count or size.
    """
    check_frames(canvas.frames, temporal_stride)
    check_size(canvas.height, canvas.width, size_multiple)
