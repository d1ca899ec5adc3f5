"""Two results of `canvas_bench.py` or of `ego_bench.py`, one against the other on the same clips."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_report.bootstrap import Difference, difference
from vgen.errors import InputError

MODEL = "model"


@dataclass(frozen=True)
class Section:
    """What one task, or one horizon of one body, has of the model.

    Attributes:
        clips: names of the clips, as often as there are values.
        values: measure -> a value of each clip; None or nan where it has none.
    """

    clips: Sequence[str]
    values: Mapping[str, Sequence[float | None]]


@dataclass(frozen=True)
class Paired:
    """A measure of the same clips in both: its means, and their difference."""

    section: str
    measure: str
    one: float
    other: float
    apart: Difference


def read(file: Path) -> dict[str, Any]:
    """The results in a file.

    Raises:
        InputError: it cannot be read, or holds no results of the two benches.
    """
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(results, dict) or "settings" not in results or not results.keys() & {"tasks", "bodies"}:
        raise InputError(f"{file} holds no results of vgen bench canvas --out or vgen bench ego --out")
    return results


def sections(results: Mapping[str, Any]) -> Iterator[tuple[str, Section]]:
    """The sections of results, by name."""
    settings = results["settings"]
    data = f"{settings.get('data')} {settings['split']}"
    clips = [f"{data} {clip['episode']}:{clip['start']}" for clip in results.get("clips", [])]
    for task, found in results.get("tasks", {}).items():
        yield task, Section(clips, found["per_clip"][MODEL])
    for body, parts in results.get("bodies", {}).items():
        for horizon, found in parts.get("forward", {}).items():
            cases = [f"{data} {case}" for case in found["cases"]]
            yield f"{body} after {horizon}", Section(cases, found["per_case"][MODEL])


def compare(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Paired]:
    """Every measure of every section that both have, of the clips where both have a value.

    Raises:
        InputError: they share no section, or a section is of other clips in one than in the other.
    """
    first, second = dict(sections(one)), dict(sections(other))
    rows = []
    for name in (name for name in first if name in second):
        if list(first[name].clips) != list(second[name].clips):
            raise InputError(
                f"{name}: the two are not of the same clips; run both with the same data, split and number"
            )
        for measure in (measure for measure in first[name].values if measure in second[name].values):
            rows += _paired(name, measure, first[name], second[name])
    if not rows:
        raise InputError("the two have no task and no horizon in common; compare two runs of one bench")
    return rows


def _paired(name: str, measure: str, one: Section, other: Section) -> list[Paired]:
    cases = zip(one.clips, one.values[measure], other.values[measure], strict=True)
    known = [case for case in cases if _is_number(case[1]) and _is_number(case[2])]
    if not known:
        return []
    clips, before, after = (list(part) for part in zip(*known, strict=True))
    means = (sum(before) / len(known), sum(after) / len(known))
    return [Paired(name, measure, *means, difference(before, after, clips))]


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def lines(rows: Sequence[Paired]) -> Iterator[str]:
    """The rows as text, a line each below their section."""
    section = ""
    for row in rows:
        if row.section != section:
            section = row.section
            yield f"{section}, {row.apart.clips} clips"
        interval = f"[{row.apart.low:+.3f}, {row.apart.high:+.3f}]{' *' if row.apart.is_sure else ''}"
        yield f"  {row.measure:<14}{row.one:9.3f} ->{row.other:9.3f}   {row.apart.mean:+.3f} {interval}"
