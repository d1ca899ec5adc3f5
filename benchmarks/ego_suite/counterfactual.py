"""Does the video obey the hand? Of one start, k futures are made under k trajectories, with the same noise.

Distance of a generated video i to a true one j: mean squared error over frames 1 .. H and over the pixels in which the
k truths differ (by more than 0.2 of [-1, 1] in some channel and some of these frames). A case obeys when its own truth
is nearer than each of the k - 1 others; chance is 1/k. A group whose truths do not differ by then is left out.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from torch import Tensor

from ego_suite.forward import mean
from ego_suite.play import Played
from vgen.metrics import MOVING_THRESHOLD

HORIZONS = (16, 32, 64)


class Obedience:
    """A watcher of groups."""

    def __init__(self) -> None:
        self._groups: dict[int, list[dict]] = defaultdict(list)

    def __call__(self, played: Played) -> None:
        """Takes in one group."""
        for horizon in HORIZONS:
            if horizon > played.cases[0].reach:
                continue
            made, truth = (v[:, :, 1 : horizon + 1] for v in (played.videos["model"], played.truth))
            differing = differing_pixels(truth)
            if differing.any():
                about = {"cases": [case.name for case in played.cases], "kinds": [case.kind for case in played.cases]}
                apart = {"matrix": distances(made, truth, differing), "truths": distances(truth, truth, differing)}
                self._groups[horizon].append(about | {name: value.tolist() for name, value in apart.items()})

    def summary(self) -> dict:
        """For each horizon: the share of cases that obey, by kind of trajectory too; the mean distance to the own truth
        and to the nearest other one, and how far from a truth the nearest other one is; and every group's matrices."""
        return {str(horizon): _summary(groups) for horizon, groups in sorted(self._groups.items())}


def differing_pixels(truths: Tensor) -> Tensor:
    """Boolean [H, W]: pixels in which k videos [k, 3, T, H, W] differ in some frame."""
    return (truths.amax(0) - truths.amin(0)).amax(dim=(0, 1)) > MOVING_THRESHOLD


def distances(made: Tensor, truth: Tensor, pixels: Tensor) -> Tensor:
    """Mean squared errors [k, k] over some pixels [H, W] of videos [k, 3, T, H, W], each against each."""
    one, other = (video[..., pixels].flatten(1) for video in (made, truth))
    return torch.stack([(each - other).square().mean(1) for each in one])


def _summary(groups: list[dict]) -> dict:
    hits, own, nearest, apart, by_kind = [], [], [], [], defaultdict(list)
    for group in groups:
        matrix, truths = np.array(group["matrix"]), np.array(group["truths"])
        others = np.where(np.eye(len(matrix), dtype=bool), np.inf, matrix).min(1)
        hit = matrix.diagonal() < others
        hits += hit.tolist()
        own += matrix.diagonal().tolist()
        nearest += others.tolist()
        apart += np.where(np.eye(len(truths), dtype=bool), np.inf, truths).min(1).tolist()
        for kind, value in zip(group["kinds"], hit, strict=True):
            by_kind[kind].append(float(value))
    return {
        "n": len(hits),
        "chance": 1 / len(groups[0]["kinds"]),
        "own_is_nearest": mean([float(hit) for hit in hits]),
        "by_trajectory": {kind: mean(values) for kind, values in by_kind.items()},
        "distance_to_own": mean(own),
        "distance_to_nearest_other": mean(nearest),
        "truth_to_nearest_other": mean(apart),
        "groups": groups,
    }
