"""What a way to nano would do, take and need, before it is started."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from vgen.reproduce.data import missing
from vgen.reproduce.profile import TRAINED
from vgen.reproduce.progress import Progress
from vgen.reproduce.stages import Way


def plan(way: Way, only: str | None = None) -> Iterator[str]:
    """Lines of text: of every stage, or one, what it does, for how long, and what it needs.

    Raises:
        InputError: a stage would be refused.
    """
    profile, progress = way.profile, Progress.read(way.out)
    shares = profile.shares
    for stage in [only] if only else profile.stages:
        done = ", done" if progress.of(stage).done else ""
        if stage == "data":
            yield f"data: before the {profile.minutes:g} minutes{done}"
            yield from _data_lines(way)
            continue
        minutes = profile.minutes * shares[stage] / sum(shares.values())
        what = "trains" if stage in TRAINED else "runs"
        yield f"{stage}: {what} {minutes:.1f} of {profile.minutes:g} minutes{done}"


def _data_lines(way: Way) -> Iterator[str]:
    lacking = missing(way.profile)
    for name, options in lacking.items():
        yield f"  {name} is not there: vgen record {shlex.join(options)}"
    if way.pack is not None and lacking:
        yield f"  what of these {way.pack} holds is unpacked instead"
