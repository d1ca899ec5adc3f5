"""Training the canvas: flow matching on target tokens, with in-context conditions (VideoCanvas, section 4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler
from torch import Tensor
from transformers import ByT5Tokenizer, UMT5Config, UMT5EncoderModel

from vgen.backbone.codec import WanCodec
from vgen.backbone.segments import Segment, target
from vgen.backbone.shapes import check_frames
from vgen.backbone.text import encode_text, text_length
from vgen.backbone.transformer import VideoTransformer
from vgen.canvas.conditions import encode_clip, encode_frames
from vgen.canvas.pipeline import CanvasPipeline
from vgen.data.clips import ClipSampler
from vgen.data.latents import LatentCache
from vgen.data.video import to_unit
from vgen.errors import InputError
from vgen.train.lora import LoraConfig, add_lora, save_lora
from vgen.train.objectives.base import Batch, Objective
from vgen.train.objectives.data import DataConfig, open_cache, split_episodes
from vgen.train.objectives.plans import PlanConfig, draw_given, draw_plan

NOISE_LEVELS = 4  # bands of diffusion time whose losses are logged apart


@dataclass
class CanvasConfig:
    """What a canvas run needs: `pretrained` (a diffusers folder to fine-tune), or a codec and sizes to begin with."""

    name: str = "canvas"
    data: DataConfig = field(default_factory=DataConfig)
    latents: str = "data/cache"  # folder below which encoded clips are kept
    latent_workers: int = 2  # processes that encode them
    pretrained: str | None = None
    codec: str | None = None  # folder of an AutoencoderKLWan
    transformer: dict[str, Any] = field(default_factory=dict)  # keywords of WanTransformer3DModel
    text_encoder: dict[str, Any] = field(default_factory=dict)  # keywords of UMT5Config, with byte-level ByT5 tokens
    lora: LoraConfig = field(default_factory=LoraConfig)  # on a pretrained transformer
    activation_checkpointing: bool = False  # of the blocks: computed again in the backward pass rather than kept
    text_length: int = 64  # tokens (bytes) of a sentence
    attention: str = "native"  # kernel, by diffusers' name: native, xformers, flash, _native_math ...
    frames: int = 17  # T of a clip, 1 + N·k
    stride: int = 1  # every stride-th recorded frame
    clips: int = 8000  # encoded once, spread over all episodes
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
        if (config.pretrained is None) == (config.codec is None):
            raise InputError("objective.pretrained and objective.codec: give one of the two")
        if config.lora.rank and config.pretrained is None:
            raise InputError(f"objective.lora.rank={config.lora.rank} needs objective.pretrained to adapt; or use 0")
        self.config, self.seed = config, seed
        torch.manual_seed(seed)
        if config.pretrained is not None:
            self._adopt(CanvasPipeline.from_pretrained(config.pretrained))
        else:
            self._begin()
        self._choose_attention()
        if config.lora.rank:
            add_lora(self.transformer, config.lora)
        if config.activation_checkpointing:
            self.transformer.enable_gradient_checkpointing()
        self.codec = WanCodec(self.vae.requires_grad_(False))
        check_frames(config.frames, self.codec.temporal_stride)
        for length in config.conditions.clip_frames:
            try:
                check_frames(length, self.codec.temporal_stride)
            except InputError as error:
                raise InputError(f"objective.conditions.clip_frames: {error}") from error

    def _adopt(self, pipe: CanvasPipeline) -> None:
        self.codec_folder = Path(self.config.pretrained) / "vae"
        self.vae, self.transformer, self.tokenizer = pipe.vae, pipe.transformer, pipe.tokenizer
        self.text_encoder = pipe.text_encoder.requires_grad_(False)
        self.scheduler = pipe.scheduler

    def _begin(self) -> None:
        config = self.config
        self.codec_folder = Path(config.codec)
        try:
            self.vae = AutoencoderKLWan.from_pretrained(config.codec)
        except OSError as error:
            raise InputError(f"objective.codec={config.codec} is no folder of an AutoencoderKLWan") from error
        channels = {"in_channels": self.vae.config.z_dim, "out_channels": self.vae.config.z_dim}
        self.text_encoder = UMT5EncoderModel(UMT5Config(**config.text_encoder))
        text = {"text_dim": self.text_encoder.config.d_model}
        self.transformer = VideoTransformer(**channels | text | config.transformer)
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

    def prepare(self) -> None:
        """Decodes the frames, encodes the clips, and splits the episodes into trained and validated ones."""
        config = self.config
        cache = open_cache(config.data)
        train, held_out = split_episodes(len(cache), config.data.held_out)
        self.train_clips, self.train_latents = self._clips(cache, train, config.clips)
        self.held_clips, self.held_latents = self._clips(cache, held_out, config.validation_clips)
        count = len(self.train_latents)
        self._order = lru_cache(4)(lambda epoch: np.random.default_rng((self.seed, epoch)).permutation(count))

    def _clips(self, cache: Any, episodes: list[int], count: int) -> tuple[ClipSampler, LatentCache]:
        config = self.config
        clips = ClipSampler(cache, config.frames, config.stride, episodes, self.seed)
        numbers = clips.spread(count)
        latents = LatentCache.of_clips(clips, numbers, self.codec_folder, config.latents, config.latent_workers)
        return clips, latents

    def batch(self, index: int, rank: int, world: int, progress: float) -> Batch:
        """Clips in an order shuffled anew for every epoch, and what is given of them; see `_batch`."""
        first = (index * world + rank) * self.config.batch
        rows = [self._row(place) for place in range(first, first + self.config.batch)]
        # The plan is the same on every rank, so that no rank waits for another's longer sequence.
        plan = draw_plan(self.config.conditions, self.config.frames, np.random.default_rng((self.seed, index)))
        rng = np.random.default_rng((self.seed, index, rank + 1))
        return self._batch(self.train_clips, self.train_latents, rows, plan, rng)

    def _row(self, place: int) -> int:
        """The cached clip that comes up at `place` (0, 1, 2 ... without end)."""
        epoch, within = divmod(place, len(self.train_latents))
        return int(self._order(epoch)[within])

    def _batch(
        self, clips: ClipSampler, latents: LatentCache, rows: list[int], plan: Any, rng: np.random.Generator
    ) -> Batch:
        """{"latent": [B, C, F, h, w], "pixels": uint8 [B, K, 3, H, W], "masks": [B, K, 1, H, W], "frames": [B, K],
        "as_clip": whether these K are encoded as one clip, "text": B sentences}."""
        config = self.config
        chosen = [clips.clip(latents.numbers[row]) for row in rows]
        size = chosen[0].pixels.shape[1:3]
        given = [draw_given(plan, config.conditions, config.frames, size, rng) for _ in chosen]
        frames = np.stack([places for places, _ in given]) if plan.count else np.zeros((len(rows), 0), np.int64)
        batch = {
            "latent": torch.from_numpy(np.stack([latents.latents[row] for row in rows])),
            "text": ["" if rng.random() < config.text_dropout else clip.caption for clip in chosen],
            "frames": torch.from_numpy(frames),
        }
        if plan.count:
            pixels = np.stack([clip.pixels[places] for clip, (places, _) in zip(chosen, given, strict=True)])
            batch["pixels"] = torch.from_numpy(pixels).permute(0, 1, 4, 2, 3)
            batch["masks"] = torch.from_numpy(np.stack([masks for _, masks in given])).unsqueeze(2)
            batch["as_clip"] = plan.kind == "clip"
        return batch

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss [B] at random diffusion times, and the losses of each band of noise."""
        latent = batch["latent"].float()
        normal = torch.randn(len(latent), device=latent.device)
        time = torch.sigmoid(self.config.time_mean + self.config.time_scale * normal)
        loss = self.velocity_loss(batch, time, torch.randn_like(latent))
        band = (time * NOISE_LEVELS).long().clamp(max=NOISE_LEVELS - 1)
        metrics = {f"loss/noise{level}": loss.detach()[band == level] for level in range(NOISE_LEVELS)}
        return loss, metrics

    def velocity_loss(self, batch: Batch, time: Tensor, noise: Tensor) -> Tensor:
        """Mean squared error [B] of the predicted velocity at diffusion times [B], on target tokens alone."""
        latent = batch["latent"].float()
        noisy = target(interpolate(latent, noise, time), time)
        (velocity,) = self.transformer([*self._conditions(batch), noisy], self._text(batch["text"]))
        return (velocity.float() - (noise - latent)).square().flatten(1).mean(1)

    def _conditions(self, batch: Batch) -> list[Segment]:
        if "pixels" not in batch:
            return []
        pixels, masks, frames = to_unit(batch["pixels"]), batch["masks"], batch["frames"]
        if batch["as_clip"]:
            return [encode_clip(self.codec, pixels.transpose(1, 2), masks.transpose(1, 2), frames[:, 0])]
        return [encode_frames(self.codec, pixels, masks, frames)]

    def _text(self, sentences: list[str]) -> Tensor:
        return encode_text(self.tokenizer, self.text_encoder, sentences, text_length(self.tokenizer))

    @torch.no_grad()
    def validate(self, rank: int, world: int) -> dict[str, float]:
        """The loss on held-out clips at fixed noise, diffusion times and conditions."""
        config = self.config
        rng = np.random.default_rng(self.seed)
        losses = []
        rows = range(rank, len(self.held_latents) // world * world, world)
        for start in range(0, len(rows), config.batch):
            chosen = list(rows[start : start + config.batch])
            plan = draw_plan(config.conditions, config.frames, rng)
            batch = self._batch(self.held_clips, self.held_latents, chosen, plan, rng)
            batch = {k: v.to(self.codec.vae.device) if isinstance(v, Tensor) else v for k, v in batch.items()}
            generator = torch.Generator().manual_seed(self.seed + start)
            noise = torch.randn(batch["latent"].shape, generator=generator).to(batch["latent"].device)
            time = ((torch.arange(len(chosen)) + 0.5) / len(chosen)).to(noise.device)
            losses.append(self.velocity_loss(batch, time, noise))
        return {"loss": torch.cat(losses).mean().item()} if losses else {}

    def export(self, folder: Path) -> None:
        """Writes the whole pipeline, a Wan folder of diffusers; of a LoRA, its weights alone."""
        if self.config.lora.rank:
            save_lora(self.transformer, folder)
            return
        self._pipeline().save_pretrained(folder)

    def _pipeline(self) -> CanvasPipeline:
        height, width = self.train_clips.cache.frames.shape[1:3]
        return CanvasPipeline(
            tokenizer=self.tokenizer,
            text_encoder=self.text_encoder,
            vae=self.vae,
            transformer=self.transformer,
            scheduler=self.scheduler,
            default_steps=self.config.default_steps,
            default_guidance=self.config.default_guidance,
            default_frames=self.config.frames,
            default_height=height,
            default_width=width,
        )


def interpolate(latent: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """z_s = (1-s)·z + s·ε for diffusion times s [B]."""
    s = time.view(-1, *[1] * (latent.ndim - 1))
    return (1 - s) * latent + s * noise
