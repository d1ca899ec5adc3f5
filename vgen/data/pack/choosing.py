"""Which episodes of a pack stay where not all have room: evenly, and groups of counterfactuals whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

LEFT_OUT_OF = "train"  # the split that episodes are left out of; all others stay whole
HALVINGS = 24  # of the interval in which the share lies
LEAST_SHARE = 2.0**-HALVINGS  # of a set one group stays


class Choosable(Protocol):
    """An episode that may be left out.

    Attributes:
        split: that it is in.
        group: of counterfactuals that it is in; its own otherwise.
    """

    @property
    def split(self) -> str:
        """See above."""

    @property
    def group(self) -> str:
        """See above."""


def kept_places(episodes: Sequence[Choosable], share: float) -> list[int]:
    """The places of the episodes that stay of a set where a share of those of `train` does: evenly over all, and
    of a set that has no other split one group at least, where the share is not 0."""
    groups = {each.group: None for each in episodes if each.split == LEFT_OUT_OF}
    stay = {group for place, group in enumerate(groups) if int((place + 1) * share) > int(place * share)}
    if share > 0 and not stay and all(each.split == LEFT_OUT_OF for each in episodes):
        stay = set(list(groups)[:1])
    return [place for place, each in enumerate(episodes) if each.split != LEFT_OUT_OF or each.group in stay]


def largest_share(size: Callable[[float], float], room: float) -> float | None:
    """The largest share, about, whose size is within the room; None where that of the least is not."""
    if size(1.0) <= room:
        return 1.0
    if size(LEAST_SHARE) > room:
        return None
    low, high = LEAST_SHARE, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if size(middle) <= room else (low, middle)
    return low
