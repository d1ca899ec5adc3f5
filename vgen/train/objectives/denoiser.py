"""The video model that the canvas and the ego objective train: its parts, and its flow-matching loss."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, SchedulerMixin
from torch import Tensor
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerBase, UMT5Config, UMT5EncoderModel

from vgen import checks
from vgen.backbone.codec import WanCodec
from vgen.backbone.conditioning import Conditioning
from vgen.backbone.on_paper import on_paper
from vgen.backbone.pruning import MASKING
from vgen.backbone.segments import target
from vgen.backbone.shapes import Strides
from vgen.backbone.text import TextLimit, encode_text, text_length
from vgen.backbone.transformer import BlockAdapter, VideoTransformer
from vgen.canvas.paradigms import PARADIGMS
from vgen.canvas.pipeline import CanvasPipeline
from vgen.data.cache.shares import worker_count
from vgen.data.cache.texts import CachedTextEncoder, TextCache
from vgen.errors import InputError
from vgen.models import component_folder, join_own, loading, read_config, resolve
from vgen.train.lora import LoraConfig, add_lora
from vgen.train.objectives.building import blank, check_keywords, frozen_codec
from vgen.train.objectives.reshape import for_paradigm, reshaped


@dataclass
class DenoiserConfig:
    """A video model: `pretrained` (a diffusers folder to fine-tune), or a codec and sizes to begin with."""

    latents: str = "data/cache"  # folder below which encoded clips are kept
    in_memory: bool = False  # frames that are decoded once, and latents, are all read into memory before the first step
    latent_workers: int = checks.within(2, 1)  # processes that encode them on a CPU; with GPUs it is one for each
    pretrained: str | None = None
    codec: str | None = None  # folder of an AutoencoderKLWan
    transformer: dict[str, Any] = field(default_factory=dict)  # keywords of WanTransformer3DModel; with `pretrained`,
    # those that shall differ: a model of that shape then starts from what fits of it (see reshape.py)
    text_encoder: dict[str, Any] = field(default_factory=dict)  # keywords of UMT5Config, with byte-level ByT5 tokens
    lora: LoraConfig = field(default_factory=LoraConfig)  # on a pretrained transformer
    activation_checkpointing: bool = False  # of the blocks: computed again in the backward pass rather than kept
    text_length: int = checks.within(64, 1)  # tokens (bytes) of a sentence
    condition_attention: str | None = None  # joint or independent; none: the pretrained model's own, or joint
    paradigm: str | None = (
        None  # how conditions reach the model, see vgen/canvas/paradigms; none: its own, or in_context
    )
    attention: str = "native"  # kernel, by diffusers' name: native, xformers, flash, _native_math ...
    compile: bool = False  # torch.compile of the transformer's blocks: a minute at the start, then faster steps
    default_steps: int = checks.within(20, 1, 1000)  # what the exported pipeline uses when a call does not say
    default_guidance: float = checks.within(1.0, 0, 100)
    default_prompt: str = ""  # what its captions call a picture in which nothing moves, see vgen/canvas/prompt.py


@dataclass(frozen=True)
class Noise:
    """What targets are mixed with: noise ε of the target's shape, and diffusion times s [B]."""

    values: Tensor
    time: Tensor

    @classmethod
    def drawn(cls, latent: Tensor, mean: float, scale: float) -> Self:
        """Random noise for latents [B, ...]; the time is the sigmoid of a normal variable."""
        normal = torch.randn(len(latent), device=latent.device)
        return cls(torch.randn_like(latent), torch.sigmoid(mean + scale * normal))

    @classmethod
    def of_seed(cls, latent: Tensor, seed: int) -> Self:
        """The noise of a seed for latents [B, ...], at times spread evenly over the batch."""
        values = torch.randn(latent.shape, generator=torch.Generator().manual_seed(seed))
        return cls(values.to(latent.device), even_times(len(latent)).to(latent.device))


