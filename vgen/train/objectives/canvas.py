"""Training the canvas: flow matching on target tokens, with in-context conditions (VideoCanvas, section 4)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn
from transformers import ByT5Tokenizer, UMT5Config, UMT5EncoderModel

from vgen.backbone.codec import WanCodec, load_vae
from vgen.backbone.encoding import encode_clip, encode_frames
from vgen.backbone.segments import Segment, target
from vgen.backbone.shapes import LatentShape, Strides, latent_frames
from vgen.backbone.text import TextLimit, encode_text, text_length
from vgen.backbone.transformer import BlockAdapter, VideoTransformer
from vgen.canvas.pipeline import CanvasPipeline
from vgen.canvas.placed import place
from vgen.canvas.report import contact_sheet
from vgen.canvas.spec import Canvas
from vgen.data.cache.shares import worker_count
from vgen.data.cache.texts import CachedTextEncoder, TextCache
from vgen.data.clips import Clips
from vgen.data.encoded import EncodedClips
from vgen.data.opening import DataConfig, open_data
from vgen.errors import InputError
from vgen.media.pixels import to_unit
from vgen.media.writing import write_video
from vgen.models import component_folder, forget_places, resolve
from vgen.train.lora import LoraConfig, add_lora, save_lora
from vgen.train.objectives.base import Batch, Objective
from vgen.train.objectives.outline import Outline, canvas_outline, check_choices, clip_lengths, read_canvas
from vgen.train.objectives.plans import Plan, PlanConfig, draw_given, draw_plan

NOISE_LEVELS = 4  # bands of diffusion time whose losses are logged apart


@dataclass
class CanvasConfig:
    """What a canvas run needs: `pretrained` (a diffusers folder to fine-tune), or a codec and sizes to begin with."""

    name: str = "canvas"
    data: DataConfig = field(default_factory=DataConfig)
    latents: str = "data/cache"  # folder below which encoded clips are kept
    latent_workers: int = 2  # processes that encode them on a CPU; with GPUs it is one for each
    pretrained: str | None = None
    codec: str | None = None  # folder of an AutoencoderKLWan
    transformer: dict[str, Any] = field(default_factory=dict)  # keywords of WanTransformer3DModel
    text_encoder: dict[str, Any] = field(default_factory=dict)  # keywords of UMT5Config, with byte-level ByT5 tokens
    lora: LoraConfig = field(default_factory=LoraConfig)  # on a pretrained transformer
    activation_checkpointing: bool = False  # of the blocks: computed again in the backward pass rather than kept
    text_length: int = 64  # tokens (bytes) of a sentence
    condition_attention: str | None = None  # joint or independent; none: the pretrained model's own, or joint
    attention: str = "native"  # kernel, by diffusers' name: native, xformers, flash, _native_math ...
    compile: bool = False  # torch.compile of the transformer's blocks: a minute at the start, then faster steps
    frames: Any = 17  # T of a clip, 1 + N·k; or several, such as [17, 49, 77]: each video gets the longest that fits
    clips: int | None = None  # spread evenly over all places where one may start; none: one after another in each video
    batch: int = 32  # clips per rank
    text_dropout: float = 0.1  # share of sentences replaced by the empty one, for classifier-free guidance
    time_mean: float = 0.0  # diffusion time is the sigmoid of a normal variable: the log of the schedule's shift ...
    time_scale: float = 1.0  # ... and its deviation
    validation_clips: int = 64
    conditions: PlanConfig = field(default_factory=PlanConfig)
    default_steps: int = 20  # what the exported pipeline uses when a call does not say
    default_guidance: float = 1.0


class CanvasObjective(Objective):
    """Velocity matching: z_s = (1-s)·z + s·ε, the model predicts ε - z on the target; conditions are clean.

    The codec is frozen. Targets come from a latent cache; conditions are cropped and encoded as they are drawn, so
    that no crop comes twice. A text encoder that starts from nothing is trained along, a pretrained one is frozen.
    """

    Config = CanvasConfig
    needs_whole_weights = False

    def __init__(self, config: CanvasConfig, seed: int) -> None:
        super().__init__()
        check_choices(config)
        self.config, self.seed = config, seed
        self.prompts: set[str] = set()  # of samples, asked for before the captions are embedded
        torch.manual_seed(seed)
        if config.pretrained is not None:
            self._adopt(resolve(config.pretrained))
        else:
            self._begin()
        self._choose_attention()
        if config.lora.rank:
            add_lora(self.transformer, config.lora)
        if config.activation_checkpointing:
            self.transformer.enable_gradient_checkpointing()
        if config.compile:
            self._compile()
        self.codec = WanCodec(self.vae.requires_grad_(False))
        self.lengths = clip_lengths(config, self.codec.temporal_stride)

    def _adopt(self, model: str) -> None:
        attention = self.config.condition_attention
        # The text encoder is frozen, so its answers are cached.
        pipe = CanvasPipeline.from_pretrained(model, text_encoder=None, condition_attention=attention)
        self.codec_folder = component_folder(model, "vae")
        self.vae, self.transformer, self.tokenizer = pipe.vae, pipe.transformer, pipe.tokenizer
        self.text_encoder = CachedTextEncoder(component_folder(model, "text_encoder"))
        self.scheduler = pipe.scheduler

    def _begin(self) -> None:
        config = self.config
        self.codec_folder = Path(config.codec)
        try:
            self.vae = load_vae(config.codec)
        except InputError as error:
            raise InputError(f"objective.codec={config.codec} is no folder of an AutoencoderKLWan: {error}") from error
        channels = {"in_channels": self.vae.config.z_dim, "out_channels": self.vae.config.z_dim}
        self.text_encoder = UMT5EncoderModel(UMT5Config(**config.text_encoder))
        text = {"text_dim": self.text_encoder.config.d_model}
        conditions = {"condition_attention": config.condition_attention or "joint"}
        self.transformer = VideoTransformer(**channels | text | conditions | config.transformer)
        self.tokenizer = ByT5Tokenizer(model_max_length=config.text_length)
        self.scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0)

    def _choose_attention(self) -> None:
        if self.config.attention == "native":  # which it is from the start
            return
        try:
            self.transformer.set_attention_backend(self.config.attention)
        except (ValueError, RuntimeError, ImportError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"objective.attention={self.config.attention} cannot run here: {reason}") from error

    def split_sequence(self, size: int) -> None:
        """As in the base class; by the transformer."""
        self.transformer.split_sequence(size)

    def _compile(self) -> None:
        """Compiles the blocks, once for all numbers of tokens."""
        compilers = [os.environ.get("CXX", ""), "c++", "g++", "clang++"]
        if not torch.cuda.is_available() and not any(map(shutil.which, compilers)):
            raise InputError("objective.compile=true needs a C++ compiler on the CPU and there is none; use false")
        self.transformer.compile_repeated_blocks(dynamic=True)

    @classmethod
    def outline(cls, config: CanvasConfig) -> Outline:
        """As in the base class."""
        return canvas_outline(config)

    def prepare(self) -> None:
        """Opens the data, sorts them into buckets, and encodes the clips, trained and held-out ones apart."""
        self.data = open_data(self.config.data, self.lengths, self.strides.multiple, report=self.bad_data)
        self.train_clips = self._encoded(self.data.train, self.config.clips)
        self.held_clips = self._encoded(self.data.held_out, self.config.validation_clips)
        if not len(self.train_clips):
            raise InputError(f"no clip is left to train on: {self.data.bad.summary()}")
        captions = [*self.train_clips.captions, *self.held_clips.captions, *self.prompts]
        if isinstance(self.text_encoder, CachedTextEncoder):
            self.text_encoder.cache = self._embedded(captions, self.text_encoder.folder)
        else:
            TextLimit.of_encoder(self.tokenizer, text_length(self.tokenizer)).warn_of_captions(captions)

    def _embedded(self, captions: Sequence[str], folder: Path) -> TextCache:
        workers = worker_count(self.config.latent_workers)
        length = text_length(self.tokenizer)
        return TextCache.of_captions(captions, folder, self.tokenizer, length, self.config.latents, workers)

    def _encoded(self, clips: Clips, count: int | None) -> EncodedClips:
        config = self.config
        numbers = clips.windows() if count is None else clips.spread(count)
        workers = worker_count(config.latent_workers)
        bad = self.data.bad
        return EncodedClips(clips, numbers, self.codec_folder, config.latents, workers, bad, config.batch, self.seed)

    @property
    def strides(self) -> Strides:
        """How codec and transformer cut videos up."""
        return Strides.of(self.vae.config, self.transformer.config)

    def data_summary(self) -> str:
        """As in the base class."""
        return self.data.bad.summary()

    def batch(self, step: int, part: int, parts: int, progress: float) -> Batch:
        """Clips of one bucket, in an order shuffled anew for every epoch, and what is given of them; see `_batch`."""
        bucket, clips = self.train_clips.deal(step, part, parts)
        # The plan is the same in all parts of a step, so that no rank waits for another's longer sequence.
        frames = self.train_clips.buckets[bucket].frames
        plan = draw_plan(self.config.conditions, frames, np.random.default_rng((self.seed, step)))
        return self._batch(self.train_clips, bucket, clips, plan, np.random.default_rng((self.seed, step, part + 1)))

    def _batch(
        self, encoded: EncodedClips, place: int, clips: list[int], plan: Plan, rng: np.random.Generator
    ) -> Batch:
        """{"latent": [B, C, F, h, w], "pixels": uint8 [B, K, 3, H, W], "masks": [B, K, 1, H, W], "frames": [B, K],
        "as_clip": whether these K are encoded as one clip, "text": B sentences, "clips": B names}."""
        config, bucket = self.config, encoded.buckets[place]
        given = [draw_given(plan, config.conditions, bucket.frames, bucket.size, rng) for _ in clips]
        samples = [encoded.sample(place, clip, frames) for clip, (frames, _) in zip(clips, given, strict=True)]
        batch = {
            "clips": [sample.name for sample in samples],
            "latent": torch.from_numpy(np.stack([sample.latent for sample in samples])),
            "text": ["" if rng.random() < config.text_dropout else sample.caption for sample in samples],
            "frames": torch.from_numpy(np.stack([frames for frames, _ in given])),
        }
        if plan.count:
            pixels = torch.from_numpy(np.stack([sample.pixels for sample in samples]))
            batch["pixels"] = pixels.permute(0, 1, 4, 2, 3)
            batch["masks"] = torch.from_numpy(np.stack([masks for _, masks in given])).unsqueeze(2)
            batch["as_clip"] = plan.kind == "clip"
        return batch

    def tokens(self, batch: Batch) -> int:
        """Of targets and conditions."""
        samples, _, frames, *size = batch["latent"].shape
        given = batch["frames"].shape[1]
        if batch.get("as_clip"):
            given = latent_frames(given, self.codec.temporal_stride)
        return samples * LatentShape(frames + given, *size, self.strides.patch).tokens

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss [B] at random diffusion times, and the losses of each band of noise."""
        loss, time = self._random_loss(batch, self.config.time_mean)
        return loss, by_noise(loss, time)

    def _random_loss(self, batch: Batch, time_mean: float) -> tuple[Tensor, Tensor]:
        """The loss [B] at random diffusion times, and these times."""
        latent = batch["latent"].float()
        normal = torch.randn(len(latent), device=latent.device)
        time = torch.sigmoid(time_mean + self.config.time_scale * normal)
        return self.velocity_loss(batch, time, torch.randn_like(latent)), time

    def velocity_loss(self, batch: Batch, time: Tensor, noise: Tensor) -> Tensor:
        """Mean squared error [B] of the predicted velocity at diffusion times [B], on target tokens alone, weighted
        where the batch has weights."""
        latent = batch["latent"].float()
        noisy = target(interpolate(latent, noise, time), time, batch.get("t"))
        conditions, text = self._conditions(batch), self._text(batch["text"])
        adapter = self._adapter(batch, conditions, text)
        (velocity,) = self.transformer([*conditions, noisy], text, adapter=adapter)
        error = (velocity.float() - (noise - latent)).square()
        return (error * batch["weight"] if "weight" in batch else error).flatten(1).mean(1)

    def _conditions(self, batch: Batch) -> list[Segment]:
        if "pixels" not in batch:
            return []
        pixels, masks, frames = to_unit(batch["pixels"]), batch["masks"], batch["frames"]
        if batch["as_clip"]:
            return [encode_clip(self.codec, pixels.transpose(1, 2), masks.transpose(1, 2), frames[:, 0])]
        return [encode_frames(self.codec, pixels, masks, frames)]

    def _adapter(self, batch: Batch, conditions: Sequence[Segment], text: Tensor) -> BlockAdapter | None:
        """What acts on the tokens after each block; on a canvas, nothing."""
        return None

    def _text(self, sentences: list[str]) -> Tensor:
        states = encode_text(self.tokenizer, self.text_encoder, sentences, text_length(self.tokenizer))
        return states.to(self.transformer.dtype)

    @torch.no_grad()
    def validate(self, rank: int, world: int) -> dict[str, float]:
        """The loss on held-out clips at fixed noise, diffusion times and conditions."""
        config = self.config
        rng = np.random.default_rng(self.seed)
        losses = []
        for bucket, clips in self.held_clips.shares(rank, world):
            plan = draw_plan(config.conditions, self.held_clips.buckets[bucket].frames, rng)
            batch = self._batch(self.held_clips, bucket, clips, plan, rng)
            losses.append(self._fixed_loss(batch, self.seed + len(losses) * config.batch))
        return {"loss": torch.cat(losses).mean().item()} if losses else {}

    def _fixed_loss(self, batch: Batch, seed: int) -> Tensor:
        """The loss [B] at noise of a seed and diffusion times spread evenly over the batch."""
        batch = {k: v.to(self.codec.vae.device) if isinstance(v, Tensor) else v for k, v in batch.items()}
        latent = batch["latent"]
        noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(seed)).to(latent.device)
        return self.velocity_loss(batch, even_times(len(latent)).to(latent.device), noise)

    def exported(self) -> Iterable[nn.Parameter]:
        """As in the base class; with a LoRA, its weights alone."""
        weights = self.parameters()
        return (weight for weight in weights if weight.requires_grad) if self.config.lora.rank else weights

    def export(self, folder: Path) -> None:
        """Writes the whole pipeline, a Wan folder of diffusers; with a LoRA, its weights and the index alone."""
        if self.config.lora.rank:
            save_lora(self.transformer, folder)
        else:
            for name in ("tokenizer", "text_encoder", "vae", "transformer", "scheduler"):
                getattr(self, name).save_pretrained(folder / name)
        self._pipeline().save_config(folder)
        forget_places(folder)

    def read_sample(self, spec: str, overrides: Mapping[str, Any]) -> Canvas:
        """As in the base class: a canvas."""
        canvas = read_canvas(spec, overrides, self.codec.temporal_stride, self.strides.multiple)
        self.prompts |= {canvas.prompt, canvas.negative_prompt}
        return canvas

    def draw(self, sample: Canvas, steps: int | None) -> np.ndarray:
        """As in the base class."""
        pipe = self._pipeline()
        pipe.set_progress_bar_config(disable=True)
        return pipe(sample, num_inference_steps=steps).video

    def write_sample(self, sample: Canvas, video: np.ndarray, folder: Path) -> None:
        """As in the base class."""
        write_video(folder / "video.mp4", video, sample.fps)
        contact_sheet(video, place(sample, self.codec.temporal_stride), folder / "contact_sheet.png")

    def _pipeline(self) -> CanvasPipeline:
        most = max(zip(self.train_clips.counts, self.train_clips.buckets, strict=True))[1]
        pipe = CanvasPipeline(
            tokenizer=self.tokenizer,
            text_encoder=self.text_encoder,
            vae=self.vae,
            transformer=self.transformer,
            scheduler=self.scheduler,
            default_steps=self.config.default_steps,
            default_guidance=self.config.default_guidance,
            default_frames=most.frames,
            default_height=most.height,
            default_width=most.width,
        )
        pipe.register_to_config(text_encoder=("transformers", "UMT5EncoderModel"))  # also where a cache stands for it
        return pipe


def interpolate(latent: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """z_s = (1-s)·z + s·ε for diffusion times s [B]."""
    s = time.view(-1, *[1] * (latent.ndim - 1))
    return (1 - s) * latent + s * noise


def even_times(count: int) -> Tensor:
    """Diffusion times [count], spread evenly over (0, 1)."""
    return (torch.arange(count) + 0.5) / count


def by_noise(loss: Tensor, time: Tensor) -> dict[str, Tensor]:
    """Losses [B] by bands of diffusion time [B], as metrics of the log."""
    band = (time * NOISE_LEVELS).long().clamp(max=NOISE_LEVELS - 1)
    return {f"loss/noise{level}": loss.detach()[band == level] for level in range(NOISE_LEVELS)}
