"""A diffusers pipeline over Wan's components: what both front-ends load, and how they denoise and decode."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from diffusers import AutoencoderKLWan, DiffusionPipeline, SchedulerMixin
from diffusers.loaders import WanLoraLoaderMixin
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, UMT5EncoderModel

from vgen import checks
from vgen.backbone.codec import WanCodec
from vgen.backbone.conditioning import Conditioning, channels_read
from vgen.backbone.known import Known, Velocity, velocity_of
from vgen.backbone.lora import put_lora
from vgen.backbone.lora_files import Lora, read_lora
from vgen.backbone.segments import Segment
from vgen.backbone.shapes import Strides
from vgen.backbone.text import TextLimit, encode_text, text_length
from vgen.backbone.transformer import TIMESTEPS, VideoTransformer
from vgen.errors import InputError
from vgen.files import writing
from vgen.models import EGO, STATE, TrainingRange, forget_places, join_own, loading, part_own, resolve
from vgen.notices import warn_once

logger = logging.getLogger(__name__)

# What the loading of each component takes, as of diffusers and the hub
HUB = (
    "dtype",
    "torch_dtype",
    "revision",
    "cache_dir",
    "token",
    "variant",
    "local_files_only",
    "force_download",
    "proxies",
)


class VideoPipeline(DiffusionPipeline, WanLoraLoaderMixin):
    """Loads any Wan text-to-video folder of diffusers (2.1 1.3B and 14B, 2.2 TI2V-5B) and nano. What it saves is a Wan
    folder again, which diffusers' own `WanPipeline` loads.

    Args:
        tokenizer, text_encoder, vae, transformer, scheduler: Wan's components.
        default_steps, default_guidance: what a call without these values uses (the paper's, unless the folder says
            otherwise).
        default_frames, default_height, default_width: what the model was trained on; `vgen infer` offers it.
        default_prompt: what is read for pictures that come without a prompt, see `vgen.canvas.prompt`; "" is nothing.

    Attributes:
        remembers_conditions: whether conditions are computed once for all steps, where their attention is independent;
            `vgen.backbone.known.Known.of_text` tells what memory it takes.
    """

    model_cpu_offload_seq = "text_encoder->transformer->vae"
    _callback_tensor_inputs: ClassVar[list[str]] = ["latents"]
    remembers_conditions = True
    _interrupt = False
    _folder: Path | None = None  # that it was opened from
    trained: TrainingRange | None = None  # what the model was trained on, where its folder says

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
        default_prompt: str = "",
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
        self.register_to_config(default_prompt=default_prompt)

    @classmethod
    def from_pretrained(cls, model: str | PathLike[str], **kwargs: Any) -> Self:
        """Loads "nano", a local diffusers folder or a hub id; keywords as in diffusers (`dtype`, `revision` …), and
        `condition_attention`, "joint" or "independent", for a transformer that is to be trained for the other one.

        Raises:
            InputError: there is no such model, or it is not a Wan text-to-video model with one transformer.
        """
        folder = resolve(model)
        hub = {key: kwargs[key] for key in HUB if key in kwargs}
        attention = kwargs.pop("condition_attention", None)
        choices = {} if attention is None else {"condition_attention": attention}
        with loading(model):
            transformer = kwargs.pop("transformer", None) or VideoTransformer.from_pretrained(
                folder, subfolder="transformer", **hub, **choices
            )
            pipe: Self = super().from_pretrained(folder, transformer=transformer, **kwargs)
            copy(pipe.scheduler).set_timesteps(2)  # which only then reads what its configuration says
        check_components(pipe, str(model))
        if Path(folder).is_dir():
            pipe._folder = Path(folder).resolve()
            pipe.trained = TrainingRange.read(folder, str(model))
        return pipe

    def save_pretrained(
        self, folder: str | PathLike[str], *args: Any, parts: Sequence[str] = (EGO, STATE), **kwargs: Any
    ) -> None:
        """Writes a Wan folder, as diffusers does, in which nothing tells of places on this machine.

        Args:
            folder: may exist; files of the same names are replaced.
            args, kwargs: as in diffusers (`safe_serialization`, `variant`, `max_shard_size`).
            parts: folders beside the components that go along, where the model was opened from a folder that has
                them: as they are there, but a front-end that this pipeline holds as it is held.

        Raises:
            InputError: the folder cannot be written, or it is to be pushed to the hub from here.
        """
        if kwargs.pop("push_to_hub", False):
            raise InputError("push_to_hub=True leaves out parts of the model; upload the saved folder with `hf upload`")
        with writing(folder, kept="", folder=folder):
            super().save_pretrained(folder, *args, **kwargs)
            for part in parts:
                source, target = Path(self._folder or "", part), Path(folder, part)
                if self._folder and part not in self.components and source.is_dir() and source != target.resolve():
                    shutil.copytree(source, target, dirs_exist_ok=True)
            forget_places(folder)
            if self._folder and (known := TrainingRange.read(self._folder)):
                known.write(folder)

    def to_json_string(self) -> str:
        """The pipeline's index: it names `WanPipeline`, and keeps apart what that does not know, so that diffusers
        opens the folder by itself."""
        index = json.loads(super().to_json_string()) | {"_class_name": "WanPipeline"}
        own = part_own(index, [key for key in index if key.startswith("default_")])
        return json.dumps(own, indent=2, sort_keys=True) + "\n"

    @classmethod
    def extract_init_dict(cls, config_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """What diffusers reads of an index, and what it would pass over."""
        return super().extract_init_dict(join_own(config_dict), **kwargs)

    def load_lora_weights(
        self,
        source: str | PathLike[str] | dict[str, Tensor] | Lora,
        adapter_name: str | None = None,
        hotswap: bool = False,
        *,
        weight_name: str | None = None,
        subfolder: str | None = None,
        **hub: Any,
    ) -> None:
        """Loads a LoRA, as diffusers does, and of every naming: diffusers, peft, ComfyUI, kohya, DiffSynth.

        Args:
            source: a file, a folder, a hub id, or weights that were read.
            adapter_name, hotswap: as in diffusers.
            weight_name, subfolder: which file of a folder or of a hub id.
            hub: as `hf_hub_download` takes it (`revision`, `token`, `cache_dir` ...).

        What the model's captions were counts no longer, also when the LoRA is unloaded: load the model anew then.

        Raises:
            InputError: there is no such file, or a weight of it cannot be applied to this transformer.
        """
        if hub.pop("load_into_transformer_2", False):
            raise InputError(
                "load_into_transformer_2=True needs a second transformer, and this model has one; leave it out"
            )
        for name in ("low_cpu_mem_usage", "use_safetensors"):  # diffusers takes them, and here they change nothing
            hub.pop(name, None)
        if isinstance(source, dict):
            source = Lora("the given weights", source)
        elif not isinstance(source, Lora):
            source = read_lora(source, weight_name, subfolder or "", **hub)
        by_model, by_layer, _ = self._optionally_disable_offloading(self)  # a weight that waits elsewhere is no weight
        try:
            put_lora(self.transformer, source, adapter_name, hotswap=hotswap, _pipeline=self)
            self.trained = self.trained and self.trained.adapted()
            self.register_to_config(default_prompt="")  # what its captions say is not known
        finally:
            if by_model:
                self.enable_model_cpu_offload()
            elif by_layer:
                self.enable_sequential_cpu_offload()

    @property
    def label(self) -> str:
        """The model as a message names it: by its folder, or its run's."""
        if self._folder is None:
            return str(self.name_or_path or "this model")
        return self._folder.name if self._folder.name != "model" else f"{self._folder.parent.name}/model"

    @property
    def temporal_stride(self) -> int:
        """N: a video has 1 + N·k frames."""
        return self.strides.temporal

    @property
    def size_multiple(self) -> int:
        """Height and width are multiples of it: the codec's spatial stride times the transformer's patch."""
        return self.strides.multiple

    @property
    def strides(self) -> Strides:
        """How codec and transformer cut videos up."""
        return Strides.of(self.vae.config, self.transformer.config)

    def latent_shape(self, batch: int, frames: int, height: int, width: int) -> tuple[int, int, int, int, int]:
        """(B, C, F, h, w) of the latents of B videos of T x H x W.

        Raises:
            InputError: an illegal frame count or size.
        """
        latent = self.strides.latent(frames, height, width)
        return batch, self.codec.channels, latent.frames, latent.height, latent.width

    @property
    def interrupt(self) -> bool:
        """Whether the last call was ended before its last step, as in diffusers."""
        return self._interrupt

    @property
    def codec(self) -> WanCodec:
        """The VAE as a codec, on the device where it runs."""
        return WanCodec(self.vae, self._execution_device)

    @torch.no_grad()
    def sample(
        self,
        conditions: Conditioning | Sequence[Segment] | Segment | None,
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
            conditions: what is given, or its segments, with a batch of B; None for text to video.
            prompts, negative_prompts: B sentences each; the negative ones are "" by default.
            frames, height, width: T, H, W of the video.
            timings: the seconds of each stage are added to it.

        Raises:
            InputError: an illegal frame count or size.
        """
        shape = self.latent_shape(len(prompts), frames, height, width)
        timings = {} if timings is None else timings
        guidance = self.config.default_guidance
        if guidance_scale is not None:
            guidance = checks.real("guidance_scale", guidance_scale)
        if not isinstance(conditions, Conditioning):
            conditions = Conditioning([conditions] if isinstance(conditions, Segment) else list(conditions or []))
        if guidance <= 1 and any(negative_prompts or ()):
            told = "the negative prompt has no effect; use a guidance above 1"
            warn_once(logger, f"with guidance={guidance:g}, which is none, {told}")
        with timed(timings, "text"):
            texts = [self.embed(prompts)]
            if guidance > 1:
                texts.append(self.embed(negative_prompts or [""] * len(prompts)))
        with timed(timings, "denoise"):
            noise = randn_tensor(shape, generator, self._execution_device, torch.float32)
            known = [
                Known.of_text(
                    self.transformer, text, conditions.segments, None, attention_kwargs, self.remembers_conditions
                )
                for text in texts
            ]
            velocity = velocity_of(
                self.transformer, known, guidance, attention_kwargs=attention_kwargs, conditioning=conditions
            )
            latents = self.denoise(noise, velocity, num_inference_steps, callback_on_step_end)
            latents = conditions.overwrite(latents)
            del known, velocity  # with what they remember, before the decoder needs the memory
        with timed(timings, "decode"):
            return self.decode(latents)

    def embed(self, prompts: Sequence[str]) -> Tensor:
        """Text embeddings [B, Lt, D] of B prompts, in the transformer's type. What is cut off a prompt is told.

        Raises:
            InputError: a prompt is no text, or not one of UTF-8.
        """
        length = text_length(self.tokenizer)
        TextLimit.of_encoder(self.tokenizer, length).warn(prompts)
        states = encode_text(self.tokenizer, self.text_encoder, prompts, length, self._execution_device)
        return states.to(self.transformer.dtype)

    def denoise(
        self,
        latents: Tensor,
        velocity: Velocity,
        steps: int | None = None,
        callback_on_step_end: Callable[..., dict[str, Any]] | None = None,
    ) -> Tensor:
        """Noise [B, C, F, h, w] to latents of the same shape, by the scheduler.

        Args:
            velocity: of noisy latents at their diffusion time.
            steps: the model's default when None.
            callback_on_step_end: as in diffusers, with the tensor "latents"; where it sets `pipe._interrupt`, no step
                follows, and what is there is returned.

        Raises:
            InputError: `steps` is not positive.
        """
        steps = self.config.default_steps if steps is None else checks.whole("num_inference_steps", steps, 1, 1000)
        self._interrupt = False
        self.scheduler.set_timesteps(steps, device=self._execution_device)
        with self.progress_bar(total=len(self.scheduler.timesteps)) as bar:
            bar.set_description("denoising")
            for step, timestep in enumerate(self.scheduler.timesteps):
                noise_level = (timestep / TIMESTEPS).float().expand(len(latents)).to(latents.device)
                latents = self.scheduler.step(velocity(latents, noise_level), timestep, latents, return_dict=False)[0]
                if callback_on_step_end:
                    changed = callback_on_step_end(self, step, timestep, {"latents": latents})
                    latents = changed.get("latents", latents)
                bar.update()
                if self._interrupt:
                    break
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [B, C, F, h, w] to video [B, 3, T, H, W] in [-1, 1], with a progress bar."""
        with self._decoding_bar(latents.shape[2]):
            return self.codec.decode(latents)

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


def check_components(pipe: VideoPipeline, name: str) -> None:
    """Refuses models that are Wan but not text-to-video with one transformer.

    Raises:
        InputError: it says which weights are missing, or what the model is and which ones work.
    """
    for part, module in pipe.components.items():
        if isinstance(module, nn.Module) and (missing := [key for key, p in module.named_parameters() if p.is_meta]):
            raise InputError(f"model {name!r} lacks weights of its {part}: {', '.join(missing[:3])}; it is damaged")
    rule = "use a text-to-video model with one transformer, as Wan2.1-T2V-1.3B or Wan2.2-TI2V-5B"
    config = pipe.transformer.config
    if config.in_channels != channels_read(config.paradigm, pipe.vae.config.z_dim):
        channels = f"{config.in_channels} input channels for {pipe.vae.config.z_dim} latent channels"
        raise InputError(f"model {name!r} has {channels}, so it is an image-to-video model; {rule}")
    if config.image_dim is not None:
        raise InputError(f"model {name!r} expects image embeddings; {rule}")


@contextmanager
def timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Adds the seconds that a stage takes to those of the others; on a GPU, until that has done what it was given."""
    began = time.perf_counter()
    yield
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch's
        torch.cuda.synchronize()
    timings[stage] = timings.get(stage, 0.0) + time.perf_counter() - began