@dataclass(frozen=True)
class VideoDenoiser:
    """A video model as it is trained: the codec is frozen, and the transformer learns to tell the velocity ε - z.

    A text encoder that starts from nothing is trained along. A pretrained one is frozen, so its answers are cached.

    Attributes:
        codec_folder: of the VAE, by which encoded clips are known.
    """

    vae: AutoencoderKLWan
    codec_folder: Path
    text_encoder: UMT5EncoderModel | CachedTextEncoder
    transformer: VideoTransformer
    tokenizer: PreTrainedTokenizerBase
    scheduler: SchedulerMixin

    @classmethod
    def build(cls, config: DenoiserConfig) -> Self:
        """The model of a recipe, or on paper its shapes alone.

        Raises:
            InputError: a part cannot be loaded, or two choices do not go together.
        """
        if (config.pretrained is None) == (config.codec is None):
            raise InputError("objective.pretrained and objective.codec: give one of the two")
        if config.lora.rank and config.pretrained is None:
            raise InputError(f"objective.lora.rank={config.lora.rank} needs objective.pretrained to adapt; or use 0")
        model = cls._new(config) if config.pretrained is None else cls._tuned(config, config.pretrained)
        if config.paradigm is not None:
            model = replace(model, transformer=_of_paradigm(model.transformer, config.paradigm, config.lora.rank))
        if not on_paper():  # on which nothing is computed
            _choose_attention(model.transformer, config.attention)
        if config.lora.rank:
            add_lora(model.transformer, config.lora)
        if config.activation_checkpointing:
            model.transformer.enable_gradient_checkpointing()
        if config.compile and not on_paper():
            _compile(model.transformer)
        model.vae.requires_grad_(False)
        return model

    @classmethod
    def _tuned(cls, config: DenoiserConfig, pretrained: str) -> Self:
        """A pretrained model, with what the recipe has otherwise."""
        folder, attention = resolve(pretrained), config.condition_attention
        model = cls._outlined(folder) if on_paper() else cls._pretrained(folder, attention)
        check_keywords(config.transformer, VideoTransformer, "objective.transformer")
        if config.lora.rank:
            _check_lora(model.transformer, config, folder)
        if config.transformer:
            model = replace(model, transformer=reshaped(model.transformer, config.transformer))
        return model

    @classmethod
    def _pretrained(cls, model: str, attention: str | None) -> Self:
        pipe = CanvasPipeline.from_pretrained(model, text_encoder=None, condition_attention=attention)
        text_encoder = CachedTextEncoder(component_folder(model, "text_encoder"))
        folder = component_folder(model, "vae")
        return cls(pipe.vae, folder, text_encoder, pipe.transformer, pipe.tokenizer, pipe.scheduler)

    @classmethod
    def _outlined(cls, model: str) -> Self:
        """A pretrained model on paper; of one on the hub, no weights are downloaded."""
        with loading(model):
            tokenizer = AutoTokenizer.from_pretrained(model, subfolder="tokenizer")
        text_encoder, folder = CachedTextEncoder(Path(model, "text_encoder")), Path(model, "vae")
        vae, transformer = blank(AutoencoderKLWan, model, "vae"), blank(VideoTransformer, model, "transformer")
        return cls(vae, folder, text_encoder, transformer, tokenizer, FlowMatchEulerDiscreteScheduler())

    @classmethod
    def _new(cls, config: DenoiserConfig) -> Self:
        assert config.codec is not None, "where nothing is pretrained, a codec is named"
        check_keywords(config.transformer, VideoTransformer, "objective.transformer")
        vae = frozen_codec(config.codec).vae
        channels = {"in_channels": vae.config.z_dim, "out_channels": vae.config.z_dim}
        text_encoder = UMT5EncoderModel(UMT5Config(**config.text_encoder))
        own = {"text_dim": text_encoder.config.d_model, "condition_attention": config.condition_attention or "joint"}
        transformer = VideoTransformer(**channels | own | config.transformer)
        tokenizer = ByT5Tokenizer(model_max_length=config.text_length)
        scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0)
        return cls(vae, Path(config.codec), text_encoder, transformer, tokenizer, scheduler)

    @cached_property
    def codec(self) -> WanCodec:
        """The VAE as a codec, which runs where the VAE lies."""
        return WanCodec(self.vae)

    @property
    def device(self) -> torch.device:
        """Where the model lies now."""
        return self.vae.device

    @cached_property
    def strides(self) -> Strides:
        """How codec and transformer cut videos up."""
        return Strides.of(self.vae.config, self.transformer.config)

    @property
    def text_tokens(self) -> int:
        """How many tokens the transformer reads of each sentence."""
        return text_length(self.tokenizer)

    def cached(self) -> dict[str, int]:
        """Parameters of each component that training does not hold, since its answers are cached."""
        if not isinstance(self.text_encoder, CachedTextEncoder):
            return {}
        folder = self.text_encoder.folder
        settings = read_config(str(folder.parent), f"{folder.name}/config.json")
        with torch.device("meta"):
            parts = UMT5EncoderModel(UMT5Config(**settings)).parameters()
        return {"text_encoder": sum(parameter.numel() for parameter in parts)}

    def prepare_texts(self, captions: Sequence[str], config: DenoiserConfig) -> None:
        """Embeds captions where the encoder is frozen, or tells which are cut off where it is trained along."""
        if isinstance(self.text_encoder, CachedTextEncoder):
            folder, workers = self.text_encoder.folder, worker_count(config.latent_workers)
            known = TextCache.of_captions(captions, folder, self.tokenizer, self.text_tokens, config.latents, workers)
            self.text_encoder.cache = known
        else:
            TextLimit.of_encoder(self.tokenizer, self.text_tokens).warn_of_captions(captions)

    def text(self, sentences: Sequence[str]) -> Tensor:
        """Embeddings [B, Lt, D] of B sentences, in the transformer's type. On a GPU, or where they are cached, one that
        comes several times is read once; what is cached is put together on the CPU, so that no step waits for it."""
        cached = isinstance(self.text_encoder, CachedTextEncoder)
        # Gradients that are summed in another order are rounded otherwise: on a CPU a run stays what it was.
        merged = cached or self.device.type != "cpu"
        unique = list(dict.fromkeys(sentences)) if merged else list(sentences)
        place = torch.device("cpu") if cached else None
        states = encode_text(self.tokenizer, self.text_encoder, unique, self.text_tokens, place)
        if len(unique) < len(sentences):
            rows = {sentence: row for row, sentence in enumerate(unique)}
            states = states[torch.tensor([rows[sentence] for sentence in sentences]).to(states.device)]
        return states.to(self.device, self.transformer.dtype)

    def mean_error(self, latent: Tensor, noise: Noise, given: Conditioning, sentences: Sequence[str]) -> Tensor:
        """Mean [B] of `squared_error` over what is made, on the latent grid, with B sentences."""
        return given.mean(self.squared_error(latent, noise, given, self.text(sentences)))

    def squared_error(
        self,
        latent: Tensor,
        noise: Noise,
        given: Conditioning,
        text: Tensor,
        t: Tensor | None = None,
        adapter: BlockAdapter | None = None,
    ) -> Tensor:
        """Squared error of the predicted velocity, on target tokens alone: [B, C, F, h, w], float32.

        Args:
            latent: [B, C, F, h, w] of the target, float32.
            noise: that it is mixed with.
            given: what is known, clean or nearly so.
            text: [B, Lt, D]; see `text`.
            t: [B, F] positions of the target; None: the latent grid.
            adapter: what acts on the tokens after each block.
        """
        noisy = target(given.enter(interpolate(latent, noise.values, noise.time)), noise.time, t)
        (velocity,) = self.transformer([*given.segments, noisy], text, adapter=adapter)
        return (velocity.float() - (noise.values - latent)).square()

    def pipeline(self, config: DenoiserConfig, size: tuple[int, int], frames: int) -> CanvasPipeline:
        """The model as it is used, with what a call uses that does not say: (H, W) and the number of frames."""
        pipe = CanvasPipeline(
            tokenizer=self.tokenizer,
            text_encoder=self.text_encoder,
            vae=self.vae,
            transformer=self.transformer,
            scheduler=self.scheduler,
            default_steps=config.default_steps,
            default_guidance=config.default_guidance,
            default_frames=frames,
            default_height=size[0],
            default_width=size[1],
            default_prompt=config.default_prompt,
        )
        pipe.register_to_config(text_encoder=("transformers", "UMT5EncoderModel"))  # also where a cache stands for it
        return pipe

    def save_components(self, folder: Path) -> None:
        """Writes every part below a folder, as diffusers names them."""
        for name in ("tokenizer", "text_encoder", "vae", "transformer", "scheduler"):
            getattr(self, name).save_pretrained(folder / name)


