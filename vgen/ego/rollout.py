"""Rollouts: predicting on and on, each new frame becoming a condition.

A step advances by one pixel frame (the target is a single image-mode latent at t = τ/N) or by latent chunks of N (the
targets lie on the latent grid, and the codec decodes them after the latest frame): the same code with other targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vgen.backbone.cache import ConditionCache
from vgen.backbone.segments import Segment, condition
from vgen.backbone.shapes import check_advance, check_size, temporal_position
from vgen.ego.actions import TimedActions
from vgen.ego.adapter import BoundActions
from vgen.ego.pipeline import EgoPipeline
from vgen.errors import InputError


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


class Rollout:
    """A video that goes on; in a batch of B, B different futures.

    Args:
        pipe: the model.
        frames: [B, 3, K, H, W] in [-1, 1], what was seen; the last one is frame 0 of the rollout.
        texts: B sentences.
        layout: of the actions.
        settings: see there.
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
        self.pipe, self.layout, self.settings, self.generator = pipe, layout, settings, generator
        self.stride = pipe.temporal_stride
        _check(settings, self.stride)
        height, width = frames.shape[-2:]
        check_size(height, width, pipe.size_multiple)
        self.size = height, width
        self.text = pipe.embed(texts)
        self.goals = [goal for goal in goals if goal.t.max() > 0]
        self.now = 0
        own = pipe.ego.info
        self._window = settings.window or own.history
        self._guidance = own.guidance if settings.guidance is None else settings.guidance
        self._spacing = min(settings.advance, self.stride)
        self._actions = past
        self._history: list[Segment] = []
        self._cache: ConditionCache | None = None
        for frame in self._spaced(frames.shape[2]):
            self._keep(pipe.codec.encode_image(frames[:, :, frame - 1]), frame)
        self._anchored = own.anchor if settings.anchor is None else settings.anchor
        self._first = self._history[-1]

    @torch.no_grad()
    def step(self, actions: TimedActions) -> Tensor:
        """The `advance` frames that follow: video [B, 3, advance, H, W] in [-1, 1].

        Args:
            actions: `advance` normalised ones, which arrive at the frames now + 1 and on.
        """
        arrivals = list(range(self.now + 1, self.now + 1 + self.settings.advance))
        assert actions.arrivals[0].tolist() == arrivals, f"actions arrive at {actions.arrivals[0]}, not {arrivals}"
        known = actions if self._actions is None else self._actions.then(actions)
        self._actions = known.after(self.now - self._window * self.stride)
        self.goals = [goal for goal in self.goals if goal.t.max() * self.stride > self.now]
        latents = self._predict()
        return self._show_frame(latents) if self.settings.advance == 1 else self._show_chunk(latents)

    def _predict(self) -> Tensor:
        """Latents of the next step: one image-mode latent, or the chunks that follow on the latent grid."""
        ends = [self.now + 1] if self.settings.advance == 1 else self._chunk_ends()
        t = temporal_position(torch.tensor([ends]), self.stride).expand(len(self.text), -1).to(self.text.device)
        guidance = 1.0 if self.settings.blind else self._guidance
        return self.pipe.predict(
            [*([] if self._cache is not None else self._history), *self._given()],
            self.text,
            t,
            self.size,
            actions=self._bind(drop=self.settings.blind),
            without=self._bind(drop=True) if guidance != 1 else None,
            guidance=guidance,
            cache=self._cache,
            generator=self.generator,
            steps=self.settings.steps,
        )

    def _bind(self, drop: bool) -> BoundActions:
        assert self._actions is not None, "a step has told of its actions"
        device, context = self.text.device, [*self._history, *self._given()]
        dropped = torch.full((len(self.text),), drop, device=device) if drop else None
        return self.pipe.ego.bind(self._actions.to(device), self.layout, context, self.text, dropped, self.now)

    def _given(self) -> list[Segment]:
        """Conditions beside the history: the frame that all began with, once the window has let it go, and goals."""
        out_of_view = all(kept is not self._first for kept in self._history)
        return [*([self._first] if self._anchored and out_of_view else []), *self.goals]

    def _chunk_ends(self) -> list[int]:
        return [self.now + end for end in range(self.stride, self.settings.advance + 1, self.stride)]

    def _show_frame(self, latent: Tensor) -> Tensor:
        self.now += 1
        self._keep(latent, self.now)
        return self.pipe.codec.decode(latent)

    def _show_chunk(self, latents: Tensor) -> Tensor:
        """The codec is causal: it decodes what follows the latest frame, which it takes in image mode."""
        latest = self._history[-1].latent
        video = self.pipe.codec.decode(torch.cat([latest, latents], dim=2))[:, :, 1:]
        for end in self._chunk_ends():
            self._keep(self.pipe.codec.encode_image(video[:, :, end - self.now - 1]), end)
        self.now += self.settings.advance
        return video

    def _spaced(self, count: int) -> list[int]:
        """Those of the frames 1 - count .. 0 that the window holds, oldest first."""
        return list(range(0, -count, -self._spacing))[: self._window][::-1]

    def _keep(self, latent: Tensor, frame: int) -> None:
        """One more condition; the oldest one goes when the window is full."""
        t = temporal_position(torch.full((len(latent), 1), frame), self.stride).to(latent.device)
        newest = condition(latent, t)
        self._history = [*self._history, newest][-self._window :]
        if self.pipe.transformer.independent:
            kept = self.pipe.transformer.remember([newest], self.text)
            kept = kept if self._cache is None else self._cache.append(kept)
            self._cache = kept.window(self._window)


def _check(settings: RolloutSettings, stride: int) -> None:
    check_advance(settings.advance, stride)
    if settings.window is not None and settings.window < 1:
        raise InputError(f"window={settings.window} must keep 1 frame or more; nearest: 1")
