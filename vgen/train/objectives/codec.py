"""Training a codec: diffusers' AutoencoderKLWan on single frames first, then on clips."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from vgen.data.clips import Clips, read_or_next
from vgen.errors import InputError, unknown_key
from vgen.train.objectives.base import Batch, Objective
from vgen.train.objectives.data import ClipBatches, DataConfig, open_data, parse_lengths
from vgen.train.objectives.outline import Outline, codec_outline

logger = logging.getLogger(__name__)

START_LOG_VARIANCE = -6.0  # of the latents: at the usual 0, noise as large as the signal would hide it for long


@dataclass
class CodecConfig:
    """What a codec run needs. Either `model` (keywords of AutoencoderKLWan) or `pretrained` (its folder) is given."""

    name: str = "codec"
    data: DataConfig = field(default_factory=DataConfig)
    model: dict[str, Any] = field(default_factory=dict)
    pretrained: str | None = None
    frames: int = 17  # of a clip, 1 + 4k
    clips_per_batch: int = 2  # per rank
    images_per_batch: int = 16  # per rank
    image_share: float = 0.3  # of the run that sees single frames only
    image_probability: float = 0.25  # of a batch of single frames after that
    l1: float = 1.0  # weights of the loss
    l2: float = 1.0
    kl: float = 1e-6
    moving: float = 0.0  # extra weight of moving pixels
    moving_threshold: float = 0.1  # of the change to a neighbouring frame, in [-1, 1] units
    validation_clips: int = 32
    statistics_clips: int = 128  # from which the latents' mean and deviation are measured


class CodecObjective(Objective):
    """Reconstruction: L1 and squared error, a little KL, moving pixels weighted up. `seed` fixes the initial weights,
    the batches and the choice between frames and clips, which is the same on every rank."""

    Config = CodecConfig
    needs_whole_weights = True

    def __init__(self, config: CodecConfig, seed: int) -> None:
        super().__init__()
        if bool(config.model) == bool(config.pretrained):
            raise InputError("objective.model and objective.pretrained: give one of the two")
        self.config, self.seed = config, seed
        torch.manual_seed(seed)
        self.vae = AutoencoderKLWan.from_pretrained(config.pretrained) if config.pretrained else _build(config.model)
        self.lengths = parse_lengths(config.frames, self.vae.config.scale_factor_temporal)

    @classmethod
    def outline(cls, config: CodecConfig) -> Outline:
        """As in the base class."""
        return codec_outline(config)

    def prepare(self) -> None:
        """Opens the data, trained and held-out episodes apart."""
        config = self.config
        multiple = self.vae.config.scale_factor_spatial
        self.data = open_data(config.data, self.lengths, multiple, captions=False, report=self.bad_data)
        self.clips, self.held_out, bad = self.data.train, self.data.held_out, self.data.bad
        self.clip_batches = ClipBatches(self.clips, config.clips_per_batch, self.seed, bad)
        stills = self.data.stills(self.clips)
        self.still_batches = ClipBatches(stills, config.images_per_batch, self.seed + 1, bad)

    def data_summary(self) -> str:
        """As in the base class."""
        return self.data.bad.summary()

    def batch(self, step: int, part: int, parts: int, progress: float) -> Batch:
        """{"video": uint8 [B, 3, T, H, W]}, T = 1 in image mode."""
        config = self.config
        chance = np.random.default_rng((self.seed, step)).random()
        images = progress < config.image_share or chance < config.image_probability
        batches = self.still_batches if images else self.clip_batches
        return {"video": _video(batches.pixels(step, part, parts))}

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss [B] of `batch["video"]` uint8 [B, 3, T, H, W], and the PSNR in dB."""
        config = self.config
        video = _unit(batch["video"])
        posterior = self.vae.encode(video).latent_dist
        error = self.vae.decode(posterior.sample()).sample.float() - video
        weight = 1 + config.moving * moving_pixels(video, config.moving_threshold)
        pixel = weight / weight.mean() * (config.l1 * error.abs() + config.l2 * error.square())
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar)
        loss = pixel.flatten(1).mean(1) + config.kl * kl.flatten(1).mean(1)
        mode = "image" if video.shape[2] == 1 else "video"
        return loss, {f"psnr/{mode}": _psnr(error), f"kl/{mode}": kl.detach()}

    @torch.no_grad()
    def validate(self, rank: int, world: int) -> dict[str, float]:
        """PSNR in dB of held-out clips: as clips, and frame by frame (the middle frame of each, alone)."""
        device = next(self.parameters()).device
        per_rank = max(1, min(self.config.validation_clips, len(self.held_out)) // world)
        numbers = self.held_out.spread(per_rank * world)[rank::world]
        if not numbers:
            return {}
        scores: dict[str, list[float]] = {"psnr/video": [], "psnr/image": []}
        for number in numbers:
            video = _unit(self._clip(self.held_out, number).to(device))
            middle = video[:, :, video.shape[2] // 2].unsqueeze(2)
            for name, pixels in (("psnr/video", video), ("psnr/image", middle)):
                output = self.vae.decode(self.vae.encode(pixels).latent_dist.mode()).sample.float()
                scores[name].append(_psnr(output - pixels).item())
        return {name: float(np.mean(values)) for name, values in scores.items()}

    def _clip(self, clips: Clips, number: int) -> Tensor:
        """One clip as a batch, or the one that stands in for it."""
        return _video(read_or_next(clips, range(len(clips)), number, self.data.bad)[1][None])

    @torch.no_grad()
    def export(self, folder: Path) -> None:
        """Writes `folder`/vae with the mean and deviation of each latent channel, measured on training clips."""
        device = next(self.parameters()).device
        total, squares, count = 0.0, 0.0, 0
        for number in self.clips.spread(self.config.statistics_clips):
            video = _unit(self._clip(self.clips, number).to(device))
            latent = self.vae.encode(video).latent_dist.mode().double().transpose(0, 1).flatten(1)
            total, squares, count = total + latent.sum(1), squares + latent.square().sum(1), count + latent.shape[1]
        mean = total / count
        deviation = (squares / count - mean.square()).clamp(min=1e-12).sqrt()
        self.vae.register_to_config(latents_mean=mean.tolist(), latents_std=deviation.tolist())
        self.vae.save_pretrained(folder / "vae")


def moving_pixels(video: Tensor, threshold: float) -> Tensor:
    """1 where a pixel of video [B, 3, T, H, W] changes by more than `threshold` to the frame before or after, else 0:
    [B, 1, T, H, W]."""
    change = (video[:, :, 1:] - video[:, :, :-1]).abs().mean(1, keepdim=True) > threshold
    still = torch.zeros_like(video[:, :1, :1], dtype=torch.bool)
    return (torch.cat([still, change], 2) | torch.cat([change, still], 2)).float()


def _build(keywords: dict[str, Any]) -> AutoencoderKLWan:
    known = set(AutoencoderKLWan._get_init_keys(AutoencoderKLWan)) - {"self"}
    for key in keywords:
        if key not in known:
            raise unknown_key(key, known, "objective.model")
    width = keywords.get("z_dim", 16)  # the statistics are measured by export; until then the latents are as they are
    statistics = {"latents_mean": [0.0] * width, "latents_std": [1.0] * width}
    try:
        vae = AutoencoderKLWan(**statistics | keywords)
    except ValueError as error:
        raise InputError(f"objective.model does not fit together: {error}") from error
    torch.nn.init.constant_(vae.quant_conv.bias[width:], START_LOG_VARIANCE)
    return vae


def _video(pixels: np.ndarray) -> Tensor:
    """uint8 [B, T, H, W, 3] to [B, 3, T, H, W]."""
    return torch.from_numpy(pixels).permute(0, 4, 1, 2, 3)


def _unit(video: Tensor) -> Tensor:
    return video.float() / 127.5 - 1


def _psnr(error: Tensor) -> Tensor:
    """PSNR [B] in dB of an error [B, ...] of pixels in [-1, 1]."""
    return -10 * torch.log10(error.detach().square().flatten(1).mean(1) / 4 + 1e-10)
