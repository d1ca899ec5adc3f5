"""Videos longer than one pass: segment by segment, the last frames of each the conditions of the next.

As in VideoCanvas (arXiv 2510.08555), which goes past 1,000 frames this way and closes a loop with the first frames at
its end. Memory does not grow with the length: frames are handed out as they come.

Remembered conditions (`vgen.backbone.known`) serve one segment and no other: the frames that a segment is given were
targets of the one before, and have been decoded since, so nothing is known of them as conditions that a shift of
positions could make use of.

Where the canvas keeps what is given exactly, each segment is matched in colour to the frames that it takes over, and
what stands still in them stays as sharp as it was: `vgen.canvas.keep` does to them as to any patch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from vgen import checks
from vgen.canvas.spec import Canvas, Patch

if TYPE_CHECKING:
    from vgen.canvas.keep import Seam
    from vgen.canvas.pipeline import CanvasOutput, CanvasPipeline
    from vgen.canvas.placed import PlacedCanvas

MAX_TOTAL = 10**6
OVERLAP = 5  # frames that a segment takes over from the one before


class SegmentOutput(Protocol):
    """What a pipeline returns: `video` is uint8 `[T, H, W, 3]`, `prompt` as it was read."""

    @property
    def video(self) -> np.ndarray: ...  # noqa: D102

    @property
    def prompt(self) -> str: ...  # noqa: D102


class Completes(Protocol):
    """A `CanvasPipeline`, or anything that completes a canvas."""

    def __call__(self, canvas: Canvas, /, *, generator: torch.Generator | None = None) -> SegmentOutput:
        """Completes one canvas."""


def generate(
    pipe: CanvasPipeline,
    placed: PlacedCanvas,
    total_frames: int | None,
    *,
    loops: bool = False,
    timings: dict[str, float],
    seams: list[Seam],
    **options: Any,
) -> Iterator[np.ndarray]:
    """The frames of the whole video, as they come: uint8 `[t, H, W, 3]`, in one piece or segment by segment.

    Args:
        pipe: Completes each segment.
        placed: What to complete; the seed of its canvas makes the noise.
        total_frames: Length of the whole video; None is one pass over the canvas.
        loops: As `loop`, instead of as `extend`.
        timings: The seconds of each stage are added to it.
        seams: Of each segment in which given pixels were put back, that is appended.
        options: Of each call of the pipeline (`num_inference_steps`, `guidance_scale`, `paradigm`).
    """
    canvas = placed.canvas

    def complete(part: Canvas, *, generator: torch.Generator | None = None) -> CanvasOutput:
        output = pipe(placed if part is canvas else part, generator=generator, **options)
        for stage, seconds in output.timings.items():
            timings[stage] = timings.get(stage, 0.0) + seconds
        if output.seam is not None:
            seams.append(output.seam)
        return output

    generator = torch.Generator().manual_seed(canvas.seed)
    if total_frames is None:
        return iter([complete(canvas, generator=generator).video])
    return (loop if loops else extend)(complete, canvas, total_frames, generator=generator)


def extend(
    pipeline: Completes,
    canvas: Canvas,
    total_frames: int,
    overlap: int = OVERLAP,
    generator: torch.Generator | None = None,
) -> Iterator[np.ndarray]:
    """Completes a canvas and goes on from its end.

    Args:
        pipeline: Called once per segment, with canvases of `canvas.frames` frames.
        canvas: The first segment, with its patches; the later ones have its prompt and size.
        total_frames: Length of the whole video.
        overlap: Last frames of each segment that are given to the next; they are handed out once, as first made.
        generator: Of the noise, drawn on by one segment after the other.

    Yields:
        uint8 `[t, H, W, 3]`: the first segment, then the new frames of each one; `total_frames` together.

    Raises:
        InputError: overlap or total_frames does not fit the canvas.
    """
    check_length(canvas, total_frames, overlap)
    for frames, _ in _segments(pipeline, canvas, total_frames, overlap, generator):
        yield frames


def _segments(
    pipeline: Completes, canvas: Canvas, total_frames: int, overlap: int, generator: torch.Generator | None
) -> Iterator[tuple[np.ndarray, str]]:
    """What `extend` yields, each with the prompt as it was read for the first segment, and so for all."""
    first = pipeline(canvas, generator=generator)
    video, canvas = first.video, replace(canvas, prompt=first.prompt)
    yield video, first.prompt
    made = len(video)
    while made < total_frames:
        given = Patch(video[-overlap:].copy())
        video = pipeline(replace(canvas, patches=(given,)), generator=generator).video
        yield video[overlap : overlap + total_frames - made], first.prompt
        made += canvas.frames - overlap


def loop(
    pipeline: Completes,
    canvas: Canvas,
    total_frames: int,
    overlap: int = OVERLAP,
    generator: torch.Generator | None = None,
) -> Iterator[np.ndarray]:
    """As `extend`, and the end leads back to the beginning: played over and over, the video has no seam.

    The closing segment has the first frames of the video at its end, where they are not handed out again.

    Args:
        pipeline: As for `extend`.
        canvas: As for `extend`.
        total_frames: Length of one round, more than `canvas.frames`.
        overlap: As for `extend`, and the number of first frames that close the loop.
        generator: As for `extend`.

    Yields:
        As `extend`.

    Raises:
        InputError: overlap or total_frames does not fit the canvas.
    """
    check_length(canvas, total_frames, overlap, ends=2)
    closing = min(canvas.frames - 2 * overlap, total_frames - canvas.frames)
    beginning = recent = np.empty((0, canvas.height, canvas.width, 3), np.uint8)
    for frames, prompt in _segments(pipeline, canvas, total_frames - closing, overlap, generator):
        canvas = replace(canvas, prompt=prompt)
        beginning = beginning if len(beginning) else frames[:overlap].copy()
        recent = np.concatenate([recent, frames])[-canvas.frames :]
        yield frames
    taken = canvas.frames - closing - overlap
    ends = Patch(recent[-taken:]), Patch(beginning, -overlap)
    yield pipeline(replace(canvas, patches=ends), generator=generator).video[taken : taken + closing]


def check_length(
    canvas: Canvas, total_frames: int, overlap: int = OVERLAP, ends: int = 1, name: str = "total_frames"
) -> None:
    """Each segment must make at least one frame between those given at one of its ends, or at both in a loop.

    Args:
        canvas, total_frames, overlap: as of `extend`.
        ends: how many ends of a segment are given.
        name: what messages call `total_frames`.

    Raises:
        InputError: overlap or total_frames does not fit the canvas.
    """
    checks.whole("overlap", overlap, 1, max(1, (canvas.frames - 1) // ends))
    checks.whole(name, total_frames, canvas.frames + ends - 1, MAX_TOTAL)
