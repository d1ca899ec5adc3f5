"""Long videos, made segment by segment and looked at as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from long_suite.drift import Network, Watch, at_horizons, horizons_of
from long_suite.openings import Opening
from vgen.canvas.extend import OVERLAP, Completes, SegmentOutput, extend, loop
from vgen.canvas.spec import Canvas, Patch
from vgen.media.pixels import to_unit
from vgen.metrics import psnr

See = Callable[[np.ndarray], None]
"""Takes frames uint8 `[t, H, W, 3]`, as to write them."""


class Segments:
    """A pipeline with fixed settings, which remembers the last segment.

    Args:
        pipe: A `CanvasPipeline`.
        precision: Makes the context in which it runs.
        options: Of each call.
    """

    def __init__(self, pipe: Completes, precision: Callable[[], AbstractContextManager[None]], **options: Any) -> None:
        self.pipe, self.precision, self.options = pipe, precision, options
        self.last: np.ndarray | None = None

    def __call__(  # noqa: D102 (as is `Completes`, whose call this is)
        self, canvas: Canvas, /, *, generator: torch.Generator | None = None
    ) -> SegmentOutput:
        with self.precision():
            output = self.pipe(canvas, generator=generator, **self.options)
        self.last = output.video
        return output


def opened(opening: Opening, frames: int, seed: int, keep: str) -> Canvas:
    """The first segment of `frames` frames: the first ones of a recording are given, the others are to come."""
    _, height, width, _ = opening.recorded.shape
    given = (Patch(opening.recorded[:OVERLAP].copy()),)
    return Canvas(frames, height, width, opening.prompt, fps=opening.fps, seed=seed, patches=given, keep=keep)  # type: ignore[arg-type]


def extension(segments: Segments, canvas: Canvas, total: int, networks: Mapping[str, Network], see: See) -> dict:
    """A canvas of `opened` extended to `total` frames: its curves and their values at the horizons."""
    generator = torch.Generator().manual_seed(canvas.seed)
    watch = Watch(_given(canvas), networks)
    _watch(watch, extend(segments, canvas, total, generator=generator), total, see)
    borders = range(canvas.frames, total, canvas.frames - OVERLAP)
    return {**_drift(watch, total), "border_step": watch.border_step(borders)}


def closed_loop(segments: Segments, canvas: Canvas, total: int, networks: Mapping[str, Network], see: See) -> dict:
    """A canvas of `opened` made a loop of `total` frames: how far its end is from its beginning.

    `closing_psnr` is that of the first frames as the closing segment makes them once more, after the last frame that is
    shown, against the first frames themselves; `closing_step` that of `Watch`.
    """
    generator = torch.Generator().manual_seed(canvas.seed)
    first: list[np.ndarray] = []

    def remember(frames: np.ndarray) -> None:
        if not first:
            first.append(frames[:OVERLAP].copy())
        see(frames)

    watch = Watch(_given(canvas), networks)
    _watch(watch, loop(segments, canvas, total, generator=generator), total, remember)
    assert segments.last is not None, "a loop has segments"
    made, wanted = (to_unit(v).permute(3, 0, 1, 2)[None] for v in (segments.last[-OVERLAP:], first[0]))
    return {
        **_drift(watch, total),
        "closing_psnr": psnr(made, wanted).item(),
        "closing_step": watch.closing_step(),
    }


def recording(opening: Opening, total: int, networks: Mapping[str, Network]) -> dict:
    """The same curves of the recording itself, as far as it goes: what changes without a model."""
    watch = Watch(opening.recorded[:OVERLAP], networks)
    watch.see(opening.recorded[:total])
    return _drift(watch, min(total, len(opening.recorded)))


def _given(canvas: Canvas) -> np.ndarray:
    given = canvas.patches[0].source
    assert isinstance(given, np.ndarray), "as `opened` has it"
    return given


def _watch(watch: Watch, frames: Iterator[np.ndarray], total: int, see: See) -> None:
    with tqdm(total=total, desc="frames", leave=False) as bar:
        for part in frames:
            watch.see(part)
            see(part)
            bar.update(len(part))


def _drift(watch: Watch, total: int) -> dict:
    curves = watch.curves()
    horizons = horizons_of(total)
    return {"at": {name: at_horizons(curve, horizons) for name, curve in curves.items()}, "curves": curves}
