"""Samples of a run: the same specs, drawn again and again with the averaged weights, to watch what it learns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vgen.checks import within
from vgen.errors import InputError
from vgen.files import replaced_folder, writing
from vgen.train.objectives.base import Objective


@dataclass
class SamplesConfig:
    """What is drawn, and how often. No specs, no samples."""

    specs: list[str] = field(default_factory=list)  # of the objective; for the canvas, as in configs/canvas
    every_steps: int = 1000  # and at the end of the run
    steps: int | None = within(None, 1, 1000)  # of denoising; None: the objective's own choice
    frames: int | None = None  # in place of those that the specs say, so that they suit other models
    size: str | None = None  # HEIGHTxWIDTH, likewise


class Samples:
    """Draws the samples of a run into `<run>/samples/step-NNNNNNNN/NAME/{video.mp4,contact_sheet.png}`.

    Args:
        config: what to draw.
        objective: whose model draws.
        run: the run folder.

    Raises:
        InputError: a spec cannot be drawn by this objective, or two have the same name.
    """

    def __init__(self, config: SamplesConfig, objective: Objective[Any], run: Path) -> None:
        if config.every_steps < 1:
            raise InputError(f"samples.every_steps={config.every_steps} is not positive; the smallest is 1")
        self._config, self._objective, self._run = config, objective, run
        self._samples: dict[str, Any] = {}
        overrides = {key: value for key in ("frames", "size") if (value := getattr(config, key)) is not None}
        for spec in config.specs:
            name = Path(spec).stem
            if name in self._samples:
                raise InputError(f"samples.specs names two specs {name!r}; rename one")
            self._samples[name] = objective.read_sample(spec, overrides)

    def due(self, step: int, over: bool) -> bool:
        """Whether to draw after this step, which ends the run where it is `over`."""
        return bool(self._samples) and (over or step % self._config.every_steps == 0)

    def draw(self, after_step: Callable[[], None]) -> dict[str, np.ndarray]:
        """The video of every sample by its name, uint8 [T, H, W, 3]. All ranks draw the same, together, since ZeRO 3
        and a split sequence need every rank in every forward. `after_step` is called after each step of denoising."""
        steps = self._config.steps
        return {name: self._objective.draw(sample, steps, after_step) for name, sample in self._samples.items()}

    def write(self, step: int, videos: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Path]]:
        """Writes what `draw` drew, on one rank, and yields the name and folder of each."""
        for name, video in videos.items():
            folder = self._run / "samples" / f"step-{step:08d}" / name
            with replaced_folder(folder) as aside, writing(f"the samples of {self._run}", folder=aside):
                aside.mkdir(parents=True)
                self._objective.write_sample(self._samples[name], video, aside)
            yield name, folder
