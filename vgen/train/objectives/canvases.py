"""Canvases to train on: clips, what is given of them, and the loss on what is not (VideoCanvas, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vgen.backbone.conditioning import Conditioning
from vgen.backbone.encoding import Given, latent_mask
from vgen.backbone.padding import Nearest, Padding
from vgen.backbone.pruning import kept_lengths, kept_tokens
from vgen.backbone.shapes import LatentShape, check_frames, latent_frames
from vgen.canvas.paradigms import choose_paradigm
from vgen.canvas.paradigms.positions import Positions
from vgen.checks import MOST, within
from vgen.data.buckets import Bucket
from vgen.data.cache.shares import worker_count
from vgen.data.clips import Clips
from vgen.data.encoded import EncodedClips
from vgen.data.opening import (
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
from vgen.train.batch import Batch
from vgen.train.objectives.conditions import (
    ConditionDraw,
    ConditionsConfig,
    check_conditions,
    draw_conditions,
    draw_given,
)
from vgen.train.objectives.denoiser import DenoiserConfig, Noise, VideoDenoiser
from vgen.train.objectives.outline import Tokens

DRAWS = 500  # from which the number of conditions is told beforehand


@dataclass
class CanvasData(DataShare):
    """One of several data sets that canvases are cut from."""

    clips: int | None = within(None, 1)  # as in the run, whose own number counts for its first data set alone


@dataclass
class CanvasConfig(DenoiserConfig):
    """What a canvas run needs beside its model."""

    name: str = "canvas"
    data: DataConfig = field(default_factory=DataConfig)
    more_data: list[CanvasData] = field(default_factory=list)  # further sets; a batch is of one of all
    frames: Any = 17  # T of a clip, 1 + N·k; or several, such as [17, 49, 77]: each video gets the longest that fits
    clips: int | None = within(None, 1)  # spread evenly over all places for one; none: one after another
    batch: int = 32  # clips per rank
    text_dropout: float = within(0.1, 0, 1)  # share of sentences replaced by the empty one, for guidance
    time_mean: float = within(0.0, -MOST)  # diffusion time is the sigmoid of a normal variable: log of the shift ...
    time_scale: float = within(1.0, 0)  # ... and its deviation
    validation_clips: int = within(64, 0)
    conditions: ConditionsConfig = field(default_factory=ConditionsConfig)


@dataclass(frozen=True)
class GivenPixels(Batch):
    """What is given of the clips of a batch.

    Attributes:
        pixels: uint8 [B, K, 3, H, W].
        masks: bool [B, K, 1, H, W], True where a pixel is given.
        frames: int64 [B, K], the pixel frames at which they stand; K may be 0.
        as_clip: whether the K frames are encoded together, as a clip.
        nearest: of the masks, for a model that pads with it: found while the step before is computed.
    """

    pixels: Tensor
    masks: Tensor
    frames: Tensor
    as_clip: bool
    nearest: Nearest | None = None

    def given(self, padding: Padding) -> list[Given]:
        """They, ready to be encoded with a padding of pixels that are not given; nothing where K is 0."""
        if not self.frames.shape[1]:
            return []
        pixels = to_unit(self.pixels)
        return [Given(pixels, self.masks, self.frames, self.as_clip, padding=padding, nearest=self.nearest)]

    def latent_frames(self, stride: int) -> int:
        """How many latent frames they are with a codec of this temporal stride."""
        count = self.frames.shape[1]
        return latent_frames(count, stride) if self.as_clip else count


@dataclass(frozen=True)
class CanvasBatch(Batch):
    """Clips that are to be completed.

    Attributes:
        clips: B names.
        text: B sentences.
        latent: float16 [B, C, F, h, w], the target.
        given: what is given of each clip.
        condition_tokens: of a model that prunes its conditions, how many of their tokens are read of each clip; a rank
            counts its own, which differ a little where crops do.
    """

    clips: list[str]
    text: list[str]
    latent: Tensor
    given: GivenPixels
    condition_tokens: int | None = None


@dataclass(frozen=True)
class CanvasSet:
    """One data set of a run, opened and encoded.

    Attributes:
        data: as it was opened.
        train, held: its clips to train on, and those that are held out.
    """

    data: TrainingData
    train: EncodedClips
    held: EncodedClips


class Canvases:
    """The canvases of a run: their clips, their batches and their loss.

    Targets come from a latent cache. Conditions are cropped and encoded as they are drawn, so no crop comes twice.

    Args:
        config: of the run.
        denoiser: the model that learns to complete them.
        seed: of the order of clips, and of what is given of them.

    Attributes:
        lengths: numbers of frames that a clip of the first data set may have, sorted.
        sets: the data sets, once `open` has opened them.

    Raises:
        InputError: a length does not fit the codec, or is too short for the conditions; or a share is not positive.
    """

    def __init__(self, config: CanvasConfig, denoiser: VideoDenoiser, seed: int) -> None:
        self.config, self.denoiser, self.codec, self.seed = config, denoiser, denoiser.codec, seed
        self.paradigm = choose_paradigm(denoiser.transformer.config.paradigm)
        check_batch("objective.batch", config.batch)
        self._shares = shares_of(config.more_data)
        self.lengths = self.lengths_of(config.frames)
        for more in config.more_data:
            self.lengths_of(config.frames if more.frames is None else more.frames)
        for length in config.conditions.clip_frames:
            try:
                check_frames(length, denoiser.strides.temporal)
            except InputError as error:
                raise InputError(f"objective.conditions.clip_frames: {error}") from error

    def lengths_of(self, frames: Any) -> list[int]:
        """The lengths that a recipe's `frames` says, each long enough for the conditions."""
        lengths = parse_lengths(frames, self.denoiser.strides.temporal)
        for length in lengths:
            check_conditions(self.config.conditions, length)
        return lengths

    def open(self, report: Path | None) -> None:
        """Opens the data, sorts them into buckets, and encodes the clips, trained and held-out ones apart.

        Args:
            report: a JSONL file that bad videos are added to.

        Raises:
            InputError: the data cannot be opened, or no clip is left to train on.
        """
        config = self.config
        self.sets = [self._opened(config.data, config.frames, config.clips, config.batch, report)]
        for more in config.more_data:
            frames, batch = more.frames or config.frames, share_of_batch(config.batch, more.batch)
            self.sets.append(self._opened(more, frames, more.clips, batch, report))

    def _opened(self, config: DataConfig, frames: Any, clips: int | None, batch: int, report: Path | None) -> CanvasSet:
        lengths, hold = self.lengths_of(frames), self.config.in_memory
        data = open_data(config, lengths, self.denoiser.strides.multiple, report=report, hold=hold)
        train = self._encoded(data, data.train, clips, batch)
        if not len(train):
            raise InputError(f"no clip of {data.footage.name} is left to train on: {data.bad.summary()}")
        return CanvasSet(data, train, self._encoded(data, data.held_out, self.config.validation_clips, batch))

    def _encoded(self, data: TrainingData, clips: Clips, count: int | None, batch: int) -> EncodedClips:
        config, codec = self.config, self.denoiser.codec_folder
        numbers = clips.windows() if count is None else clips.spread(count)
        workers = worker_count(config.latent_workers)
        return EncodedClips(clips, numbers, codec, config.latents, workers, data.bad, batch, self.seed)

    @property
    def captions(self) -> list[str]:
        """All that batches may say."""
        return [caption for each in self.sets for part in (each.train, each.held) for caption in part.captions]

    def batch(self, step: int, part: int, parts: int) -> CanvasBatch:
        """Clips of one bucket of one data set, in an order shuffled anew for every epoch, and what is given of them."""
        # The choice and the draw are the same in all parts of a step, so that no rank waits for a longer sequence.
        clips = self.sets[self._choice(step)].train
        bucket, numbers = clips.deal(step, part, parts)
        frames = clips.buckets[bucket].frames
        draw = draw_conditions(self.config.conditions, frames, np.random.default_rng((self.seed, step)))
        return self.of_clips(clips, bucket, numbers, draw, np.random.default_rng((self.seed, step, part + 1)))

    def _choice(self, step: int) -> int:
        """The data set of a step."""
        return int(np.random.default_rng((self.seed, step, 0, 2)).choice(len(self._shares), p=self._shares))

    def of_clips(
        self, encoded: EncodedClips, place: int, clips: Sequence[int], draw: ConditionDraw, rng: np.random.Generator
    ) -> CanvasBatch:
        """A batch of some clips.

        Args:
            encoded: the trained or the held-out clips.
            place: of their bucket.
            clips: B numbers of clips in it.
            draw: what is given of them.
            rng: of where it is given, and of the sentences that are dropped.
        """
        config, bucket = self.config, encoded.buckets[place]
        given = [draw_given(draw, config.conditions, bucket.frames, bucket.size, rng) for _ in clips]
        frames = np.stack([frames for frames, _ in given])
        samples = encoded.samples(place, clips, frames)
        masks = torch.from_numpy(np.stack([masks for _, masks in given])).unsqueeze(2)
        padding = self.denoiser.transformer.config.condition_padding
        nearest = Nearest.of(masks) if padding == "nearest" and draw.count else None
        pixels = GivenPixels(samples.pixels, masks, torch.from_numpy(frames), draw.kind == "clip", nearest)
        return CanvasBatch(
            clips=samples.names,
            text=["" if rng.random() < config.text_dropout else caption for caption in samples.captions],
            latent=samples.latents,
            given=pixels,
            condition_tokens=self._condition_tokens(pixels),
        )

    def _condition_tokens(self, given: GivenPixels) -> int | None:
        """See `CanvasBatch`."""
        pruned = self.denoiser.transformer.config.prune_conditions and isinstance(self.paradigm, Positions)
        if not pruned or not given.frames.shape[1]:
            return None
        strides = self.denoiser.strides
        stride = strides.temporal if given.as_clip else 1
        shares = latent_mask(given.masks.transpose(1, 2), strides.spatial, stride)[:, 0]
        return sum(kept_lengths(kept_tokens(shares, strides.patch, given.as_clip)))

    def tokens(self, batch: CanvasBatch) -> int:
        """How many tokens the targets and conditions of a batch are."""
        samples, _, frames, height, width = batch.latent.shape
        strides = self.denoiser.strides
        if batch.condition_tokens is not None:
            return samples * (LatentShape(frames, height, width, strides.patch).tokens + batch.condition_tokens)
        frames += self.paradigm.frames_beside(batch.given.latent_frames(strides.temporal), frames)
        return samples * LatentShape(frames, height, width, strides.patch).tokens

    def random_loss(self, batch: CanvasBatch) -> tuple[Tensor, Tensor]:
        """The loss [B] at random diffusion times, and these times."""
        latent, given = batch.latent.float(), self.conditioning(batch)
        noise = Noise.drawn(latent, self.config.time_mean, self.config.time_scale)
        return self.denoiser.mean_error(latent, noise, given, batch.text), noise.time

    def conditioning(self, batch: CanvasBatch) -> Conditioning:
        """What is given of a batch, by the paradigm that the model is trained for."""
        batch_size, channels, frames, height, width = batch.latent.shape
        shape = batch_size, channels, frames, height, width
        given = batch.given.given(self.denoiser.transformer.config.condition_padding)
        return self.paradigm.conditioning(self.codec, given, shape)

    @torch.no_grad()
    def validate(self, rank: int, world: int, after_batch: Callable[[], None]) -> dict[str, float]:
        """The loss on held-out clips at fixed noise, diffusion times and conditions; of further data sets it has their
        places."""
        results: dict[str, float] = {}
        for place, each in enumerate(self.sets):
            losses = self._losses(each.held, rank, world, after_batch)
            if losses:
                results["loss" + (f"/{each.data.footage.name}-{place}" if place else "")] = (
                    torch.cat(losses).mean().item()
                )
        return results

    def _losses(self, held: EncodedClips, rank: int, world: int, after_batch: Callable[[], None]) -> list[Tensor]:
        rng = np.random.default_rng(self.seed)
        losses: list[Tensor] = []
        for bucket, clips in held.shares(rank, world):
            draw = draw_conditions(self.config.conditions, held.buckets[bucket].frames, rng)
            batch = self.of_clips(held, bucket, clips, draw, rng).to(self.denoiser.device)
            noise = Noise.of_seed(batch.latent, self.seed + len(losses) * self.config.batch)
            losses.append(self.denoiser.mean_error(batch.latent.float(), noise, self.conditioning(batch), batch.text))
            after_batch()
        return losses

    @property
    def most_common(self) -> Bucket:
        """The bucket of the first data set with the most trained clips."""
        first = self.sets[0].train
        return max(zip(first.counts, first.buckets, strict=True))[1]

    def clip_tokens(self, bucket: Bucket) -> Tokens:
        """What the backbone reads of a clip of a bucket, from many draws of its conditions."""
        target, given = self.denoiser.strides.latent(bucket.frames, *bucket.size), self.given_frames(bucket.frames)
        return Tokens(target.tokens, target.frame_tokens * float(np.mean(given)), target.frame_tokens * max(given))

    def given_frames(self, frames: int) -> list[int]:
        """Latent frames that stand beside those of a clip of so many pixel frames, in many draws."""
        rng, stride = np.random.default_rng(0), self.denoiser.strides.temporal
        target = latent_frames(frames, stride)
        draws = (draw_conditions(self.config.conditions, frames, rng).latent_frames(stride) for _ in range(DRAWS))
        return [self.paradigm.frames_beside(given, target) for given in draws]
