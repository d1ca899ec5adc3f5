"""The canvas pipeline: a canvas with patches becomes a full video."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from vgen import checks
from vgen.backbone.encoding import given_of
from vgen.backbone.pipeline import VideoPipeline, timed
from vgen.canvas.keep import Seam, keep_given, kept_frames
from vgen.canvas.outside import canvas_outside
from vgen.canvas.paradigms import choose_paradigm
from vgen.canvas.placed import PlacedCanvas, place
from vgen.canvas.prompt import prompt_line, read_prompt
from vgen.canvas.spec import Canvas
from vgen.errors import InputError
from vgen.media.pixels import to_uint8
from vgen.models.outside import outside_line
from vgen.notices import warn_once

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CanvasOutput:
    """video: uint8 [T, H, W, 3]; timings: seconds of each stage (encode, text, denoise, decode, keep); seam: the steps
    of colour that are left where given pixels were put back, None where none were; prompt: as it was read."""

    video: np.ndarray
    timings: dict[str, float] = field(default_factory=dict)
    seam: Seam | None = None
    prompt: str = ""


class CanvasPipeline(VideoPipeline):
    """Completes videos from patches: `pipe(canvas, generator=...)`. See `VideoPipeline` for what it loads and saves."""

    @overload
    def __call__(self, canvas: Canvas | PlacedCanvas, *args: Any, **kwargs: Any) -> CanvasOutput: ...

    @overload
    def __call__(self, canvas: Sequence[Canvas | PlacedCanvas], *args: Any, **kwargs: Any) -> list[CanvasOutput]: ...

    @torch.no_grad()
    def __call__(
        self,
        canvas: Canvas | PlacedCanvas | Sequence[Canvas | PlacedCanvas],
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        callback_on_step_end: Callable[[DiffusionPipeline, int, Tensor, dict[str, Any]], dict[str, Any]] | None = None,
        attention_kwargs: dict[str, Any] | None = None,
        paradigm: str | None = None,
    ) -> CanvasOutput | list[CanvasOutput]:
        """Completes a canvas, or several, one after the other.

        Args:
            canvas: size, frame count, prompts and patches; placed already, or not; or a list of them, of which a list
                comes out.
            generator: of the noise; without one the canvas's seed is used. Of several canvases, one for each, or one
                that they draw on in turn.
            num_inference_steps, guidance_scale: the model's defaults when None; a guidance of 1 or less turns
                classifier-free guidance off.
            callback_on_step_end: as in diffusers, with the tensor "latents"; `pipe._interrupt = True` in it ends the
                denoising, what is there is decoded, and canvases that follow in a list are left out.
            attention_kwargs: {"scale": ...} weighs a LoRA.
            paradigm: by which way what is given reaches the model, see `vgen.canvas.paradigms`; None is the way that
                it was trained for.

        Raises:
            InputError: the canvas does not fit the model, a file cannot be read, or a number breaks its rule.
        """
        options = {
            "num_inference_steps": num_inference_steps,
            "guidance_scale": guidance_scale,
            "callback_on_step_end": callback_on_step_end,
            "attention_kwargs": attention_kwargs,
        }
        several = isinstance(canvas, list | tuple)
        canvases: list[Any] = list(canvas) if isinstance(canvas, list | tuple) else [canvas]
        outputs: list[CanvasOutput] = []
        for each, own in zip(canvases, _generators(generator, len(canvases)), strict=True):
            outputs.append(self._complete(each, own, paradigm, **options))
            if self._interrupt:
                break
        return outputs if several else outputs[0]

    def _complete(
        self,
        canvas: Canvas | PlacedCanvas,
        generator: torch.Generator | None,
        paradigm: str | None,
        **options: Any,
    ) -> CanvasOutput:
        timings: dict[str, float] = {}
        way = choose_paradigm(self.transformer.config.paradigm, paradigm, self.label)
        with timed(timings, "encode"):
            if not isinstance(canvas, PlacedCanvas):
                if not isinstance(canvas, Canvas):
                    raise InputError(f"{checks.show(canvas)} is no canvas; give a Canvas, or a list of them")
                canvas = place(canvas, self.temporal_stride, self.size_multiple)
            canvas = self.prompted(canvas)
            self._tell_outside(canvas)
            asked = canvas.canvas
            shape = self.latent_shape(1, asked.frames, asked.height, asked.width)
            given = given_of(canvas.conditions, asked.seed, padding=self.transformer.config.condition_padding)
            conditioning = way.conditioning(self.codec, given, shape)
        video = self.sample(
            conditioning,
            [canvas.prompt],
            frames=asked.frames,
            height=asked.height,
            width=asked.width,
            generator=generator or torch.Generator().manual_seed(asked.seed),
            negative_prompts=[asked.negative_prompt],
            timings=timings,
            **options,
        )[0]
        self.maybe_free_model_hooks()
        seam = None
        if kept := kept_frames(canvas):
            with timed(timings, "keep"):
                video, seam = keep_given(video, kept)
        return CanvasOutput(to_uint8(video.permute(1, 2, 3, 0)).cpu().numpy(), timings, seam, canvas.prompt)

    def prompted(self, placed: PlacedCanvas) -> PlacedCanvas:
        """A canvas with the prompt that is read for it, see `vgen.canvas.prompt`; told where that is not its own."""
        words = None if self.trained is None else self.trained.words
        read = read_prompt(placed, self.config.default_prompt, words)
        if line := prompt_line(placed.canvas.prompt, read, words, self.label):
            warn_once(logger, line)
        return placed.with_prompt(read)

    def _tell_outside(self, canvas: PlacedCanvas) -> None:
        """Logs, once, what the model was not trained for, as far as it costs nothing to know."""
        if self.trained is None:
            return
        found = canvas_outside(self.trained, canvas, example=self.config.default_prompt)
        if line := outside_line(self.label, found):
            warn_once(logger, line)


def _generators(
    generator: torch.Generator | Sequence[torch.Generator] | None, count: int
) -> Sequence[torch.Generator | None]:
    """One for each of so many canvases."""
    if generator is None or isinstance(generator, torch.Generator):
        return [generator] * count
    if len(generator) != count:
        raise InputError(f"{len(generator)} generators for {count} canvases; give one for each, or one alone")
    return generator