def _of_paradigm(transformer: VideoTransformer, paradigm: str, rank: int) -> VideoTransformer:
    """The transformer, to be trained for a paradigm, which its configuration then says; a LoRA has none."""
    name = checks.choice("objective.paradigm", paradigm, PARADIGMS)
    if rank and name != transformer.config.paradigm:
        known = f"the file of a LoRA does not tell of another paradigm than {transformer.config.paradigm}"
        raise InputError(
            f"objective.paradigm={name}: {known}, the model's own; leave it out, or use objective.lora.rank=0"
        )
    return for_paradigm(transformer, name)


def _check_lora(transformer: VideoTransformer, config: DenoiserConfig, folder: str) -> None:
    """Refuses a LoRA of a model that is otherwise than the base in a folder: its file does not tell."""
    base = dict(transformer.config) | {"condition_attention": "joint"}  # of which stock Wan says nothing
    base |= join_own(read_config(folder, "transformer/config.json"))
    asked = {f"transformer.{key}": value for key, value in config.transformer.items()}
    asked |= {"condition_attention": config.condition_attention} if config.condition_attention else {}
    for key, value in asked.items():
        own = base.get(key.removeprefix("transformer."))
        if (list(value) != list(own)) if isinstance(own, list | tuple) else value != own:
            known = f"the file of a LoRA does not tell of it, and the base has {str(own).lower()}"
            raise InputError(f"objective.{key}={str(value).lower()}: {known}; use objective.lora.rank=0")


