"""Action heads: from what the trunk thinks of K coming actions to the actions themselves.

Futures are several. Regression answers with their mean; flow matching learns their distribution and draws one of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor, nn

from vgen.errors import unknown_key

FLOW_LAYERS = 2
FLOW_HEADS = 4
FLOW_STEPS = 10  # of Euler's method, from noise to actions
FLOW_DRAWS = 4  # noises that one prediction of the trunk is trained on: the head is cheap, the trunk is not


class ActionHead(nn.Module, ABC):
    """The interface of all heads. Hidden states are [B, K, W] float32; actions [B, K, D] are normalised, in the layout
    named."""

    @abstractmethod
    def add_layout(self, name: str, columns: int) -> None:
        """Learns of one more layout, with new weights of its own."""

    @abstractmethod
    def loss(self, hidden: Tensor, actions: Tensor, valid: Tensor, layout: str) -> Tensor:
        """The loss [B] over the valid [B, K] actions of each sample; 0 where it has none."""

    @abstractmethod
    def sample(self, hidden: Tensor, layout: str, generator: torch.Generator | None = None) -> Tensor:
        """Actions [B, K, D], one future of each sample; a head that knows only one takes no random number."""


class RegressionHead(ActionHead):
    """The paper's: squared error, so the mean of all futures."""

    def __init__(self, layouts: Mapping[str, int], hidden: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.trunk = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, width), nn.SiLU())
        self.out = nn.ModuleDict()
        for name, columns in layouts.items():
            self.add_layout(name, columns)

    def add_layout(self, name: str, columns: int) -> None:
        """See `ActionHead`."""
        self.out[name] = nn.Linear(self.width, columns)

    def loss(self, hidden: Tensor, actions: Tensor, valid: Tensor, layout: str) -> Tensor:
        """See `ActionHead`."""
        return masked_error(self.sample(hidden, layout) - clean(actions, valid), valid)

    def sample(self, hidden: Tensor, layout: str, generator: torch.Generator | None = None) -> Tensor:
        """See `ActionHead`."""
        steps: Tensor = self.out[layout](self.trunk(hidden))
        return steps.float()


class FlowHead(ActionHead):
    """Flow matching over all K actions together: z_s = (1-s)·z + s·ε, the head predicts ε - z, as the video's does.

    The K actions attend to each other, because a future is one choice for all of them.
    """

    def __init__(self, layouts: Mapping[str, int], hidden: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.condition = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, width))
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        layer = nn.TransformerEncoderLayer(width, FLOW_HEADS, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, FLOW_LAYERS, nn.LayerNorm(width), enable_nested_tensor=False)
        self.noisy, self.out = nn.ModuleDict(), nn.ModuleDict()
        for name, columns in layouts.items():
            self.add_layout(name, columns)

    def add_layout(self, name: str, columns: int) -> None:
        """See `ActionHead`."""
        self.noisy[name], self.out[name] = nn.Linear(columns, self.width), nn.Linear(self.width, columns)

    def loss(self, hidden: Tensor, actions: Tensor, valid: Tensor, layout: str) -> Tensor:
        """See `ActionHead`; times and noise come from torch's global generator."""
        hidden, actions, valid = (repeat(part) for part in (hidden, clean(actions, valid), valid))
        time = torch.rand(len(actions), device=actions.device)
        noise = torch.randn_like(actions)
        s = time.view(-1, 1, 1)
        velocity = self._velocity((1 - s) * actions + s * noise, time, self.condition(hidden), valid, layout)
        return masked_error(velocity - (noise - actions), valid).view(FLOW_DRAWS, -1).mean(0)

    def sample(self, hidden: Tensor, layout: str, generator: torch.Generator | None = None) -> Tensor:
        """See `ActionHead`."""
        shape = (*hidden.shape[:2], self.out[layout].out_features)
        # Drawn where the generator lives: a seed means the same on every device.
        place = generator.device if generator is not None else hidden.device
        actions = torch.randn(shape, generator=generator, device=place).to(hidden.device)
        condition = self.condition(hidden)
        valid = torch.ones(shape[:2], dtype=torch.bool, device=hidden.device)
        for step in range(FLOW_STEPS, 0, -1):
            time = torch.full((len(actions),), step / FLOW_STEPS, device=actions.device)
            actions = actions - self._velocity(actions, time, condition, valid, layout) / FLOW_STEPS
        return actions

    def _velocity(self, noisy: Tensor, time: Tensor, condition: Tensor, valid: Tensor, layout: str) -> Tensor:
        level = self.time(get_timestep_embedding(1000 * time, self.width)).unsqueeze(1)
        # An action beyond the end of its episode tells the others nothing; a sample without any would attend to none.
        masked = ~(valid | ~valid.any(1, keepdim=True))
        tokens = self.blocks(self.noisy[layout](noisy) + level + condition, src_key_padding_mask=masked)
        velocity: Tensor = self.out[layout](tokens)
        return velocity.float()


HEADS: dict[str, type[ActionHead]] = {"regression": RegressionHead, "flow": FlowHead}


def make_head(name: str, layouts: Mapping[str, int], hidden: int, width: int) -> ActionHead:
    """A head by name.

    Args:
        layouts: number of columns of each layout.
        hidden: width of the trunk.
        width: of the head itself, a multiple of 4.

    Raises:
        InputError: there is no such head.
    """
    if name not in HEADS:
        raise unknown_key(name, HEADS, "the action heads")
    return HEADS[name](layouts, hidden, width)


def clean(actions: Tensor, valid: Tensor) -> Tensor:
    """Actions [B, K, D] with zeros where they are not valid: what stands there may be NaN."""
    return torch.where(valid.unsqueeze(-1), actions, torch.zeros_like(actions))


def masked_error(error: Tensor, valid: Tensor) -> Tensor:
    """Mean square [B] of an error [B, K, D] over valid [B, K] actions."""
    square = clean(error, valid).square().mean(-1)
    return square.sum(1) / valid.sum(1).clamp(min=1)


def repeat(part: Tensor) -> Tensor:
    """[B, ...] to [FLOW_DRAWS · B, ...], draw by draw."""
    return part.repeat(FLOW_DRAWS, *[1] * (part.ndim - 1))
