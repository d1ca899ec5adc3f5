"""Which takes go into which split, and which are one machine's: decided alike wherever it is asked."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from vgen.checks import show
from vgen.errors import InputError
from vgen.notices import warn_once
from vgen.sources.source import Take

logger = logging.getLogger(__name__)

TRAIN = "train"
DEFAULT = "test=0.1"


def parse_splits(texts: Sequence[str]) -> dict[str, float]:
    """The share of the groups that each split gets, of texts NAME=SHARE; the rest is `train`.

    Raises:
        InputError: one is not of this form, is there twice, or nothing is left for `train`.
    """
    shares: dict[str, float] = {}
    for text in texts:
        found = re.fullmatch(r"([A-Za-z][\w-]*)=(\d*\.?\d+)", text.strip())
        if not found or not 0 <= float(found[2]) < 1:
            raise InputError(f"splits={show(text)} is not NAME=SHARE with a share of 0 to 1, such as {DEFAULT}")
        if found[1] == TRAIN:
            raise InputError(f"splits={show(text)}: {TRAIN} gets what the others leave; name the others, as {DEFAULT}")
        if found[1] in shares:
            raise InputError(f"splits names {found[1]} twice; name it once")
        shares[found[1]] = float(found[2])
    if sum(shares.values()) >= 1:
        raise InputError(f"splits={show(' '.join(texts))} leaves nothing for {TRAIN}; nearest: {DEFAULT}")
    return shares


def parse_shard(text: str) -> tuple[int, int]:
    """I and N of a text I/N, the I-th of N shards.

    Raises:
        InputError: it is not of this form, or there is no such shard.
    """
    found = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text)
    if not found:
        raise InputError(f"shard={show(text)} is not I/N, such as 1/4, the first of four")
    number, count = int(found[1]), int(found[2])
    if not 1 <= number <= count:
        nearest = f"{min(max(number, 1), max(count, 1))}/{max(count, 1)}"
        raise InputError(f"shard={text.strip()}: shards count from 1/N to N/N; nearest: {nearest}")
    return number, count


def check_names(takes: Sequence[Take]) -> list[Take]:
    """The takes in the order of their names.

    Raises:
        InputError: there is none, or two have one name.
    """
    if not takes:
        raise InputError("the source has no take")
    ordered = sorted(takes, key=lambda take: take.name)
    count = Counter(take.name for take in takes)
    twice = next((take for take in ordered if count[take.name] > 1), None)
    if twice is not None:
        places = [show(str(take.place)) for take in ordered if take.name == twice.name]
        raise InputError(f"{len(places)} takes have the name {twice.name}: {', '.join(places[:2])}; rename one")
    return ordered


def split_of(takes: Sequence[Take], shares: Mapping[str, float]) -> dict[str, str]:
    """The split of each take by its name: the makers' own where they say one, otherwise by group, so that no group is
    in two. At least one group is left to `train`."""
    groups = sorted({take.group for take in takes if take.split is None})
    chosen: dict[str, str] = {}
    wanted = {name: share for name, share in shares.items() if share}
    for name, share in wanted.items():
        free = [group for group in groups if group not in chosen]
        count = min(max(1, round(share * len(groups))), len(free) - 1)
        chosen |= {free[int((place + 0.5) * len(free) / count)]: name for place in range(count)}
    if wanted and len(groups) == 1:
        told = f"all takes are of one group ({groups[0]}), which is not divided: all go to {TRAIN}, "
        warn_once(logger, f"{told}and there is no split {' or '.join(wanted)}")
    return {take.name: take.split or chosen.get(take.group, TRAIN) for take in takes}


def split_order(split: str) -> tuple[bool, str]:
    """The order of splits in a data set: `train` first, then by name."""
    return split != TRAIN, split
