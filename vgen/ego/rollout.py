"""Rollouts: predicting on and on, each new frame becoming a condition.

A step advances by one pixel frame (the target is a single image-mode latent at t = τ/N) or by latent chunks of N (the
targets lie on the latent grid, and the codec decodes them after the latest frame): the same code with other targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from vgen.backbone.cache import ConditionCache
from vgen.backbone.known import Known
from vgen.backbone.segments import Segment, condition
from vgen.backbone.shapes import check_advance, check_size, temporal_position
from vgen.ego.actions import TimedActions
from vgen.ego.pipeline import EgoPipeline
from vgen.errors import InputError
from vgen.models import ModelInfo


@dataclass(frozen=True)
class RolloutSettings:
    """The settings of a rollout.

    Attributes:
        advance: pixel frames per step: 1, or a multiple of the codec's temporal stride.
        window: how many past frames are conditions, `advance` apart but no more than the stride; older ones go. As many
            as the model was trained with, when None.
        steps: of denoising; the model's default when None.
        guidance: classifier-free guidance over the actions, 1 is none; the model's default when None.
        blind: without the actions: they become the learned null of the front-end, as training drops them.
        anchor: whether the frame that the rollout begins with stays a condition for ever, so that what the window has
            forgotten is not lost; whether the model was trained so, when None.
    """

    advance: int = 4
    window: int | None = None
    steps: int | None = None
    guidance: float | None = None
    blind: bool = False
    anchor: bool | None = None


@dataclass(frozen=True)
class Kept:
    """A condition of a rollout, and what the backbone remembers of it, if anything."""

    segment: Segment
    cache: ConditionCache | None


class Rollout:
    """A video that goes on; in a batch of B, B different futures.

    Args:
        pipe: the model.
        frames: [B, 3, K, H, W] in [-1, 1], what was seen; the last one is frame 0 of the rollout.
        texts: B sentences.
        layout: of the actions.
        settings: how far each call goes, and how frames are denoised.
        past: actions that arrived until frame 0: of a layout in absolute form, among them the state at frame 0.
        goals: conditions ahead in time, at positions counted from frame 0; each counts until its frame is reached.
        generator: of the noise; B of them, one for each future, make a future independent of its batch.

    Attributes:
        now: the latest frame.

    Raises:
        InputError: an advance that is neither 1 nor a multiple of the stride, an empty window, or frames of a size that
            the model cannot take.
    """

    def __init__(
        self,
        pipe: EgoPipeline,
        frames: Tensor,
        texts: Sequence[str],
        layout: str,
        settings: RolloutSettings,
        past: TimedActions | None = None,
        goals: Sequence[Segment] = (),
        generator: torch.Generator | list[torch.Generator] | None = None,
    ) -> None:
        info = ModelInfo.of(pipe)
        own = info.ego
        assert own is not None, "the pipeline has a front-end"
        check_advance(settings.advance, info.temporal_stride)
        if settings.window is not None and settings.window < 1:
            raise InputError(f"window={settings.window} must keep 1 frame or more; nearest: 1")
        height, width = frames.shape[-2:]
        check_size(height, width, info.size_multiple)
        self.pipe, self.layout, self.settings, self.generator = pipe, layout, settings, generator
        self.stride, self.size = info.temporal_stride, (height, width)
        self.text = pipe.embed(texts)
        self.goals = [self._kept(goal) for goal in goals if goal.t.max() > 0]
        self.now = 0
        self._window = settings.window or own.history
        self._guidance = own.guidance if settings.guidance is None else settings.guidance
        self._anchored = own.anchor if settings.anchor is None else settings.anchor
        self._actions = past
        self._history: list[Kept] = []
        apart = min(settings.advance, self.stride)
        for frame in list(range(0, -frames.shape[2], -apart))[: self._window][::-1]:  # oldest first
            self._keep(pipe.codec.encode_image(frames[:, :, frame - 1]), frame)
        self._first = self._history[-1]

    @torch.no_grad()
    def step(self, actions: TimedActions) -> Tensor:
        """The `advance` frames that follow: video [B, 3, advance, H, W] in [-1, 1].

        Args:
            actions: `advance` normalised ones, which arrive at the frames now + 1 and on.
        """
        arrivals = list(range(self.now + 1, self.now + 1 + self.settings.advance))
        assert actions.arrivals[0].tolist() == arrivals, f"actions arrive at {actions.arrivals[0]}, not {arrivals}"
        self.goals = [goal for goal in self.goals if goal.segment.t.max() * self.stride > self.now]
        latents, codec, ends = self._predict(actions), self.pipe.codec, self._ends()
        if self.settings.advance == 1:
            video, kept = codec.decode(latents), [latents]
        else:  # the codec is causal: it decodes what follows the latest frame, which it takes in image mode
            video = codec.decode(torch.cat([self._history[-1].segment.latent, latents], dim=2))[:, :, 1:]
            kept = [codec.encode_image(video[:, :, end - self.now - 1]) for end in ends]
        for latent, end in zip(kept, ends, strict=True):
            self._keep(latent, end)
        self.now = ends[-1]
        return video

    def _predict(self, actions: TimedActions) -> Tensor:
        """Latents of the next step under its actions: one image-mode latent, or the chunks that follow on the latent
        grid."""
        kept, device = [*self._history, *self._given()], self.text.device
        t = temporal_position(torch.tensor([self._ends()]), self.stride).expand(len(self.text), -1).to(device)
        known = actions if self._actions is None else self._actions.then(actions)
        self._actions = known.after(self.now - self._window * self.stride)
        told, context = self._actions.to(device), [each.segment for each in kept]
        caches = [each.cache for each in kept if each.cache is not None]
        bind = partial(self.pipe.ego.bind, told, self.layout, context, self.text, now=self.now)
        all_of_them = torch.ones(len(self.text), dtype=torch.bool, device=device)
        guidance = 1.0 if self.settings.blind else self._guidance
        return self.pipe.predict(
            [each.segment for each in kept if each.cache is None],
            self.text,
            t,
            self.size,
            actions=bind(drop=all_of_them if self.settings.blind else None),
            without=bind(drop=all_of_them) if guidance != 1 else None,
            guidance=guidance,
            cache=ConditionCache.concatenate(caches) if caches else None,
            generator=self.generator,
            steps=self.settings.steps,
        )

    def _ends(self) -> list[int]:
        """The frames at which the latents of the next step end."""
        step = min(self.settings.advance, self.stride)
        return [self.now + end for end in range(step, self.settings.advance + 1, step)]

    def _given(self) -> list[Kept]:
        """Conditions beside the history: the frame that all began with, once the window has let it go, and goals."""
        out_of_view = all(kept is not self._first for kept in self._history)
        return [*([self._first] if self._anchored and out_of_view else []), *self.goals]

    def _keep(self, latent: Tensor, frame: int) -> None:
        """One more condition; the oldest one goes when the window is full."""
        t = temporal_position(torch.full((len(latent), 1), frame), self.stride).to(latent.device)
        self._history = [*self._history, self._kept(condition(latent, t))][-self._window :]

    def _kept(self, segment: Segment) -> Kept:
        """A condition to keep for many steps."""
        transformer, remember = self.pipe.transformer, self.pipe.remembers_conditions
        return Kept(segment, Known.of_text(transformer, self.text, [segment], remember=remember).cache)
