"""Training a codec: diffusers' AutoencoderKLWan on single frames first, then on clips."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from vgen.backbone.codec import WanCodec, load_vae
from vgen.backbone.codec_at_once import decode_at_once, encode_at_once, quicken
from vgen.backbone.on_paper import on_paper
from vgen.checks import within
from vgen.data.clips import Clips, read_or_next
from vgen.data.opening import (
    ClipBatches,
    DataConfig,
    DataShare,
    TrainingData,
    check_batch,
    open_data,
    parse_lengths,
    share_of_batch,
    shares_of,
)
from vgen.errors import InputError
from vgen.media.pixels import to_unit
from vgen.metrics import PerceptualDistance
from vgen.train.batch import Batch
from vgen.train.objectives.base import Objective
from vgen.train.objectives.building import blank, check_keywords
from vgen.train.objectives.codec_linear import LinearStart, check_linear_start
from vgen.train.objectives.codec_reshape import START_LOG_VARIANCE, widened
from vgen.train.objectives.crops import cropped
from vgen.train.objectives.outline import Outline
from vgen.train.objectives.trained_on import codec_range

logger = logging.getLogger(__name__)

LINEAR_CLIPS, LINEAR_BYTES = 192, 2**30  # that the linear code is measured on, at most
COMPARED = 4  # images of a batch whose perceptual distance is measured, which costs more than all else


@dataclass
class CodecShare(DataShare):
    """One of several data sets of a codec run."""

    images: float = 1.0  # single frames per rank, as a share of the run's `images_per_batch`
    keep_latents: float | None = within(None, 0)  # as the run's own; 0 where latents may become others


@dataclass
class CodecConfig:
    """What a codec run needs: `model` (keywords of AutoencoderKLWan), `pretrained` (its folder), or both: a codec whose
    widths are those of `model` then begins as the pretrained one (see codec_reshape.py)."""

    name: str = "codec"
    data: DataConfig = field(default_factory=DataConfig)
    more_data: list[CodecShare] = field(default_factory=list)  # further sets; a batch is of one of all
    in_memory: bool = False  # frames that are decoded once, are all read into memory before the first step
    model: dict[str, Any] = field(default_factory=dict)
    pretrained: str | None = None
    decoder_only: bool = False  # of a pretrained codec: the latents stay what they are, for models that know them
    frames: int = 17  # of a clip, 1 + 4k
    clips_per_batch: int = 2  # per rank
    images_per_batch: int = 16  # per rank
    image_share: float = within(0.3, 0, 1)  # of the run that sees single frames only
    image_probability: float = within(0.25, 0, 1)  # of a batch of single frames after that
    linear_start: float = 0.0  # of a run from nothing; until then the latents are led towards the best linear code
    crop: int | None = None  # pixels of a side of the random square of a clip that is trained on; None is all of it
    l1: float = within(1.0, 0)  # weights of the loss
    l2: float = within(1.0, 0)
    kl: float = within(1e-6, 0)
    perceptual: float = within(0.0, 0)  # of the perceptual distance of a frame of each clip; needs the extra `metrics`
    keep_latents: float = within(0.0, 0)  # of the squared change of latents against `pretrained`'s, in deviations
    moving: float = within(0.0, 0)  # extra weight of moving pixels
    moving_threshold: float = within(0.1, 0, 2)  # of the change to a neighbouring frame, in [-1, 1] units
    validation_clips: int = within(32, 0)
    statistics_clips: int = within(128, 1)  # from which the latents' mean and deviation are measured

    @property
    def keeps(self) -> bool:
        """Whether the latents of some data set are to be kept."""
        return bool(self.keep_latents or any(share.keep_latents for share in self.more_data))


@dataclass(frozen=True)
class CodecBatch(Batch):
    """Clips to be encoded and decoded again.

    Attributes:
        clips: B names.
        video: uint8 [B, 3, T, H, W]; T is 1 in image mode.
        keep_latents: the weight in the loss of the change of their latents.
        linear: from 1 to 0, how far the latents are the linear code's.
    """

    clips: list[str]
    video: Tensor
    keep_latents: float = 0.0
    linear: float = 0.0


class CodecObjective(Objective[CodecBatch]):
    """Reconstruction: L1 and squared error, a little KL, moving pixels weighted up. `seed` fixes the initial weights,
    the batches and the choice between frames and clips, which is the same on every rank."""

    Config = CodecConfig
    needs_whole_weights = True

    def __init__(self, config: CodecConfig, seed: int) -> None:
        super().__init__()
        if not (config.model or config.pretrained):
            raise InputError("objective.model and objective.pretrained: give one of the two, or both")
        if config.model and config.pretrained and (config.decoder_only or config.keeps):
            rule = "latents can be kept of objective.pretrained alone"
            raise InputError(f"objective.model changes what latents are, and {rule}; leave objective.model out")
        if config.decoder_only and not config.pretrained:
            raise InputError("objective.decoder_only=true needs objective.pretrained; or train the whole codec")
        if config.linear_start and config.pretrained:
            rule = "has its own code, and begins as no other"
            raise InputError(f"objective.linear_start={config.linear_start:g}: objective.pretrained {rule}; use 0")
        check_batch("objective.clips_per_batch", config.clips_per_batch)
        check_batch("objective.images_per_batch", config.images_per_batch)
        self.config, self.seed = config, seed
        torch.manual_seed(seed)
        self.vae = _made(config.pretrained, config.model)
        if config.decoder_only:
            self.vae.encoder.requires_grad_(False)
            self.vae.quant_conv.requires_grad_(False)
        check_linear_start(config.linear_start, self.vae)
        self._linear: tuple[LinearStart, ...] = ()
        quicken(self.vae)
        self.lengths = self.lengths_of(config.frames)
        self._check_crop()
        self._shares = shares_of(config.more_data)
        if config.keeps and not config.pretrained:
            raise InputError("objective.keep_latents needs objective.pretrained, whose latents are kept; or use 0")
        # Helpers of the loss, in a tuple: they are no part of what is trained, kept and exported.
        self._distance = (PerceptualDistance.load(),) if config.perceptual and not on_paper() else ()
        self._teacher = (_frozen(config.pretrained),) if config.keeps and not on_paper() else ()

    def _check_crop(self) -> None:
        stride, crop = self.vae.config.scale_factor_spatial, self.config.crop
        if crop is not None and (crop < stride or crop % stride):
            nearest = max(1, round(crop / stride)) * stride
            raise InputError(f"objective.crop={crop} must be a multiple of the codec's {stride}; nearest: {nearest}")

    def lengths_of(self, frames: Any) -> list[int]:
        """The lengths that a recipe's `frames` says."""
        return parse_lengths(frames, self.vae.config.scale_factor_temporal)

    def outline(self) -> Outline:
        """What a dry run has to know; the activations of a codec are not estimated."""
        multiple = self.vae.config.scale_factor_spatial
        batch, data = self.config.clips_per_batch, self.config.data
        return Outline(self.parts(), data, self.lengths, multiple, batch, captions=False, all_places=True)

    def prepare(self) -> None:
        """Opens the data, trained and held-out episodes apart."""
        first = CodecShare(**vars(self.config.data))
        self.sets = [self._opened(share) for share in (first, *self.config.more_data)]
        if self.config.linear_start:
            logger.info("measuring the linear code that the latents begin as")
            self._linear = (LinearStart.of(list(self._measured(self._linear_clips())), self.vae),)

    def _opened(self, share: CodecShare) -> CodecData:
        config, multiple = self.config, self.vae.config.scale_factor_spatial
        lengths = self.lengths_of(share.frames or config.frames)
        data = open_data(share, lengths, multiple, captions=False, report=self.bad_data, hold=config.in_memory)
        clips = share_of_batch(config.clips_per_batch, share.batch)
        images = share_of_batch(config.images_per_batch, share.images)
        keep = config.keep_latents if share.keep_latents is None else share.keep_latents
        return CodecData(data, clips, images, self.seed, keep)

    def data_summary(self) -> str:
        """What of the data sets could not be used, in one line."""
        return "; ".join(filter(None, (each.data.bad.summary() for each in self.sets)))

    def batch(self, step: int, part: int, parts: int, progress: float) -> CodecBatch:
        """Clips, or single frames, of one data set."""
        config = self.config
        rng = np.random.default_rng((self.seed, step))
        images = progress < config.image_share or rng.random() < config.image_probability
        chosen = self.sets[int(rng.choice(len(self.sets), p=self._shares))]
        pixels, names = (chosen.stills if images else chosen.clips).batch(step, part, parts)
        pixels = cropped(pixels, config.crop, np.random.default_rng((self.seed, step, part + 1)))
        linear = max(0.0, 1 - progress / config.linear_start) if config.linear_start else 0.0
        return CodecBatch(names, _video(pixels), chosen.keep_latents, linear)

    def forward(self, batch: CodecBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss [B] of the reconstruction, and its PSNR in dB."""
        config = self.config
        video = to_unit(batch.video)
        posterior = encode_at_once(self.vae, video)
        latent, apart = posterior.sample(), posterior.mean.new_zeros(())
        for start in self._linear if batch.linear else ():
            apart = start.to(video.device).latent(video) - posterior.mean
            latent = latent + batch.linear * apart  # at 1, the code itself with the noise of latents
        error = decode_at_once(self.vae, latent).float() - video
        weight = 1 + config.moving * changing_pixels(video, config.moving_threshold)
        pixel = weight / weight.mean() * (config.l1 * error.abs() + config.l2 * error.square())
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar)
        loss = pixel.flatten(1).mean(1) + config.kl * kl.flatten(1).mean(1)
        mode = "image" if video.shape[2] == 1 else "video"
        metrics = {f"psnr/{mode}": _psnr(error), f"kl/{mode}": kl.detach()}
        if batch.linear:
            distance = apart.float().square().flatten(1).mean(1)
            loss, metrics["linear"] = loss + batch.linear * distance, distance.detach()
        for distance in self._distance:
            loss = loss + config.perceptual * _frame_distance(distance.to(video.device), video + error, video)
        if batch.keep_latents:
            for teacher in self._teacher:
                change = _change(mean, teacher.to(video.device), video)
                loss, metrics["change"] = loss + batch.keep_latents * change, change.detach()
        return loss, metrics

    @torch.no_grad()
    def validate(self, rank: int, world: int, after_batch: Callable[[], None]) -> dict[str, float]:
        """PSNR in dB of held-out clips: as clips, and frame by frame (the middle frame of each, alone). Of further data
        sets it has their names, and their places where two have one name."""
        results: dict[str, float] = {}
        names = [each.data.footage.name for each in self.sets]
        for place, (name, each) in enumerate(zip(names, self.sets, strict=True)):
            place_too = f"-{place}" if names[1:].count(name) > 1 else ""
            suffix = f"/{name}{place_too}" if place else ""
            results |= {key + suffix: value for key, value in self._scores(each, rank, world, after_batch).items()}
        return results

    def _scores(self, of: CodecData, rank: int, world: int, after_batch: Callable[[], None]) -> dict[str, float]:
        device, clips = next(self.parameters()).device, of.data.held_out
        per_rank = max(1, min(self.config.validation_clips, len(clips)) // world)
        shared = clips.spread(per_rank * world)
        if not shared:
            return {}
        numbers = [shared[place % len(shared)] for place in range(rank, per_rank * world, world)]  # as many on each
        scores: dict[str, list[float]] = {"psnr/video": [], "psnr/image": []}
        for number in numbers:
            video = to_unit(of.clip(clips, number).to(device))
            middle = video[:, :, video.shape[2] // 2].unsqueeze(2)
            for name, pixels in (("psnr/video", video), ("psnr/image", middle)):
                output = decode_at_once(self.vae, encode_at_once(self.vae, pixels).mode()).float().clamp(-1, 1)
                scores[name].append(_psnr(output - pixels).item())
            after_batch()
        return {name: float(np.mean(values)) for name, values in scores.items()}

    @torch.no_grad()
    def export(self, folder: Path) -> None:
        """Writes `folder`/vae with the mean and deviation of each latent channel, measured on clips of all data sets;
        where the latents are kept, they are those that it had. Beside it, how well it holds single frames."""
        if not (self.config.decoder_only or self.config.keeps):
            mean, deviation = self._latent_statistics()
            self.vae.register_to_config(latents_mean=mean.tolist(), latents_std=deviation.tolist())
        self.vae.save_pretrained(folder / "vae")
        codec_range(WanCodec(self.vae), [each.data for each in self.sets]).write(folder)

    def _linear_clips(self) -> int:
        """How many clips the linear code is measured on: all are in memory at once."""
        first = self.sets[0]
        return max(1, min(LINEAR_CLIPS, LINEAR_BYTES // (4 * first.clip(first.data.train, 0).numel())))

    def _latent_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation [C] of the latents of clips of all data sets, of each as many as its share."""
        device = next(self.parameters()).device
        total, squares = torch.zeros(2, self.vae.config.z_dim, dtype=torch.float64, device=device)
        count = 0
        for video in self._measured(self.config.statistics_clips):
            latent = encode_at_once(self.vae, video.to(device)).mode().double().transpose(0, 1).flatten(1)
            total, squares = total + latent.sum(1), squares + latent.square().sum(1)
            count += latent.shape[1]
        mean = total / count
        return mean, (squares / count - mean.square()).clamp(min=1e-12).sqrt()

    def _measured(self, count: int) -> Iterator[Tensor]:
        """Training clips [1, 3, T, H, W] in [-1, 1] of all data sets, of each as many of `count` as its share."""
        for each, share in zip(self.sets, self._shares, strict=True):
            for number in each.data.train.spread(max(1, round(count * share))):
                yield to_unit(each.clip(each.data.train, number))


class CodecData:
    """One data set of a codec run.

    Attributes:
        data: as it was opened.
        clips, stills: its training batches, of so many clips and of so many single frames.
        keep_latents: as of a batch.
    """

    def __init__(self, data: TrainingData, clips: int, images: int, seed: int, keep_latents: float = 0.0) -> None:
        self.data, self.keep_latents = data, keep_latents
        self.clips = ClipBatches(data.train, clips, seed, data.bad)
        self.stills = ClipBatches(data.stills(data.train), images, seed + 1, data.bad)

    def clip(self, clips: Clips, number: int) -> Tensor:
        """One clip as a batch, uint8 [1, 3, T, H, W], or the one that stands in for it."""
        return _video(read_or_next(clips, range(len(clips)), number, self.data.bad)[1][None])


def changing_pixels(video: Tensor, threshold: float) -> Tensor:
    """1 where a pixel of video [B, 3, T, H, W] changes by more than `threshold` to the frame before or after, else 0:
    [B, 1, T, H, W]."""
    change = (video[:, :, 1:] - video[:, :, :-1]).abs().mean(1, keepdim=True) > threshold
    still = torch.zeros_like(video[:, :1, :1], dtype=torch.bool)
    return (torch.cat([still, change], 2) | torch.cat([change, still], 2)).float()


def _frame_distance(distance: PerceptualDistance, output: Tensor, video: Tensor) -> Tensor:
    """The perceptual distance of a frame of each of some clips, spread over the batch: [B], their mean for all."""
    count = min(COMPARED, len(video))
    clips, frames = torch.randperm(len(video))[:count], torch.randint(video.shape[2], (count,))
    distances = distance(output[clips, :, frames], video[clips, :, frames])
    return distances.mean().expand(len(video))


def _change(mean: Tensor, teacher: AutoencoderKLWan, video: Tensor) -> Tensor:
    """How far latents [B, C, F, h, w] of a video are from the teacher's: squared, in the teacher's deviations, [B]."""
    with torch.no_grad():
        kept = encode_at_once(teacher, video).mode().float()
    deviation = torch.tensor(teacher.config.latents_std, device=mean.device).view(1, -1, 1, 1, 1)
    return ((mean - kept) / deviation).square().flatten(1).mean(1)


def _frozen(folder: str | None) -> AutoencoderKLWan:
    assert folder is not None, "a codec is named"
    vae = load_vae(folder).requires_grad_(False).eval()
    quicken(vae)
    return vae


def _made(folder: str | None, keywords: dict[str, Any]) -> AutoencoderKLWan:
    """A codec from nothing, a trained one, or one that is wider than the trained one."""
    if folder is None:
        return _build(keywords)
    if not keywords:
        return _load(folder)
    check_keywords(keywords, AutoencoderKLWan, "objective.model")
    return widened(_load(folder), keywords).train()


def _load(folder: str) -> AutoencoderKLWan:
    return (blank(AutoencoderKLWan, folder) if on_paper() else load_vae(folder)).train()


def _build(keywords: dict[str, Any]) -> AutoencoderKLWan:
    check_keywords(keywords, AutoencoderKLWan, "objective.model")
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


def _psnr(error: Tensor) -> Tensor:
    """PSNR [B] in dB of an error [B, ...] of pixels in [-1, 1]."""
    return -10 * torch.log10(error.detach().square().flatten(1).mean(1) / 4 + 1e-10)
