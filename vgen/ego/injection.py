"""Injection: how the fused actions enter the video tokens after a block of the backbone. Which way is a choice.

To add one, write a class and name it in `INJECTIONS`; `objective.adapter.injection=gate` then trains it, and a model
folder that names it loads it. This one adds to each video token the mean of the actions that it sees:

    class Gate(Injection):
        def __init__(self, video_width: int, width: int, heads: int) -> None:
            super().__init__()
            self.out = nn.Linear(width, video_width, bias=False)
            nn.init.zeros_(self.out.weight)  # untrained, it changes nothing

        def prepare(self, actions: TimedActions) -> Tensor:
            return self.out(actions.values)  # [B, A, D], once for all denoising steps

        def forward(self, tokens: Tensor, visibility: ActionVisibility, prepared: Tensor) -> Tensor:
            share = visibility.token_visible.type_as(prepared)  # [B, L, A]
            return share @ prepared / share.sum(2, keepdim=True).clamp(min=1)

    INJECTIONS["gate"] = Gate

Three rules, which tests/ego/test_injection.py holds every entry to: an injection is causal (a token of latent time t
feels the actions that arrive at N·t or before, `ActionVisibility` says which); it starts at zero, so that an untrained
front-end changes nothing; and it gives exactly zero to a token that sees no action. Those here also know where in the
image a token lies, which self-attention, whose positions are relative, hardly tells.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from vgen.backbone.attention import KeysValues
from vgen.backbone.rope import Rotation
from vgen.backbone.segments import Places
from vgen.ego.actions import TimedActions
from vgen.ego.fourier import fourier_features
from vgen.ego.timed_attention import TimedAttention, not_later, rotation_at

POSITION_OCTAVES = 6  # the shortest wave is an eighth of the image
POSITION_WIDTH = 2 * 2 * POSITION_OCTAVES


@dataclass(frozen=True)
class ActionVisibility:
    """What the video tokens see of the actions, and where these tokens lie in the image.

    What is seen is the same for all tokens of a latent frame.

    Attributes:
        frame: [L], of each video token its latent frame.
        visible: [B, F, A] bool, which actions a frame sees.
        age: [B, F, A] float32, how many pixel frames before a frame each action arrived.
        rotation: cos and sin of the frames' times.
        spot: [L, POSITION_WIDTH], where in the image each video token lies.
    """

    frame: Tensor
    visible: Tensor
    age: Tensor
    rotation: Rotation
    spot: Tensor

    @property
    def token_rotation(self) -> Rotation:
        """The cosines and sines of the times of all video tokens."""
        cos, sin = self.rotation
        return cos[:, self.frame], sin[:, self.frame]

    @property
    def token_age(self) -> Tensor:
        """For each video token, how many pixel frames ago each action arrived: [B, L, A]."""
        return self.age[:, self.frame]

    @property
    def token_visible(self) -> Tensor:
        """Which actions each video token sees: bool [B, L, A]."""
        return self.visible[:, self.frame]


def action_visibility(
    frame_times: Tensor, frame: Tensor, spot: Tensor, actions: TimedActions, head_width: int
) -> ActionVisibility:
    """What the video tokens see of some actions.

    Args:
        frame_times: [B, F], where the latent frames lie, in pixel frames.
        frame: [L], of each video token its latent frame.
        spot: [L, 2], of each video token its position in the image, as `Places.spot` of the backbone.
        actions: fused.
        head_width: channels of an attention head.
    """
    visible = not_later(actions.arrivals, frame_times) & actions.valid.unsqueeze(1)
    age = (frame_times.unsqueeze(2) - actions.arrivals.unsqueeze(1)).clamp(min=0).float()
    return ActionVisibility(
        frame, visible, age, rotation_at(frame_times, head_width), fourier_features(spot, POSITION_OCTAVES)
    )


class Injection(nn.Module, ABC):
    """What a way of injection is: a module for each block of the backbone.

    Each is made with three numbers: channels D of the video tokens, channels W of the fused actions, which are also
    those of all attention heads together, and the number of heads.
    """

    @abstractmethod
    def prepare(self, actions: TimedActions) -> Any:
        """What `forward` needs of the fused actions, computed once for all denoising steps."""

    @abstractmethod
    def forward(self, tokens: Tensor, visibility: ActionVisibility, prepared: Any) -> Tensor:
        """The update of the video tokens [B, L, D], to be added to them."""


class BoundActions:
    """Actions that are fused and prepared for every block: a `BlockAdapter` of the backbone.

    Args:
        injections: of each block.
        actions: fused.
        stride: N, pixel frames per latent unit.
        head_width: channels of an attention head.
    """

    def __init__(self, injections: nn.ModuleList, actions: TimedActions, stride: int, head_width: int) -> None:
        self.injections, self.actions, self.stride, self.head_width = injections, actions, stride, head_width
        self.prepared = [injection.prepare(actions) for injection in cast(Iterable[Injection], injections)]
        self._last: tuple[Places, Tensor, ActionVisibility, bool] | None = None

    def __call__(self, block: int, tokens: Tensor, places: Places) -> Tensor:
        """Adds to the target tokens what they read of the actions; tokens are [B, L, D], as they leave a block."""
        targets, visibility, real = self._visibility(places)
        if not (real or torch.is_grad_enabled()):
            return tokens
        update = self.injections[block](tokens[:, targets], visibility, self.prepared[block])
        if not real:
            update = 0 * update
        return tokens.index_add(1, targets, update.type_as(tokens))

    def _visibility(self, places: Places) -> tuple[Tensor, ActionVisibility, bool]:
        """Which tokens are targets, what they see of the actions, and whether they are any: of a rank without targets
        the first token stands for one, as all ranks must come by the same weights. All blocks of a call share it."""
        if self._last is None or self._last[0] is not places:
            targets = places.target.nonzero().squeeze(1)
            if not (real := len(targets) > 0):
                targets = targets.new_zeros(1)
            frame, spot = places.frame[targets], places.spot[targets]
            visibility = action_visibility(self.stride * places.frames, frame, spot, self.actions, self.head_width)
            self._last = (places, targets, visibility, real)
        return self._last[1:]


class PositionGain(nn.Module):
    """By what factors to multiply what a video token reads of the actions, from where in the image it lies.

    It maps features of positions [L, POSITION_WIDTH] to gains [L, W], which are 1 at the start.

    Whether a hand at (x, y, z) covers a token is a question to both together. The attention's weights cannot answer it:
    they only choose among actions, and neighbouring actions are nearly equal.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(POSITION_WIDTH, width)
        self.out = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, spot: Tensor) -> Tensor:
        """The gains [L, W] of positions [L, POSITION_WIDTH]."""
        return 1 + self.out(functional.silu(self.hidden(spot.type_as(self.hidden.weight))))


