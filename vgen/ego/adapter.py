"""The ego front-end's own weights: fusion, an injection for each block, and how actions are normalised.

A component of diffusers, saved in `ego/` of the model folder. model_index.json does not name it, so the folder stays a
Wan folder that any diffusers program opens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from vgen.backbone.segments import Segment
from vgen.backbone.transformer import VideoTransformer, typed
from vgen.ego.actions import TimedActions
from vgen.ego.fusion import ActionFusion, ContextSizes
from vgen.ego.injection import INJECTIONS, BoundActions
from vgen.errors import InputError, unknown_key
from vgen.models import EGO, PartInfo


class EgoAdapter(ModelMixin, ConfigMixin):
    """The weights that let a video follow a trajectory; `bind` gives the backbone's adapter for one call.

    Only target tokens follow it. What a condition shows has happened, whatever the actions; so what is remembered of it
    does not depend on them, and a goal ahead in time tells no earlier frame of later actions.

    Args:
        layouts: number of columns of each layout as the network reads it (`Layout.network`), by name.
        statistics: of each layout, how its actions are normalised, as plain JSON (`Statistics.to_json`); a layout
            without, or with an empty one, is refused by `bind`.
        blocks: of the backbone.
        video_width: channels of the backbone's tokens.
        latent_channels, patch, text_width: of the backbone's inputs; the fused context is made of the same.
        temporal_stride: N, pixel frames per latent unit.
        injection: a name of `INJECTIONS`.
        fusion: whether actions read the conditions and the text before they enter.
        width: W, channels of an action token, a multiple of 4 and of twice the heads.
        heads: of every attention here.
        rates: of each layout, the frames per second that it was trained at; a frame is one action.
        history: known frames that it was trained with at most; a rollout keeps as many.
        guidance: classifier-free guidance over the actions, of a rollout that does not say; 1 is none.
        anchor: whether it was trained to be given a frame from further back; a rollout then keeps its first one.

    Raises:
        InputError: an unknown injection, or a width that the heads do not divide.
    """

    @typed(register_to_config)
    def __init__(
        self,
        layouts: dict[str, int],
        statistics: dict[str, dict[str, Any]],
        blocks: int,
        video_width: int,
        latent_channels: int,
        patch: int,
        text_width: int,
        temporal_stride: int = 4,
        injection: str = "cross_attention",
        fusion: bool = True,
        width: int = 128,
        heads: int = 4,
        rates: dict[str, float] | None = None,
        history: int = 4,
        guidance: float = 1.0,
        anchor: bool = False,
    ) -> None:
        super().__init__()
        if injection not in INJECTIONS:
            raise unknown_key(injection, INJECTIONS, "the injections")
        if width < 1 or width % 4 or width % (2 * heads):
            step = 4 * heads
            raise InputError(f"width={width} does not fit {heads} heads; nearest: {max(1, round(width / step)) * step}")
        context = ContextSizes(latent_channels, patch, text_width, temporal_stride) if fusion else None
        self.fuse = ActionFusion(layouts, width, heads, context)
        self.injections = nn.ModuleList(INJECTIONS[injection](video_width, width, heads) for _ in range(blocks))

    @classmethod
    def for_backbone(
        cls,
        transformer: VideoTransformer,
        temporal_stride: int,
        layouts: Mapping[str, int],
        statistics: Mapping[str, dict[str, Any]],
        **choices: Any,
    ) -> Self:
        """An untrained front-end that fits a backbone; `choices` are injection, fusion, width and heads."""
        c = transformer.config
        return cls(
            layouts=dict(layouts),
            statistics=dict(statistics),
            blocks=c.num_layers,
            video_width=c.num_attention_heads * c.attention_head_dim,
            latent_channels=c.in_channels,
            patch=c.patch_size[1],
            text_width=c.text_dim,
            temporal_stride=temporal_stride,
            **choices,
        )

    def add_layout(self, name: str, columns: int, statistics: dict[str, Any]) -> None:
        """One more layout: a new projection, which a fine-tune then learns; nothing else changes.

        Raises:
            InputError: there is a layout of this name.
        """
        if name in self.config.layouts:
            raise InputError(f"layout {name!r} is in this model already; a new layout needs a name of its own")
        self.fuse.add_layout(name, columns)
        self.register_to_config(
            layouts={**self.config.layouts, name: columns}, statistics={**self.config.statistics, name: statistics}
        )

    @property
    def info(self) -> PartInfo:
        """What the front-end knows of trajectories: layouts, rates, statistics and defaults."""
        return PartInfo.from_config(EGO, self.config)

    def bind(
        self,
        actions: TimedActions,
        layout: str,
        context: Sequence[Segment],
        text: Tensor,
        drop: Tensor | None = None,
        now: float = 0.0,
    ) -> BoundActions:
        """The backbone's adapter for one trajectory, good for all denoising steps of a call.

        Args:
            actions: normalised by `info.statistics_of(layout)`. A sample in which none is valid is left as the backbone
                has it.
            layout: what the D columns mean.
            context: conditions that the actions may read, such as the latest frames; unused where `fusion` is off.
            text: text embeddings [B, Lt, text_width].
            drop: [B] bool, samples whose actions become the learned null: the unconditional side of classifier-free
                guidance over actions, and what training drops.
            now: the present pixel frame; what arrived there is what later actions are compared with.

        Raises:
            InputError: the layout is unknown, has no statistics, or has another number of columns.
        """
        self.info.statistics_of(layout)
        shape, arrivals = list(actions.values.shape), list(actions.arrivals.shape)
        assert shape[:2] == arrivals == list(actions.valid.shape), f"{shape} actions arrive at {arrivals}"
        columns, given = self.config.layouts[layout], shape[-1]
        if given != columns:
            raise InputError(f"actions have {given} columns; layout {layout!r} has {columns}")
        fused = self.fuse(actions, layout, context, text, drop, now)
        return BoundActions(self.injections, fused, self.config.temporal_stride, self.config.width // self.config.heads)
