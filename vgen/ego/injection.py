"""Injection: how the fused actions enter the video tokens after a block of the backbone. Which way is a choice.

All are causal: a token of latent time t feels the actions whose time is at most N·t. All start at zero, so that an
untrained front-end changes nothing, and give exactly zero to a token that sees no action. All know where in the image a
token lies, which self-attention, whose positions are relative, tells only by the way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vgen.backbone.attention import KeysValues
from vgen.backbone.rope import Rotation
from vgen.ego.actions import TimedActions
from vgen.ego.fourier import fourier_features
from vgen.ego.timed_attention import TimedAttention, not_later, rotation_at

POSITION_OCTAVES = 6  # the shortest wave is an eighth of the image
POSITION_WIDTH = 2 * 2 * POSITION_OCTAVES


@dataclass(frozen=True)
class ActionVisibility:
    """What video tokens see of the actions: the same for all tokens of a latent frame.

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
        """cos and sin of the times of all video tokens."""
        cos, sin = self.rotation
        return cos[:, self.frame], sin[:, self.frame]

    @property
    def token_age(self) -> Tensor:
        """[B, L, A], how long ago each action arrived for each video token."""
        return self.age[:, self.frame]

    @property
    def token_visible(self) -> Tensor:
        """[B, L, A] bool, which actions a video token sees."""
        return self.visible[:, self.frame]


def action_visibility(
    frame_times: Tensor, frame: Tensor, spot: Tensor, actions: TimedActions, head_width: int
) -> ActionVisibility:
    """From the times of latent frames [B, F] in pixel frames, and of each token the frame [L] and the spot [L, 2]."""
    visible = not_later(actions.arrivals, frame_times) & actions.valid.unsqueeze(1)
    age = (frame_times.unsqueeze(2) - actions.arrivals.unsqueeze(1)).clamp(min=0).float()
    return ActionVisibility(
        frame, visible, age, rotation_at(frame_times, head_width), fourier_features(spot, POSITION_OCTAVES)
    )


class Injection(nn.Module, ABC):
    """One module for each block of the backbone. All are made with the same three numbers: channels of the video
    tokens, channels W of the fused actions (and of the heads together), and attention heads."""

    @abstractmethod
    def prepare(self, actions: TimedActions) -> KeysValues | None:
        """What `forward` needs of the actions, computed once for all denoising steps."""

    @abstractmethod
    def forward(self, tokens: Tensor, visibility: ActionVisibility, prepared: KeysValues | None) -> Tensor:
        """The update of the video tokens [B, L, D], to be added to them."""


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
        """See the class."""
        return 1 + self.out(functional.silu(self.hidden(spot.type_as(self.hidden.weight))))


def _read_actions(
    attention: TimedAttention, queries: Tensor, visibility: ActionVisibility, prepared: KeysValues, gain: Tensor
) -> Tensor:
    """What the queries of video tokens [B, L, C] learn of the actions that these see."""
    return attention(queries, visibility.token_rotation, prepared, visibility.token_visible, visibility.token_age, gain)


class CrossAttention(Injection):
    """Each video token asks the actions it sees: the paper's way."""

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
    """A query of a token's time and spot alone pools the actions that it sees; its scale and shift come of that."""

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
    """x + norm(x)·scale + shift."""

    def _scaled(self, tokens: Tensor) -> Tensor:
        return functional.layer_norm(tokens, tokens.shape[-1:])


class FiLM(Modulation):
    """x·(1 + scale) + shift."""

    def _scaled(self, tokens: Tensor) -> Tensor:
        return tokens


class NoInjection(Injection):
    """The video never hears of the actions: what the others are measured against."""

    def __init__(self, video_width: int, width: int, heads: int) -> None:
        super().__init__()

    def prepare(self, actions: TimedActions) -> None:
        """See `Injection`."""

    def forward(self, tokens: Tensor, visibility: ActionVisibility, prepared: KeysValues | None) -> Tensor:
        """See `Injection`."""
        return torch.zeros_like(tokens)


INJECTIONS: dict[str, type[Injection]] = {
    "cross_attention": CrossAttention,
    "adaln": AdaLN,
    "film": FiLM,
    "none": NoInjection,
}