def _read_actions(
    attention: TimedAttention, queries: Tensor, visibility: ActionVisibility, prepared: KeysValues, gain: Tensor
) -> Tensor:
    """What the queries of video tokens [B, L, C] learn of the actions that these see."""
    return attention(queries, visibility.token_rotation, prepared, visibility.token_visible, visibility.token_age, gain)


class CrossAttention(Injection):
    """Cross-attention from each video token to the actions that it sees: the paper's way."""

    def __init__(self, video_width: int, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(video_width)
        self.spot = nn.Linear(POSITION_WIDTH, video_width, bias=False)
        self.gain = PositionGain(width)
        self.attention = TimedAttention(video_width, width, width, heads, recent=True)
        nn.init.zeros_(self.attention.to_out.weight)

    def prepare(self, actions: TimedActions) -> KeysValues:
        """See `Injection`."""
        return self.attention.keys_values(actions.values, rotation_at(actions.arrivals, self.attention.head_width))

    def forward(self, tokens: Tensor, visibility: ActionVisibility, prepared: KeysValues) -> Tensor:
        """See `Injection`."""
        queries = self.norm(tokens.type_as(self.norm.weight)) + self.spot(visibility.spot.type_as(self.spot.weight))
        return _read_actions(self.attention, queries, visibility, prepared, self.gain(visibility.spot))


class Modulation(Injection):
    """Scale and shift of each video token, from the actions that it sees.

    They are pooled by an attention whose query knows the time and the position of the token alone.
    """

    def __init__(self, video_width: int, width: int, heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(width))
        self.spot = nn.Linear(POSITION_WIDTH, width, bias=False)
        self.gain = PositionGain(width)
        self.pool = TimedAttention(width, width, width, heads, recent=True)
        self.to_scale_shift = nn.Linear(width, 2 * video_width, bias=False)
        nn.init.zeros_(self.to_scale_shift.weight)

    def prepare(self, actions: TimedActions) -> KeysValues:
        """See `Injection`."""
        return self.pool.keys_values(actions.values, rotation_at(actions.arrivals, self.pool.head_width))

    def forward(self, tokens: Tensor, visibility: ActionVisibility, prepared: KeysValues) -> Tensor:
        """See `Injection`."""
        query = (self.query + self.spot(visibility.spot.type_as(self.query))).expand(len(tokens), -1, -1)
        pooled = _read_actions(self.pool, query, visibility, prepared, self.gain(visibility.spot))
        scale, shift = self.to_scale_shift(functional.silu(pooled)).chunk(2, dim=-1)
        return self._scaled(tokens.type_as(scale)) * scale + shift

    @abstractmethod
    def _scaled(self, tokens: Tensor) -> Tensor: ...


class AdaLN(Modulation):
    """Adaptive layer norm: x becomes x + norm(x)·scale + shift."""

    def _scaled(self, tokens: Tensor) -> Tensor:
        return functional.layer_norm(tokens, tokens.shape[-1:])


class FiLM(Modulation):
    """Feature-wise linear modulation: x becomes x·(1 + scale) + shift."""

    def _scaled(self, tokens: Tensor) -> Tensor:
        return tokens


class NoInjection(Injection):
    """No injection: the video never learns of the actions. The others are measured against it."""

    def __init__(self, video_width: int, width: int, heads: int) -> None:
        super().__init__()

    def prepare(self, actions: TimedActions) -> None:
        """See `Injection`."""

    def forward(self, tokens: Tensor, visibility: ActionVisibility, prepared: None) -> Tensor:
        """See `Injection`."""
        return torch.zeros_like(tokens)


INJECTIONS: dict[str, type[Injection]] = {
    "cross_attention": CrossAttention,
    "adaln": AdaLN,
    "film": FiLM,
    "none": NoInjection,
}
