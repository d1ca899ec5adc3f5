"""What a conversion did: counted for people, and kept in the data set."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vgen.errors import InputError
from vgen.sources.conversion.takes import Outcome

FILE = "meta/conversion.json"
FEW = 3  # names that a line tells
MANY = 0.1  # share of the takes: where more are left out, that is said


@dataclass(frozen=True)
class Report:
    """What became of the takes of a source, or of a shard of them.

    Attributes:
        settings: that the data set depends on, the source's name among them.
        takes: of the source, all shards together.
        shard: (i, n), the i-th of n; (1, 1): all.
        episodes: written, by split.
        groups: in each split.
        frames: T of all episodes together.
        fps: of what was written.
        invalid: rows with a value that is not known, by column.
        mended: how many things were mended, by what was done.
        left_out: reason by name of the take.
    """

    settings: Mapping[str, Any]
    takes: int
    shard: tuple[int, int]
    episodes: Mapping[str, int]
    groups: Mapping[str, int]
    frames: int
    fps: int
    invalid: Mapping[str, int] = field(default_factory=dict)
    mended: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """The file that is kept in the data set."""
        return json.dumps(asdict(self) | {"seconds": round(self.frames / self.fps, 3)}, indent=2, ensure_ascii=False)

    def lines(self) -> list[str]:
        """What is told when a conversion is done."""
        written = sum(self.episodes.values())
        splits = ", ".join(
            f"{split} {count} (of {self.groups[split]} group{'s' * (self.groups[split] != 1)})"
            for split, count in self.episodes.items()
        )
        part = "" if self.shard[1] == 1 else f", shard {self.shard[0]} of {self.shard[1]}"
        length = f"{self.frames} frames at {self.fps}/s, {self.frames / self.fps / 60:.1f} minutes"
        lines = [f"{written} of {written + len(self.left_out)} takes{part}: {length}", f"splits: {splits}"]
        lines += [f"not valid: {count} rows of {column}" for column, count in self.invalid.items()]
        lines += [f"mended: {count} {what}" for what, count in self.mended.items()]
        return lines + [f"left out: {line}" for line in reasons(self.left_out)]

    @property
    def many_left_out(self) -> bool:
        """Whether more takes were left out than is usual."""
        return len(self.left_out) > MANY * (sum(self.episodes.values()) + len(self.left_out))


def reasons(left_out: Mapping[str, str]) -> list[str]:
    """A line for each kind of reason, the most frequent first: how many takes, and the first names."""
    kinds: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        kinds.setdefault(reason.partition(":")[0], []).append(name)
    lines = []
    for kind, names in sorted(kinds.items(), key=lambda item: -len(item[1])):
        details = left_out[names[0]].partition(":")[2]
        first = f"{names[0]}:{details}" if details else names[0]
        more = "" if len(names) == 1 else f"; {', '.join(names[1:FEW])}" + (", …" if len(names) > FEW else "")
        lines.append(f"{len(names)} as {kind} ({first}{more})")
    return lines


def added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sums of counts by name."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)


def left_out_of(outcomes: Iterable[Outcome]) -> dict[str, str]:
    """The reasons of the takes that were left out."""
    return {outcome.name: outcome.left_out for outcome in outcomes if outcome.left_out}


def read_report(folder: Path) -> Report:
    """The report that is kept in a data set.

    Raises:
        InputError: there is none, or it is damaged.
    """
    try:
        kept = json.loads((folder / FILE).read_text(encoding="utf-8"))
        kept.pop("seconds")
        shard = kept.pop("shard")
        return Report(**kept, shard=(int(shard[0]), int(shard[1])))
    except FileNotFoundError as error:
        raise InputError(f"{folder} has no {FILE}; it is no data set of `vgen data convert`") from error
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise InputError(f"{folder / FILE} is damaged ({' '.join(str(error).split())})") from error
