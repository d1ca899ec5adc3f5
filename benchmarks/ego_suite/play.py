"""Plays cases and groups: the rollouts that forward dynamics, counterfactuals, the tracker and the sheets look at.

Beside the model stand three that need no actions or no model: `none`, the same model with its actions dropped, as its
training drops them (the learned null of classifier-free guidance); `copy`, the start frame for ever; and `codec`, the
codec's own reconstruction of the true frames, each alone, which is the ceiling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor
from tqdm import tqdm

from ego_suite.cases import HORIZONS, EgoCase, batches, truth_of
from ego_suite.roller import Roller

METHODS = ("model", "none", "copy", "codec")


@dataclass(frozen=True)
class Played:
    """A batch of cases that has been played.

    Attributes:
        cases: of one reach.
        truth: [B, 3, 1 + reach, H, W] in [-1, 1], from frame START on.
        videos: of the same shape, by the name of the method; of `codec` only the frames at the horizons are rebuilt.
    """

    cases: Sequence[EgoCase]
    truth: Tensor
    videos: dict[str, Tensor]


Watcher = Callable[[Played], None]


def play_cases(roller: Roller | None, cases: Sequence[EgoCase], batch: int, watchers: Sequence[Watcher]) -> None:
    """Plays single episodes by every method, without a model by `copy` alone, and shows each batch to all watchers."""
    with tqdm(total=len(cases), desc="episodes") as progress:
        for part in batches(cases, batch):
            truth = truth_of(part)
            videos = {"copy": _still(truth)} if roller is None else _videos(roller, part, truth)
            _show(Played(part, truth, videos), watchers)
            progress.update(len(part))


def play_groups(roller: Roller, groups: Sequence[Sequence[EgoCase]], batch: int, watchers: Sequence[Watcher]) -> None:
    """Plays groups, each as one batch of its own for the watchers; without actions a group has one future alone."""
    with tqdm(total=len(groups), desc="groups") as progress:
        for reach in sorted({group[0].reach for group in groups}, reverse=True):
            alike = [group for group in groups if group[0].reach == reach]
            size = max(1, batch // len(alike[0]))
            for part in (alike[start : start + size] for start in range(0, len(alike), size)):
                model = roller.roll([case for group in part for case in group])
                none = roller.roll([group[0] for group in part], blind=True)
                for place, made in enumerate(model.split([len(group) for group in part])):
                    truth = truth_of(part[place])
                    alone = none[place].expand_as(truth)
                    _show(Played(part[place], truth, {"model": made, "none": alone, "copy": _still(truth)}), watchers)
                progress.update(len(part))


def _videos(roller: Roller, part: Sequence[EgoCase], truth: Tensor) -> dict[str, Tensor]:
    horizons = [horizon for horizon in HORIZONS if horizon <= part[0].reach]
    codec = truth.clone()
    codec[:, :, horizons] = roller.reconstruct(truth[:, :, horizons])
    model, none = roller.roll(part), roller.roll(part, blind=True)
    return {"model": model, "none": none, "copy": _still(truth), "codec": codec}


def _still(truth: Tensor) -> Tensor:
    return truth[:, :, :1].expand_as(truth)


def _show(played: Played, watchers: Sequence[Watcher]) -> None:
    for watch in watchers:
        watch(played)
