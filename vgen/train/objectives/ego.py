"""Training the ego front-end together with the canvas: one backbone, both kinds of batch in every step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vgen.backbone.conditioning import Conditioning
from vgen.backbone.encoding import encode_frames
from vgen.backbone.on_paper import on_paper
from vgen.backbone.segments import Segment, condition
from vgen.backbone.shapes import LatentShape, latent_frames, temporal_position
from vgen.checks import MOST, within
from vgen.data.buckets import Bucket
from vgen.data.cache.shares import worker_count
from vgen.data.clips import Clips
from vgen.data.opening import TrainingData, check_batch, open_data, parse_lengths
from vgen.ego.adapter import EgoAdapter
from vgen.errors import InputError
from vgen.media.pixels import to_unit
from vgen.models import EGO, TrainingRange, forget_places, resolve
from vgen.models.picture_probe import latent_looks
from vgen.train.batch import Batch
from vgen.train.objectives.base import by_noise
from vgen.train.objectives.bodies import body_shares
from vgen.train.objectives.building import blank
from vgen.train.objectives.canvases import CanvasBatch, CanvasConfig
from vgen.train.objectives.denoiser import Noise, even_times, interpolate
from vgen.train.objectives.ego_data import BodyClips, EgoBatch, EgoBodyConfig, EgoTarget, FrameChoice
from vgen.train.objectives.outline import BodyOutline, Outline, Tokens
from vgen.train.objectives.trained_on import PICTURES, range_of_bodies, range_of_clips, range_of_pictures
from vgen.train.objectives.video import VideoObjective
from vgen.trajectory.layouts import find_layout
from vgen.trajectory.statistics import Statistics

NOISY = 0.5  # diffusion times from here on; of the five steps of a rollout, three are there


@dataclass
class EgoConfig(CanvasConfig):
    """A canvas run of a pretrained folder, and the bodies whose hands drive it."""

    name: str = "ego"
    bodies: list[EgoBodyConfig] = field(default_factory=list)
    adapter: dict[str, Any] = field(default_factory=dict)  # of a new front-end: injection, fusion, width, heads
    body_frames: int | None = None  # T of a body's clip; none: that of the canvases, who then have one length
    ego_batch: int = 16  # clips of a body per rank, beside the canvas's `batch`
    ego_time_mean: float = within(0.0, -MOST)  # as time_mean; what the actions decide is decided at the noisy times
    history: int = within(4, 1)  # known frames at most, the present one among them
    history_noise: float = within(0.0, 0, 1)  # at most this share of the history is noise; the model is told how much
    single: float = within(0.25, 0, 1)  # chance of a batch that asks for the next frame alone, rather than for chunks
    whole: float = within(0.0, 0, 1)  # chance of a batch that asks for all chunks of a clip, rather than for some
    moving: float = within(0.0, 0)  # extra weight in the loss of what differs from the present frame
    goal: float = within(0.15, 0, 1)  # chance of a batch that is given a frame ahead
    anchor: float = within(0.0, 0, 1)  # chance of a batch that is given a frame further back; a rollout keeps one
    anchor_reach: int = 64  # how many pixel frames back that is at most
    action_dropout: float = within(0.1, 0, 1)  # share of samples without actions, for guidance over them
    default_action_guidance: float = within(1.0, 0, 100)  # of a rollout that does not say


@dataclass(frozen=True)
class JointBatch(Batch):
    """A batch of each front-end, for one step of their backbone."""

    canvas: CanvasBatch
    ego: EgoBatch


class EgoObjective(VideoObjective[JointBatch]):
    """Velocity matching on the frames ahead, given the latest frames, the sentence and the actions; and on canvases.

    With a pretrained folder that has an `ego/`, that front-end is trained on, and new layouts are added to it.

    Attributes:
        ego: the front-end.
        body_lengths: the one number of frames of a body's clips, in a list.
        bodies, held_bodies: the trained and the held-out clips of each body, once `prepare` has opened them.
    """

    Config = EgoConfig
    config: EgoConfig

    def __init__(self, config: EgoConfig, seed: int) -> None:
        if config.pretrained is None:
            raise InputError("objective.pretrained: the ego front-end needs a trained canvas model; name its folder")
        check_batch("objective.ego_batch", config.ego_batch)
        super().__init__(config, seed)
        self._shares = body_shares(config.bodies)
        self._check_choices()
        self.ego = self._front_end(config.pretrained)
        self._kept: dict[str, dict[str, Any]] = {}  # statistics that the run began with

    def _check_choices(self) -> None:
        config = self.config
        if (paradigm := self.transformer.config.paradigm) != "in_context":
            rule = "the ego front-end conditions in context; train it on a canvas model that does"
            raise InputError(f"objective.pretrained={config.pretrained} is trained with paradigm={paradigm}: {rule}")
        if config.body_frames is None and len(self.canvases.lengths) != 1:
            rule = "bodies have clips of one length; say it with objective.body_frames, such as 17"
            raise InputError(f"objective.frames={config.frames}: {rule}")
        frames = self.canvases.lengths if config.body_frames is None else config.body_frames
        self.body_lengths = parse_lengths(frames, self.denoiser.strides.temporal)
        least = config.history * self.denoiser.strides.temporal
        if config.anchor and config.anchor_reach < least:
            rule = f"must reach back beyond {config.history} frames of history; nearest: {least}"
            raise InputError(f"objective.anchor_reach={config.anchor_reach} {rule}")

    def _front_end(self, pretrained: str) -> EgoAdapter:
        """The front-end of the pretrained folder, or a new one; it knows the layouts of all bodies."""
        config = self.config
        widths = {body.layout: find_layout(body.layout).network.width for body in config.bodies}
        folder = Path(resolve(pretrained)) / EGO
        if not folder.is_dir():
            stride = self.denoiser.strides.temporal
            return EgoAdapter.for_backbone(self.transformer, stride, widths, {}, **config.adapter)
        ego = blank(EgoAdapter, folder) if on_paper() else EgoAdapter.from_pretrained(folder)
        for name in widths.keys() - ego.config.layouts.keys():
            ego.add_layout(name, widths[name], {})
        return ego

    def outline(self) -> Outline:
        """What a dry run has to know: of the canvases, and of the clips of every body."""
        config = self.config
        bodies = [
            BodyOutline(
                body.layout, body.data, body.clips, config.ego_batch, float(share), self.clip_tokens, body.column
            )
            for body, share in zip(config.bodies, self._shares, strict=True)
        ]
        return replace(super().outline(), bodies=bodies)

    def clip_tokens(self, bucket: Bucket) -> Tokens:
        """What the backbone reads of a body's clip of a bucket."""
        config, clip = self.config, self.denoiser.strides.latent(bucket.frames, *bucket.size)
        chances = (config.anchor, config.goal)
        known, most = (1 + config.history) / 2 + sum(chances), config.history + sum(chance > 0 for chance in chances)
        area = clip.frame_tokens
        return Tokens(clip.tokens - area, area * known, area * most)

    def prepare(self) -> None:
        """Encodes the clips of every body, then those of the canvases; and measures statistics of the trajectories."""
        self.bodies, self.held_bodies = [], []
        for config in self.config.bodies:
            lengths, multiple = self.body_lengths, self.denoiser.strides.multiple
            data = open_data(config.data, lengths, multiple, report=self.bad_data, hold=self.config.in_memory)
            self.bodies.append(self._body(config, data, data.train, config.clips))
            self.held_bodies.append(self._body(config, data, data.held_out, self.config.validation_clips))
        for body in (*self.bodies, *self.held_bodies):
            self.prompts |= body.encoded.captions
        super().prepare()
        self._measure()

    def own_range(self, before: TrainingRange | None) -> TrainingRange:
        """What this run trains on, its bodies too; of a layout that the model knew without saying from where, nothing
        is said."""
        known = {} if before is not None else self.ego.config.statistics
        bodies = [body for body in self.bodies if not known.get(body.config.layout)]
        clips = [*(each.data.train for each in self.canvases.sets), *(body.clips for body in self.bodies)]
        shown = ((body.config.layout, *body.pictures(PICTURES)) for body in bodies)
        pictures = range_of_pictures(shown, self._other_pictures())
        own = range_of_clips(clips, self.config.conditions)
        layouts = range_of_bodies([body.absolute for body in bodies])
        return replace(own, layouts=layouts, hands=pictures.hands, scenes=pictures.scenes)

    def _other_pictures(self) -> list[np.ndarray]:
        """Of the canvases of data sets that no body is in: the looks of first frames, see `latent_looks`."""
        bodies = {Path(body.data.dataset or "").resolve() for body in self.config.bodies}
        shares = zip([self.config.data, *self.config.more_data], self.canvases.sets, strict=True)
        sets = [each for share, each in shares if Path(share.dataset or "").resolve() not in bodies]
        return [
            latent_looks(sample.latents[:, :, 0].float().numpy())[0]
            for each in sets
            for sample in each.train.spread(-(-PICTURES // len(sets)))
        ]

    def measured(self) -> dict[str, Any]:
        """The statistics of all layouts."""
        return {name: kept.to_json() for name, kept in self.statistics.items()}

    def keep_measured(self, measured: Mapping[str, Any]) -> None:
        """The statistics with which the run began."""
        self._kept = dict(measured)

    def _body(self, config: EgoBodyConfig, data: TrainingData, clips: Clips, count: int | None) -> BodyClips:
        own = self.config
        body = BodyClips(config, data, clips, own.history * self.denoiser.strides.temporal)
        numbers = body.clips.windows() if count is None else body.clips.spread(count)
        workers = worker_count(own.latent_workers)
        body.encode(numbers, self.denoiser.codec_folder, own.latents, workers, data.bad, own.ego_batch, self.seed)
        return body

    def _measure(self) -> None:
        """Statistics of layouts that have none yet; they travel in the front-end's configuration."""
        known = {name: kept for name, kept in self.ego.config.statistics.items() if kept} | self._kept
        for body in self.bodies:
            if body.config.layout in known:
                body.check(Statistics.from_json(known[body.config.layout]))
            else:
                known[body.config.layout] = body.fit().to_json()
        rates = (self.ego.config.rates or {}) | {body.config.layout: body.fps for body in self.bodies}
        own = self.config
        defaults = {"history": own.history, "guidance": own.default_action_guidance, "anchor": own.anchor > 0}
        self.ego.register_to_config(statistics=known, rates=rates, **defaults)
        self.statistics = {name: Statistics.from_json(kept) for name, kept in known.items()}

    def batch(self, step: int, part: int, parts: int, progress: float) -> JointBatch:
        """Canvases, and clips of one body."""
        rng = np.random.default_rng((self.seed, step, 0, 1))  # one choice for all parts of a step
        body = self.bodies[rng.choice(len(self.bodies), p=self._shares)]
        choice = self.choose_frames(rng)
        bucket, clips = body.encoded.deal(step, part, parts)
        ego = body.batch(bucket, clips, choice, self.statistics[body.config.layout])
        own = np.random.default_rng((self.seed, step, part + 1, 1))
        drop = torch.from_numpy(own.random(len(clips)) < self.config.action_dropout)
        text = ["" if own.random() < self.config.text_dropout else text for text in ego.text]
        noise = torch.from_numpy(own.uniform(0, self.config.history_noise, len(clips)))
        ego = replace(ego, drop=drop, text=text, noise=noise)
        return JointBatch(self.canvases.batch(step, part, parts), ego)

    def choose_frames(self, rng: np.random.Generator) -> FrameChoice:
        """What a batch is given and asked for, as often as the config says."""
        config, stride, frames = self.config, self.denoiser.strides.temporal, self.body_lengths[0]
        single = rng.random() < config.single
        most = latent_frames(frames, stride) - 1
        least = most if rng.random() < config.whole else 1
        chunks = 0 if single else int(rng.integers(least, most + 1))
        first = 2 if single else stride * chunks  # the last frame that is predicted may itself be the goal
        goal = int(rng.integers(first, frames)) if rng.random() < config.goal else None
        history, spacing = int(rng.integers(1, config.history + 1)), 1 if single else stride
        asked = rng.random() < config.anchor
        anchor = -int(rng.integers(spacing * history, config.anchor_reach + 1)) if asked else None
        return FrameChoice(history, spacing, chunks, goal, anchor)

    def tokens(self, batch: JointBatch) -> int:
        """How many tokens the backbone sees of the canvases and of the clips of the body."""
        ego = batch.ego
        samples, _, _, height, width = ego.present.shape
        frames = max(1, ego.chunks.t.shape[1]) + ego.frames.shape[1]
        clip = LatentShape(frames, height, width, self.denoiser.strides.patch)
        return self.canvases.tokens(batch.canvas) + samples * clip.tokens

    def forward(self, batch: JointBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The losses of both kinds, [B + B'], at random diffusion times."""
        config = self.config
        canvas, time = self.canvases.random_loss(batch.canvas)
        target = batch.ego.target(self.denoiser.codec)
        ego = self.loss(batch.ego, target, Noise.drawn(target.latent, config.ego_time_mean, config.time_scale))
        metrics = {"loss/canvas": canvas.detach(), "loss/ego": ego.detach()}
        return torch.cat([canvas, ego]), metrics | by_noise(canvas, time)

    def loss(self, batch: EgoBatch, target: EgoTarget, noise: Noise) -> Tensor:
        """Mean squared error [B] of the predicted velocity of the target, what moves weighing more."""
        conditions, text = self.conditions(batch), self.denoiser.text(batch.text)
        weight = moving_weight(target.latent, batch.present.float(), self.config.moving)
        actions = self.ego.bind(batch.actions, batch.layout, conditions, text, batch.drop)
        error = self.denoiser.squared_error(target.latent, noise, Conditioning(conditions), text, target.t, actions)
        return (error * weight).flatten(1).mean(1)

    def conditions(self, batch: EgoBatch) -> list[Segment]:
        """The history, as noisy as the batch says, and then what else is given, if anything is: an anchor, a goal."""
        history, *given = self._known(batch)
        if batch.noise is not None:
            share = batch.noise.to(history.latent)
            noisy = interpolate(history.latent, torch.randn_like(history.latent), share)
            history = Segment(noisy, history.t, share, "condition")
        return [history, *given]

    def _known(self, batch: EgoBatch) -> list[Segment]:
        """What is known, clean. The present frame's latent is the first of the clip's own."""
        present, pixels, codec = batch.present.float(), to_unit(batch.known), self.denoiser.codec
        places = temporal_position(batch.frames, codec.temporal_stride).to(present.device)
        if not pixels.shape[1]:
            return [condition(present, places)]
        others = encode_frames(codec, pixels, torch.ones_like(pixels[:, :, :1]), batch.frames[:, 1:])
        latents = torch.cat([present, others.latent], dim=2)
        sizes = [count for count in (batch.history, places.shape[1] - batch.history) if count]
        parts = zip(torch.split(latents, sizes, dim=2), torch.split(places, sizes, dim=1), strict=True)
        return [condition(latent, t) for latent, t in parts]

    @torch.no_grad()
    def validate(self, rank: int, world: int, after_batch: Callable[[], None]) -> dict[str, float]:
        """The loss on held-out canvases; and on held-out clips of the bodies, with the actions and without, over all
        diffusion times and over the noisier half alone, where most of a rollout's steps lie."""
        results = self.canvases.validate(rank, world, after_batch)
        losses: dict[str, list[Tensor]] = defaultdict(list)
        rng = np.random.default_rng(self.seed)
        for body in self.held_bodies:
            for bucket, clips in body.encoded.shares(rank, world):
                asked = body.batch(bucket, clips, self.choose_frames(rng), self.statistics[body.config.layout])
                batch = asked.to(self.denoiser.device)
                target = batch.target(self.denoiser.codec)
                noise = Noise.of_seed(target.latent, self.seed + len(losses["loss_ego"]))
                noisy = even_times(len(clips)) >= NOISY
                for suffix, drop in (("", False), ("_without_actions", True)):
                    told = replace(batch, drop=torch.full((len(clips),), drop, device=self.denoiser.device))
                    loss = self.loss(told, target, noise)
                    losses[f"loss_ego{suffix}"].append(loss)
                    losses[f"loss_ego_noisy{suffix}"].append(loss[noisy])
                after_batch()
        return results | {name: torch.cat(parts).mean().item() for name, parts in losses.items()}

    def export(self, folder: Path) -> None:
        """Writes the whole pipeline, and the front-end beside it."""
        super().export(folder)
        self.ego.save_pretrained(folder / EGO)
        forget_places(folder / EGO)


def moving_weight(latent: Tensor, present: Tensor, extra: float) -> Tensor:
    """Weights [B, 1, F, h, w] of mean 1 in each sample: 1 + extra · the squared change against the present frame, as a
    share of its mean. Most of a scene stands still, and tells nothing of what the actions did.

    Args:
        latent: [B, C, F, h, w] of the frames ahead.
        present: [B, C, 1, h, w].
    """
    change = (latent - present).square().mean(1, keepdim=True)
    share = change / change.mean(dim=(1, 2, 3, 4), keepdim=True).clamp(min=1e-6)
    weight = 1 + extra * share
    return weight / weight.mean(dim=(1, 2, 3, 4), keepdim=True)
