"""The model under test: rollouts of many cases at once, with their actions and without, and its codec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ego_suite.cases import START, EgoCase, made_frames
from vgen.backbone.precision import autocast
from vgen.ego.actions import TimedActions, timed_actions
from vgen.ego.pipeline import EgoPipeline
from vgen.ego.rollout import Rollout, RolloutSettings
from vgen.media.pixels import to_unit
from vgen.trajectory.statistics import Statistics


class Roller:
    """A pipeline with fixed settings.

    Args:
        pipe: the pipeline.
        settings: of every rollout.
        bf16: computes matrix products in bfloat16, where the device can, over the weights as they are.
    """

    def __init__(self, pipe: EgoPipeline, settings: RolloutSettings, bf16: bool = False) -> None:
        self.pipe, self.settings = pipe, settings
        self.precision = partial(autocast, pipe.transformer.device.type, bf16)

    @torch.inference_mode()
    def roll(self, cases: Sequence[EgoCase], blind: bool = False) -> Tensor:
        """Videos [B, 3, 1 + reach, H, W] in [-1, 1]: the recorded frame START, and what the model makes of the rest.

        Every case draws its noise from its own seed, so a result does not depend on the batch it came in.

        Args:
            cases: of one body and one reach.
            blind: without the actions.
        """
        reach = cases[0].reach
        with self.precision():
            rollout, actions = self.begin(cases, replace(self.settings, blind=blind))
            made = made_frames(reach, self.settings.advance)
            parts = actions.until(made).split(self.settings.advance)
            video = torch.cat([rollout.step(part).cpu() for part in parts], dim=2)
        start = torch.stack([to_unit(case.video[:, START : START + 1]) for case in cases])
        return torch.cat([start, video[:, :, :reach]], dim=2)

    def begin(self, cases: Sequence[EgoCase], settings: RolloutSettings) -> tuple[Rollout, TimedActions]:
        """A rollout at frame START of some cases, and the actions that lead on."""
        layout = cases[0].trajectory.layout
        statistics = Statistics.from_json(self.pipe.ego.info.statistics_of(layout))
        actions = timed_actions([case.trajectory for case in cases], statistics, -START)
        history = torch.stack([to_unit(case.video[:, : START + 1]) for case in cases])
        rollout = Rollout(
            self.pipe,
            history.to(self.pipe.transformer.device),
            [case.text for case in cases],
            layout,
            settings,
            actions.until(0),
            generator=[torch.Generator().manual_seed(case.seed) for case in cases],
        )
        return rollout, actions.after(0)

    @torch.inference_mode()
    def reconstruct(self, frames: Tensor) -> Tensor:
        """What the codec makes of frames [B, 3, K, H, W] that it encodes alone, in image mode."""
        images = frames.transpose(1, 2)
        codec = self.pipe.codec
        with self.precision():
            rebuilt = codec.decode(codec.encode_image(images.flatten(0, 1)))[:, :, 0].cpu()
        return rebuilt.unflatten(0, images.shape[:2]).transpose(1, 2)
