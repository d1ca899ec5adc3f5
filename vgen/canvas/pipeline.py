"""The canvas pipeline: a canvas with patches becomes a full video."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from vgen.backbone.pipeline import VideoPipeline, guided
from vgen.backbone.segments import Segment, target
from vgen.backbone.shapes import check_frames, check_size, latent_frames
from vgen.canvas.conditions import encode_placed
from vgen.canvas.media import place
from vgen.canvas.spec import Canvas, validate
from vgen.media.pixels import to_uint8
from vgen.media.placing import composite


@dataclass(frozen=True)
class CanvasOutput:
    """video: uint8 [T, H, W, 3]; timings: seconds of each stage (encode, denoise, decode)."""

    video: np.ndarray
    timings: dict[str, float] = field(default_factory=dict)


class CanvasPipeline(VideoPipeline):
    """Completes videos from patches: `pipe(canvas, generator=...)`. See `VideoPipeline` for what it loads and saves."""

    @torch.no_grad()
    def __call__(
        self,
        canvas: Canvas,
        generator: torch.Generator | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        callback_on_step_end: Callable[[DiffusionPipeline, int, Tensor, dict[str, Any]], dict[str, Any]] | None = None,
        attention_kwargs: dict[str, Any] | None = None,
    ) -> CanvasOutput:
        """Completes one canvas.

        Args:
            canvas: size, frame count, prompts and patches.
            generator: of the noise; without one the canvas's seed is used.
            num_inference_steps, guidance_scale: the model's defaults when None; a guidance of 1 or less turns
                classifier-free guidance off.
            callback_on_step_end: as in diffusers, with the tensor "latents".
            attention_kwargs: {"scale": ...} weighs a LoRA.

        Raises:
            InputError: the canvas does not fit the model or a file cannot be read.
        """
        validate(canvas, self.temporal_stride, self.size_multiple)
        timings: dict[str, float] = {}
        with _timed(timings, "encode"):
            placed = composite(place(canvas, self.temporal_stride))
            conditions = encode_placed(self.codec, placed)
        video = self.sample(
            conditions,
            [canvas.prompt],
            frames=canvas.frames,
            height=canvas.height,
            width=canvas.width,
            generator=generator or torch.Generator().manual_seed(canvas.seed),
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            negative_prompts=[canvas.negative_prompt],
            callback_on_step_end=callback_on_step_end,
            attention_kwargs=attention_kwargs,
            timings=timings,
        )
        self.maybe_free_model_hooks()
        return CanvasOutput(to_uint8(video[0].permute(1, 2, 3, 0)).cpu().numpy(), timings)

    @torch.no_grad()
    def sample(
        self,
        conditions: Sequence[Segment] | Segment | None,
        prompts: Sequence[str],
        *,
        frames: int,
        height: int,
        width: int,
        generator: torch.Generator | list[torch.Generator] | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        negative_prompts: Sequence[str] | None = None,
        callback_on_step_end: Callable[..., dict[str, Any]] | None = None,
        attention_kwargs: dict[str, Any] | None = None,
        timings: dict[str, float] | None = None,
    ) -> Tensor:
        """Completes a batch from ready condition segments: video [B, 3, T, H, W] in [-1, 1], float32.

        Args:
            conditions: segments with a batch of B, or None for text to video.
            prompts, negative_prompts: B sentences each; the negative ones are "" by default.
            frames, height, width: T, H, W of the video.
            timings: the seconds of each stage are added to it.

        Raises:
            InputError: an illegal frame count or size.
        """
        check_frames(frames, self.temporal_stride)
        check_size(height, width, self.size_multiple)
        timings = {} if timings is None else timings
        guidance = self.config.default_guidance if guidance_scale is None else guidance_scale
        conditions = [conditions] if isinstance(conditions, Segment) else list(conditions or [])
        texts = [self.embed(prompts)]
        if guidance > 1:
            texts.append(self.embed(negative_prompts or [""] * len(prompts)))

        codec = self.codec
        grid = (latent_frames(frames, self.temporal_stride), height // codec.spatial_stride)
        shape = (len(prompts), codec.channels, *grid, width // codec.spatial_stride)

        def velocity(latents: Tensor, time: Tensor) -> Tensor:
            """The conditions stay in both, only the text is dropped."""
            segments = [*conditions, target(latents, time)]
            outputs = [self.transformer(segments, text, attention_kwargs=attention_kwargs)[0].float() for text in texts]
            return outputs[0] if len(outputs) == 1 else guided(*outputs, guidance)

        with _timed(timings, "denoise"):
            noise = randn_tensor(shape, generator, self._execution_device, torch.float32)
            latents = self.denoise(noise, velocity, num_inference_steps, callback_on_step_end)
        with _timed(timings, "decode"):
            return self.decode(latents)


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    timings[stage] = timings.get(stage, 0.0) + time.perf_counter() - began
