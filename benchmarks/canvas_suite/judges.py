"""Measures and peers that need the weights of other packages: each is left out, in one line, where its are missing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from canvas_suite.rife import Rife, interpolate
from canvas_suite.scores import METRICS
from canvas_suite.tasks import Given
from vgen.errors import InputError
from vgen.metrics import I3D, SampleMetric, StLpips

ST_LPIPS_FRAME_STEP = 3
PEERS = ("rife",)
SEED_STEP = 100_000
"""Between the seeds of one clip's completions: more than there are clips, whose own seeds follow one another."""

Peer = Callable[[Given, int], Tensor | None]
Made = TypeVar("Made")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judges:
    """How completions are judged.

    Attributes:
        metrics: Of a video and its truth, by name.
        network: What FVD compares of videos; None: no FVD.
        peers: Other completions, by name; each gives None where it cannot do a task.
        seeds: Completions of each clip in each task.
    """

    metrics: Mapping[str, SampleMetric] = field(default_factory=lambda: METRICS)
    network: Callable[[Tensor], Tensor] | None = None
    peers: Mapping[str, Peer] = field(default_factory=dict)
    seeds: int = 1

    def features(self, video: Tensor) -> Tensor | None:
        """What FVD compares of videos `[B, 3, T, H, W]`, one at a time, so that none depends on the others."""
        if self.network is None:
            return None
        with torch.no_grad():
            return torch.cat([self.network(clip) for clip in video.split(1)])


def available(fvd: bool, peers: list[str], seeds: int, device: torch.device) -> Judges:
    """All that was asked for and is installed; the perceptual distance is always asked for."""
    network = _if_installed(I3D.load, "FVD") if fvd else None
    rife = _if_installed(Rife.load, "RIFE") if "rife" in peers else None
    return Judges(
        metrics=METRICS | perceptual(ST_LPIPS_FRAME_STEP),
        network=None if network is None else _on(network, device),
        peers={} if rife is None else {"rife": partial(interpolate, rife)},
        seeds=seeds,
    )


def perceptual(frame_step: int) -> dict[str, SampleMetric]:
    """ST-LPIPS of every `frame_step`-th frame, by its name; nothing, in one line, where it is not installed."""
    distance = _if_installed(partial(StLpips, frame_step), "ST-LPIPS")
    return {} if distance is None else {"st_lpips": distance}


def _on(network: I3D, device: torch.device) -> Callable[[Tensor], Tensor]:
    network.to(device)
    return lambda video: network(video.to(device)).cpu()


def _if_installed(make: Callable[[], Made], name: str) -> Made | None:
    try:
        return make()
    except InputError as error:
        logger.warning("without %s: %s", name, error)
        return None
