"""Training the ego front-end together with the canvas: one backbone, both kinds of batch in every step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vgen.backbone.encoding import encode_frames
from vgen.backbone.rope import temporal_position
from vgen.backbone.segments import Segment, condition
from vgen.backbone.shapes import latent_frames
from vgen.backbone.transformer import BlockAdapter
from vgen.data.cache.shares import worker_count
from vgen.data.clips import Clips
from vgen.data.opening import TrainingData, open_data
from vgen.ego.actions import TimedActions
from vgen.ego.adapter import EgoAdapter
from vgen.errors import InputError
from vgen.media.pixels import to_unit
from vgen.models import EGO
from vgen.train.objectives.base import Batch
from vgen.train.objectives.bodies import body_shares
from vgen.train.objectives.canvas import CanvasConfig, CanvasObjective, by_noise, even_times, interpolate
from vgen.train.objectives.ego_data import Body, EgoBodyConfig, Question, front_end
from vgen.train.objectives.outline import NO_CANVAS, Outline, check_ego, ego_outline
from vgen.trajectory.statistics import Statistics

NOISY = 0.5  # diffusion times from here on; of the five steps of a rollout, three are there


@dataclass
class EgoConfig(CanvasConfig):
    """A canvas run of a pretrained folder, and the bodies whose hands drive it."""

    name: str = "ego"
    bodies: list[EgoBodyConfig] = field(default_factory=list)
    adapter: dict[str, Any] = field(default_factory=dict)  # of a new front-end: injection, fusion, width, heads
    ego_batch: int = 16  # clips of a body per rank, beside the canvas's `batch`
    ego_time_mean: float = 0.0  # as time_mean; what the actions decide is decided at the noisy times
    history: int = 4  # known frames at most, the present one among them
    history_noise: float = 0.0  # at most this share of the history is noise, and the model is told how much
    single: float = 0.25  # chance of a batch that asks for the next frame alone, rather than for chunks
    whole: float = 0.0  # chance of a batch that asks for all chunks of a clip, rather than for some
    moving: float = 0.0  # extra weight in the loss of what differs from the present frame
    goal: float = 0.15  # chance of a batch that is given a frame ahead
    anchor: float = 0.0  # chance of a batch that is given a frame further back; with any, a rollout keeps its first one
    anchor_reach: int = 64  # how many pixel frames back that is at most
    action_dropout: float = 0.1  # share of samples without actions, for classifier-free guidance over them
    default_action_guidance: float = 1.0  # of a rollout that does not say


class EgoObjective(CanvasObjective):
    """Velocity matching on the frames ahead, given the latest frames, the sentence and the actions; and on canvases.

    With a pretrained folder that has an `ego/`, that front-end is trained on, and new layouts are added to it.
    """

    Config = EgoConfig

    def __init__(self, config: EgoConfig, seed: int) -> None:
        if config.pretrained is None:
            raise InputError(NO_CANVAS)
        super().__init__(config, seed)
        self._shares = body_shares(config.bodies)
        check_ego(config, self.lengths, self.codec.temporal_stride)
        self.ego = front_end(config, self.transformer, self.codec.temporal_stride, EgoAdapter.from_pretrained)

    @classmethod
    def outline(cls, config: EgoConfig) -> Outline:
        """As in the base class."""
        return ego_outline(config)

    def prepare(self) -> None:
        """As in the base class; and the clips and trajectories of every body."""
        self.bodies, self.held_bodies = [], []
        for config in self.config.bodies:
            data = open_data(config.data, self.lengths, self._multiple(), report=self.bad_data)
            self.bodies.append(self._body(config, data, data.train, config.clips))
            self.held_bodies.append(self._body(config, data, data.held_out, self.config.validation_clips))
        for body in (*self.bodies, *self.held_bodies):
            self.prompts |= body.encoded.captions
        super().prepare()
        self._measure()

    def _body(self, config: EgoBodyConfig, data: TrainingData, clips: Clips, count: int | None) -> Body:
        own = self.config
        body = Body(config, data, clips, own.history * self.codec.temporal_stride)
        numbers = body.clips.windows() if count is None else body.clips.spread(count)
        workers = worker_count(own.latent_workers)
        body.encode(numbers, self.codec_folder, own.latents, workers, data.bad, own.ego_batch, self.seed)
        return body

    def _measure(self) -> None:
        """Statistics of layouts that have none yet; they travel in the front-end's configuration."""
        known = {name: kept for name, kept in self.ego.config.statistics.items() if kept}
        for body in self.bodies:
            if body.config.layout in known:
                body.check(Statistics.from_json(known[body.config.layout]))
            else:
                known[body.config.layout] = body.fit().to_json()
        rates = (self.ego.config.rates or {}) | {body.config.layout: body.fps for body in self.bodies}
        own = self.config
        defaults = {"history": own.history, "guidance": own.default_action_guidance, "anchor": own.anchor > 0}
        self.ego.register_to_config(statistics=known, rates=rates, **defaults)
        self._statistics = {name: Statistics.from_json(kept) for name, kept in known.items()}

    def batch(self, step: int, part: int, parts: int, progress: float) -> Batch:
        """{"canvas": a batch of the canvas, "ego": one of a body (see `Body.batch`)}."""
        rng = np.random.default_rng((self.seed, step, 0, 1))  # one question for all parts of a step
        body = self.bodies[rng.choice(len(self.bodies), p=self._shares)]
        question = self._question(rng)
        bucket, clips = body.encoded.deal(step, part, parts)
        ego = self._ask(body, bucket, clips, question)
        own = np.random.default_rng((self.seed, step, part + 1, 1))
        ego["drop"] = torch.from_numpy(own.random(len(clips)) < self.config.action_dropout)
        ego["text"] = ["" if own.random() < self.config.text_dropout else text for text in ego["text"]]
        ego["noise"] = torch.from_numpy(own.uniform(0, self.config.history_noise, len(clips)))
        return {"canvas": super().batch(step, part, parts, progress), "ego": ego}

    def _question(self, rng: np.random.Generator) -> Question:
        stride, frames = self.codec.temporal_stride, self.lengths[0]
        single = rng.random() < self.config.single
        most = latent_frames(frames, stride) - 1
        least = most if rng.random() < self.config.whole else 1
        chunks = 0 if single else int(rng.integers(least, most + 1))
        first = 2 if single else stride * chunks  # the last frame that is predicted may itself be the goal
        goal = int(rng.integers(first, frames)) if rng.random() < self.config.goal else None
        history, spacing = int(rng.integers(1, self.config.history + 1)), 1 if single else stride
        asked = rng.random() < self.config.anchor
        anchor = -int(rng.integers(spacing * history, self.config.anchor_reach + 1)) if asked else None
        return Question(history, spacing, chunks, goal, anchor)

    def _ask(self, body: Body, bucket: int, clips: Sequence[int], question: Question) -> Batch:
        name = body.config.layout
        return body.batch(bucket, clips, question, self._statistics[name]) | {"layout": name}

    def tokens(self, batch: Batch) -> int:
        """Of both kinds."""
        ego = batch["ego"]
        samples, _, _, h, w = ego["latent"].shape
        _, height, width = self.transformer.config.patch_size
        frames = max(1, ego["t"].shape[1]) + ego["frames"].shape[1]
        return super().tokens(batch["canvas"]) + samples * frames * (h // height) * (w // width)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The losses of both kinds, [B + B'], at random diffusion times."""
        canvas, time = self._random_loss(batch["canvas"], self.config.time_mean)
        ego, _ = self._random_loss(self._with_target(batch["ego"]), self.config.ego_time_mean)
        metrics = {"loss/canvas": canvas.detach(), "loss/ego": ego.detach()}
        return torch.cat([canvas, ego]), metrics | by_noise(canvas, time)

    def _with_target(self, batch: Batch) -> Batch:
        """The batch with its target and the weights of the loss. A single next frame is encoded alone, as a rollout
        that goes frame by frame needs it."""
        batch = self._encoded_target(batch)
        return batch | {"weight": moving_weight(batch["latent"].float(), batch["present"].float(), self.config.moving)}

    def _encoded_target(self, batch: Batch) -> Batch:
        if "next" not in batch:
            return batch
        latent = self.codec.encode_image(to_unit(batch["next"]))
        t = torch.full((len(latent), 1), 1 / self.codec.temporal_stride, dtype=torch.float64, device=latent.device)
        return batch | {"latent": latent, "t": t}

    def _conditions(self, batch: Batch) -> list[Segment]:
        if "present" not in batch:
            return super()._conditions(batch)
        history, *given = self._known(batch)
        if "noise" in batch:
            share = batch["noise"].to(history.latent)
            noisy = interpolate(history.latent, torch.randn_like(history.latent), share)
            history = Segment(noisy, history.t, share, "condition")
        return [history, *given]

    def _known(self, batch: Batch) -> list[Segment]:
        """The history: the present frame, whose latent is the first of the clip's own, and frames before it. Then what
        else is given, if anything is: an anchor, a goal."""
        present, pixels = batch["present"].float(), to_unit(batch["pixels"])
        places = temporal_position(batch["frames"], self.codec.temporal_stride).to(present.device)
        if not pixels.shape[1]:
            return [condition(present, places)]
        others = encode_frames(self.codec, pixels, torch.ones_like(pixels[:, :, :1]), batch["frames"][:, 1:])
        latents = torch.cat([present, others.latent], dim=2)
        sizes = [count for count in (batch["history"], places.shape[1] - batch["history"]) if count]
        parts = zip(latents.split(sizes, dim=2), places.split(sizes, dim=1), strict=True)
        return [condition(latent, t) for latent, t in parts]

    def _adapter(self, batch: Batch, conditions: Sequence[Segment], text: Tensor) -> BlockAdapter | None:
        if "actions" not in batch:
            return None
        actions = TimedActions(*(batch[name] for name in ("actions", "arrivals", "valid")))
        return self.ego.bind(actions, batch["layout"], conditions, text, batch.get("drop"))

    @torch.no_grad()
    def validate(self, rank: int, world: int) -> dict[str, float]:
        """As in the base class; and on held-out clips of the bodies, with the actions and without, over all diffusion
        times and over the noisier half alone, where most of a rollout's steps lie."""
        results = super().validate(rank, world)
        losses: dict[str, list[Tensor]] = defaultdict(list)
        rng = np.random.default_rng(self.seed)
        for body in self.held_bodies:
            for bucket, clips in body.encoded.shares(rank, world):
                batch = self._with_target(self._ask(body, bucket, clips, self._question(rng)))
                seed = self.seed + len(losses["loss_ego"])
                for suffix, drop in (("", False), ("_without_actions", True)):
                    asked = batch | {"drop": torch.full((len(clips),), drop)}
                    loss = self._fixed_loss(asked, seed)
                    losses[f"loss_ego{suffix}"].append(loss)
                    losses[f"loss_ego_noisy{suffix}"].append(loss[even_times(len(loss)) >= NOISY])
        return results | {name: torch.cat(parts).mean().item() for name, parts in losses.items()}

    def export(self, folder: Path) -> None:
        """As in the base class, and the front-end beside it."""
        super().export(folder)
        self.ego.save_pretrained(folder / EGO)


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
