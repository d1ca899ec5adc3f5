"""The canvas pipeline: a canvas with patches becomes a full video. A diffusers pipeline over Wan's components."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import AutoencoderKLWan, DiffusionPipeline, SchedulerMixin
from diffusers.loaders import WanLoraLoaderMixin
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor
from transformers import PreTrainedTokenizerBase, UMT5EncoderModel

from vgen.backbone.codec import WanCodec
from vgen.backbone.segments import Segment, target
from vgen.backbone.shapes import check_frames, check_size, latent_frames
from vgen.backbone.text import encode_text, text_length
from vgen.backbone.transformer import TIMESTEPS, VideoTransformer
from vgen.canvas.conditions import encode_placed
from vgen.canvas.media import composite, place
from vgen.canvas.spec import Canvas, validate
from vgen.data.video import to_uint8
from vgen.errors import InputError
from vgen.weights import resolve


@dataclass(frozen=True)
class CanvasOutput:
    """video: uint8 [T, H, W, 3]; timings: seconds of each stage (encode, denoise, decode)."""

    video: np.ndarray
    timings: dict[str, float] = field(default_factory=dict)


class CanvasPipeline(DiffusionPipeline, WanLoraLoaderMixin):
    """Completes videos from patches: `pipe(canvas, generator=...)`.

    Loads any Wan text-to-video folder of diffusers (2.1 1.3B and 14B, 2.2 TI2V-5B) and nano. What it saves is a Wan
    folder again, which diffusers' own `WanPipeline` loads.

    Args:
        tokenizer, text_encoder, vae, transformer, scheduler: Wan's components.
        default_steps, default_guidance: what a call without these values uses (the paper's, unless the folder says
            otherwise).
        default_frames, default_height, default_width: what the model was trained on, which
            `tools/infer.py` offers where the user names none.
    """

    model_cpu_offload_seq = "text_encoder->transformer->vae"
    _callback_tensor_inputs: ClassVar[list[str]] = ["latents"]

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        text_encoder: UMT5EncoderModel,
        vae: AutoencoderKLWan,
        transformer: VideoTransformer,
        scheduler: SchedulerMixin,
        default_steps: int = 50,
        default_guidance: float = 7.5,
        default_frames: int = 77,
        default_height: int = 384,
        default_width: int = 672,
    ) -> None:
        super().__init__()
        self.register_modules(
            tokenizer=tokenizer,
            text_encoder=text_encoder,
            vae=vae,
            transformer=transformer,
            scheduler=scheduler,
        )
        # What is saved names diffusers' own class: the parameters are the same, and any diffusers program can load it.
        self.register_to_config(transformer=("diffusers", "WanTransformer3DModel"))
        self.register_to_config(default_steps=default_steps, default_guidance=default_guidance)
        self.register_to_config(default_frames=default_frames)
        self.register_to_config(default_height=default_height, default_width=default_width)

    @classmethod
    def from_pretrained(cls, model: str | PathLike, **kwargs: Any) -> CanvasPipeline:
        """Loads "nano", a local diffusers folder or a hub id; keywords as in diffusers (`dtype`, `revision` …).

        Raises:
            InputError: there is no such model, or it is not a Wan text-to-video model with one transformer.
        """
        folder = resolve(model)
        hub = {
            key: kwargs[key]
            for key in ("dtype", "torch_dtype", "revision", "cache_dir", "token", "variant")
            if key in kwargs
        }
        try:
            transformer = kwargs.pop("transformer", None) or VideoTransformer.from_pretrained(
                folder, subfolder="transformer", **hub
            )
            pipe = super().from_pretrained(folder, transformer=transformer, **kwargs)
        except OSError as error:
            raise InputError(f"model {str(model)!r} cannot be loaded: {' '.join(str(error).split())[:300]}") from error
        check_components(pipe, str(model))
        return pipe

    def to_json_string(self) -> str:
        """The pipeline's index: it names `WanPipeline`, so that diffusers opens the folder by itself."""
        return super().to_json_string().replace(f'"{type(self).__name__}"', '"WanPipeline"')

    @property
    def temporal_stride(self) -> int:
        """N: a video has 1 + N·k frames."""
        return self.vae.config.scale_factor_temporal

    @property
    def size_multiple(self) -> int:
        """Height and width are multiples of it: the codec's spatial stride times the transformer's patch."""
        return self.vae.config.scale_factor_spatial * self.transformer.config.patch_size[1]

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
            conditions = encode_placed(self._codec(), placed)
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

        codec = self._codec()
        shape = (
            latent_frames(frames, self.temporal_stride),
            height // codec.spatial_stride,
        )
        shape = (len(prompts), codec.channels, *shape, width // codec.spatial_stride)
        with _timed(timings, "denoise"):
            latents = randn_tensor(shape, generator, self._execution_device, torch.float32)
            steps = num_inference_steps or self.config.default_steps
            self.scheduler.set_timesteps(steps, device=self._execution_device)
            with self.progress_bar(total=len(self.scheduler.timesteps)) as bar:
                bar.set_description("denoising")
                for step, timestep in enumerate(self.scheduler.timesteps):
                    velocity = self._velocity(latents, timestep, conditions, texts, guidance, attention_kwargs)
                    latents = self.scheduler.step(velocity, timestep, latents, return_dict=False)[0]
                    if callback_on_step_end:
                        changed = callback_on_step_end(self, step, timestep, {"latents": latents})
                        latents = changed.get("latents", latents)
                    bar.update()
        with _timed(timings, "decode"), self._decoding_bar(latents.shape[2]):
            return codec.decode(latents)

    def embed(self, prompts: Sequence[str]) -> Tensor:
        """Text embeddings [B, Lt, D] of B prompts, in the transformer's type."""
        length = text_length(self.tokenizer)
        states = encode_text(self.tokenizer, self.text_encoder, prompts, length, self._execution_device)
        return states.to(self.transformer.dtype)

    def _velocity(
        self,
        latents: Tensor,
        timestep: Tensor,
        conditions: list[Segment],
        texts: list[Tensor],
        guidance: float,
        attention_kwargs: dict[str, Any] | None,
    ) -> Tensor:
        """The guided velocity u + w·(c - u); the conditions stay in both, only the text is dropped."""
        time = (timestep / TIMESTEPS).float().expand(len(latents)).to(latents.device)
        segments = [*conditions, target(latents, time)]
        outputs = [self.transformer(segments, text, attention_kwargs=attention_kwargs)[0].float() for text in texts]
        if len(outputs) == 1:
            return outputs[0]
        with_text, without = outputs
        return without + guidance * (with_text - without)

    def _codec(self) -> WanCodec:
        return WanCodec(self.vae, self._execution_device)

    @contextmanager
    def _decoding_bar(self, frames: int) -> Iterator[None]:
        """A progress bar over the codec's latent frames, which it decodes one by one."""
        with self.progress_bar(total=frames) as bar:
            bar.set_description("decoding")
            hook = self.vae.decoder.register_forward_hook(lambda *_: bar.update() and None)
            try:
                yield
            finally:
                hook.remove()


def check_components(pipe: CanvasPipeline, name: str) -> None:
    """Refuses models that are Wan but not text-to-video with one transformer.

    Raises:
        InputError: it says what the model is and which ones work.
    """
    rule = "use a text-to-video model with one transformer, as Wan2.1-T2V-1.3B or Wan2.2-TI2V-5B"
    config = pipe.transformer.config
    if config.in_channels != pipe.vae.config.z_dim:
        channels = f"{config.in_channels} input channels for {pipe.vae.config.z_dim} latent channels"
        raise InputError(f"model {name!r} has {channels}, so it is an image-to-video model; {rule}")
    if config.image_dim is not None:
        raise InputError(f"model {name!r} expects image embeddings; {rule}")


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    timings[stage] = timings.get(stage, 0.0) + time.perf_counter() - began