def _choose_attention(transformer: VideoTransformer, kernel: str) -> None:
    if transformer.config.prune_conditions and kernel not in MASKING:
        rule = f"takes no mask, which prune_conditions needs; use one of {', '.join(MASKING)}"
        raise InputError(f"objective.attention={kernel} {rule}")
    if kernel == "native":  # which it is from the start
        return
    if kernel == "_native_math":  # in bfloat16 under autocast, as all other products; torch's own choice is float32
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)  # of CPUs too: up to a third of a step
    try:
        transformer.set_attention_backend(kernel)
    except (ValueError, RuntimeError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"objective.attention={kernel} cannot run here: {reason}") from error


def _compile(transformer: VideoTransformer) -> None:
    """Compiles the blocks, once for all numbers of tokens."""
    compilers = [os.environ.get("CXX", ""), "c++", "g++", "clang++"]
    if not torch.cuda.is_available() and not any(map(shutil.which, compilers)):
        raise InputError("objective.compile=true needs a C++ compiler on the CPU and there is none; use false")
    transformer.compile_repeated_blocks(dynamic=True)


def interpolate(latent: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """z_s = (1-s)·z + s·ε for diffusion times s [B]."""
    s = time.view(-1, *[1] * (latent.ndim - 1))
    return (1 - s) * latent + s * noise


def even_times(count: int) -> Tensor:
    """Diffusion times [count], spread evenly over (0, 1)."""
    return (torch.arange(count) + 0.5) / count
