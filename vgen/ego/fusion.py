"""Fusion: actions read what is seen and said before they enter the video (Ego-PM, arXiv 2508.19852, Stage II).

The action embeddings are the queries, visual and textual context are keys and values, and the mask is causal: an action
sees context whose time is not later than its own. Text stands at no time and is always seen. The paper leaves the rest
open; here each kind of context has an attention of its own, since only one of them has times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from diffusers.models.embeddings import get_2d_sincos_pos_embed
from einops import rearrange, repeat
from torch import Tensor, nn

from vgen.backbone.segments import Segment
from vgen.ego.actions import TimedActions
from vgen.ego.fourier import fourier_features
from vgen.ego.timed_attention import SAME_TIME, TimedAttention

ACTION_OCTAVES = 3
ACTION_WIDTH = 2 * (1 + 2 * ACTION_OCTAVES)  # numbers that stand for a column


@dataclass(frozen=True)
class ContextSizes:
    """The sizes of what the actions read.

    Attributes:
        channels: of the latents.
        patch: latent pixels along the side of a context token, as in the backbone.
        text_width: channels of the text embeddings.
        stride: N, pixel frames per latent unit.
    """

    channels: int
    patch: int
    text_width: int
    stride: int


class ActionFusion(nn.Module):
    """Actions of any known layout to fused tokens of width W.

    Each layout has one linear projection of its own, chosen by name; everything else is shared. What is projected is an
    action, and its difference from the one that led to the present: where the hand is, and where it goes. Both enter
    as they are and as Fourier features.

    What is read is added, and nothing is normalised after that: what all actions have in common, such as the scene,
    would otherwise grow until it drowned what they differ in.

    Args:
        layouts: number of columns of each layout.
        width: W, a multiple of 4.
        heads: of each attention.
        context: sizes of what the actions read; None: they read nothing (`fusion: false`).
    """

    def __init__(self, layouts: Mapping[str, int], width: int, heads: int, context: ContextSizes | None) -> None:
        super().__init__()
        self.width, self.context = width, context
        self.projections = nn.ModuleDict(
            {name: nn.Linear(ACTION_WIDTH * columns, width) for name, columns in layouts.items()}
        )
        self.norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        self.null = nn.Parameter(0.02 * torch.randn(width))
        if context is not None:
            self.patches = nn.Linear(context.channels * context.patch**2, width)
            self.norm_look, self.norm_read = nn.LayerNorm(width), nn.LayerNorm(width)
            self.look = TimedAttention(width, width, width, heads)
            self.read = TimedAttention(width, context.text_width, width, heads)
            for attention in (self.look, self.read):  # an action is itself, until there is something to learn around it
                nn.init.zeros_(attention.to_out.weight)

    def add_layout(self, name: str, columns: int) -> None:
        """Adds a projection for one more layout of so many columns."""
        self.projections[name] = nn.Linear(ACTION_WIDTH * columns, self.width).to(self.null)

    def forward(
        self,
        actions: TimedActions,
        layout: str,
        context: Sequence[Segment],
        text: Tensor,
        drop: Tensor | None = None,
        now: float = 0.0,
    ) -> TimedActions:
        """The actions with tokens [B, A, W] for their values, which are zero where not valid.

        Args:
            actions: normalised, of D columns.
            layout: what the D columns mean.
            context: conditions: what the actions see.
            text: text embeddings [B, Lt, text_width], zero past their end.
            drop: [B] bool, samples whose actions all become the learned null (classifier-free guidance).
            now: the pixel frame of the present.
        """
        visual = self._visual(context) if context and self.context is not None else None
        actions = replace(actions, values=torch.where(actions.valid.unsqueeze(-1), actions.values, 0.0))
        # Rounded only then: near 1 bf16 has steps of 0.004, more than neighbouring actions may differ.
        both = torch.cat([actions.values, displacement(actions, now)], dim=-1).float()
        features = torch.cat([both, fourier_features(both, ACTION_OCTAVES)], dim=-1).to(self.null)
        tokens = self.norm(self.projections[layout](features))
        tokens = tokens + self.feed(tokens)
        if drop is not None:
            tokens = torch.where(drop.view(-1, 1, 1), self.null, tokens)
        if visual is not None:
            tokens = tokens + self.look.read_causally(self.norm_look(tokens), actions.arrivals, *visual)
        if self.context is not None:
            said = text.any(-1).unsqueeze(1).expand(-1, tokens.shape[1], -1)
            words = self.read.keys_values(text.to(self.null), None)
            tokens = tokens + self.read(self.norm_read(tokens), None, words, said)
        return replace(actions, values=tokens * actions.valid.unsqueeze(-1))

    def _visual(self, context: Sequence[Segment]) -> tuple[Tensor, Tensor]:
        """Tokens [B, L, W] of latent patches, which know their place in the image, and their times [B, L]."""
        assert self.context is not None, "without context nothing is looked at"
        tokens, times, p = [], [], self.context.patch
        for segment in context:
            patches = rearrange(segment.latent, "b c f (h p) (w q) -> b f h w (c p q)", p=p, q=p).to(self.null)
            *_, h, w, _ = patches.shape
            place = get_2d_sincos_pos_embed(self.width, (h, w), device=patches.device).to(patches)
            tokens.append((self.patches(patches) + place.view(h, w, -1)).flatten(1, 3))
            times.append(repeat(self.context.stride * segment.t, "b f -> b (f n)", n=h * w))
        return torch.cat(tokens, dim=1), torch.cat(times, dim=1)


def displacement(actions: TimedActions, now: float) -> Tensor:
    """Each action [B, A, D] minus the latest valid one that arrived until `now`; zero where there is none."""
    values, valid = actions.values, actions.valid
    arrived = valid & (actions.arrivals <= now + SAME_TIME)
    latest = torch.where(arrived, actions.arrivals, -torch.inf).argmax(1)
    present = values[torch.arange(len(values), device=values.device), latest].unsqueeze(1)
    counts = arrived.any(1, keepdim=True) & valid
    return torch.where(counts.unsqueeze(-1), values - present, 0.0)
