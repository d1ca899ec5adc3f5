"""Results of several runs of one bench on a page: tables with their differences, and two of them side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench_run.completion import MODEL
from bench_run.store import Results

from bench_report.bootstrap import Difference, difference
from bench_report.chosen import ORDER_BY, Shown
from bench_report.html import Cell, figure, heading, note, page, table
from bench_report.page import settings_line
from bench_report.pictures import rows_address, video_address
from bench_report.tables import SET_MEANINGS, about, distance, measured, titled, told
from vgen.errors import InputError
from vgen.files import write_whole, writing

LEGEND = (
    "Means over the cases that all runs have. Behind each, its difference from the first run and, in brackets, the "
    "95 % interval of that, from 2000 draws of clips with replacement. Green is better and red worse than the first, "
    "where the interval leaves out 0; all else may be chance. FVD and KVD are of whole sets and have no interval."
)


def names_of(folders: Sequence[Path]) -> list[str]:
    """A short name for each folder: its own, with as much of what is above as tells it from the others."""
    for depth in range(1, max(len(folder.resolve().parts) for folder in folders) + 1):
        names = ["/".join(folder.resolve().parts[-depth:]) for folder in folders]
        if len(set(names)) == len(names):
            break
    return names


def write_comparison(folders: Sequence[Path], file: Path) -> dict[str, dict[str, list[Difference]]]:
    """Writes the page of a comparison, whole or not at all.

    Args:
        folders: of the results, two or more; the others are compared with the first.
        file: of the page.

    Returns:
        group -> measure -> the difference of each of the others.

    Raises:
        InputError: a folder holds no complete results, they are of different benches, or the page must not be written.
        TryAgain: the disk is full.
    """
    runs = [Results.read(folder) for folder in folders]
    for folder, run in zip(folders, runs, strict=True):
        if run.data["bench"] != runs[0].data["bench"]:
            raise InputError(f"{folder} and {folders[0]} are results of different benches; run both on one bench")
    names = names_of(folders)
    cases = _shared(runs)
    groups: dict[str, list[str]] = {}
    for case, rows in cases.items():
        groups.setdefault(rows[0]["group"], []).append(case)
    body = [heading(" against ".join(names), 1), note(LEGEND)]
    body += [note(f"{name}: {settings_line(run.data)}") for name, run in zip(names, runs, strict=True)]
    found: dict[str, dict[str, list[Difference]]] = {}
    for group, inside in groups.items():
        rows = [cases[case] for case in inside]
        found[group] = _differences(rows)
        body += [heading(f"{group}: {len(inside)} cases"), _measures_table(rows, found[group], names)]
        body += [_sets_table(runs, group, names), heading("By what is given", 3), _kinds_table(rows, names)]
        if len(runs) == 2:
            body += [heading("Side by side", 3), _side_by_side(runs, names, rows)]
    with writing(file, kept=""):
        write_whole(file, page(" against ".join(names), body))
    return found


def _shared(runs: Sequence[Results]) -> dict[str, list[Mapping]]:
    """Case -> what each run has of it, for those that all have, in the order of the first."""
    by_name = [{case["name"]: case for case in run.data["cases"]} for run in runs]
    shared = [name for name in by_name[0] if all(name in cases for cases in by_name)]
    if not shared:
        raise InputError("the runs have no case in common; run them with the same --cases")
    return {name: [cases[name] for cases in by_name] for name in shared}


def _values(rows: Sequence[Sequence[Mapping]], name: str) -> tuple[list[list[float]], list[str]]:
    """The model's values of a measure, run by run, in the cases where all have it, and the clip of each."""
    whole = [row for row in rows if all(case["values"][MODEL].get(name) is not None for case in row)]
    values = [[row[run]["values"][MODEL][name] for row in whole] for run in range(len(rows[0]))]
    return values, [row[0]["clip"] for row in whole]


def _differences(rows: Sequence[Sequence[Mapping]]) -> dict[str, list[Difference]]:
    """Measure -> of each run after the first."""
    found = {}
    for name in measured({str(n): row[0]["values"][MODEL] for n, row in enumerate(rows)}):
        values, clips = _values(rows, name)
        if clips:
            found[name] = [difference(values[0], each, clips) for each in values[1:]]
    return found


def _measures_table(
    rows: Sequence[Sequence[Mapping]], differences: Mapping[str, Sequence[Difference]], names: Sequence[str]
) -> str:
    lines: list[list[Cell | str]] = []
    for name, found in differences.items():
        first = _values(rows, name)[0][0]
        mean = sum(first) / len(first)
        lines.append([titled(name), told(mean, name), *(_cell(name, mean, each) for each in found)])
    return table(["", *names], lines)


def _kinds_table(rows: Sequence[Sequence[Mapping]], names: Sequence[str]) -> str:
    """The measure that orders cases, by what is given."""
    kinds: dict[str, list[Sequence[Mapping]]] = {}
    for row in rows:
        kinds.setdefault(row[0]["kind"], []).append(row)
    lines: list[list[Cell | str]] = []
    for kind, inside in kinds.items():
        measure = next((name for name in ORDER_BY if _values(inside, name)[1]), None)
        if measure is not None:
            (first, *others), clips = _values(inside, measure)
            mean = sum(first) / len(first)
            cells = [_cell(measure, mean, difference(first, each, clips)) for each in others]
            lines.append([Cell(kind, f"{len(clips)} cases, {about(measure).title}"), told(mean, measure), *cells])
    return table(["", *names], lines)


def _cell(name: str, first: float, apart: Difference) -> Cell:
    digits, aim = about(name).digits, about(name).aim
    mark = ""
    if apart.is_sure and not math.isnan(aim):
        mark = "better" if distance(first + apart.mean, aim) < distance(first, aim) else "worse"
    interval = "" if math.isnan(apart.low) else f" [{apart.low:+.{digits}f}, {apart.high:+.{digits}f}]"
    hint = f"{apart.cases} cases of {apart.clips} clips"
    return Cell(told(first + apart.mean, name), f"{apart.mean:+.{digits}f}{interval}", mark, hint)


def _sets_table(runs: Sequence[Results], group: str, names: Sequence[str]) -> str:
    """FVD and KVD where all runs have them, each of all cases of its run."""
    sets = [run.data["groups"].get(group, {}).get("sets", {}).get(MODEL) for run in runs]
    if not all(sets):
        return ""
    rows: list[list[Cell | str]] = []
    for name in SET_MEANINGS:
        cells = [Cell(told(each[name], name), f"{each['made']} / {each['true']} videos") for each in sets]
        rows.append([titled(name), *cells])
    return table(["", *names], rows)


def _side_by_side(runs: Sequence[Results], names: Sequence[str], rows: Sequence[Sequence[Mapping]]) -> str:
    """Videos where the second run gains most, where it is as usual, and where it loses most."""
    measure = next((name for name in ORDER_BY if _values(rows, name)[1]), None)
    if measure is None:
        return ""
    apart = sorted(
        (row[1]["values"][MODEL][measure] - row[0]["values"][MODEL][measure], row[0]["name"])
        for row in rows
        if all(case["values"][MODEL].get(measure) is not None for case in row)
    )
    places = {"loses most": 0, "in the middle": len(apart) // 2, "gains most": len(apart) - 1}
    chosen = {apart[place]: word for word, place in places.items()}
    shown = [Shown(run) for run in runs]
    figures = []
    for (gain, case), word in chosen.items():
        before, behind = shown[0].beside(case)
        made = {name: each.made(case) for name, each in zip(names, shown, strict=True)}
        videos = {**before, **made, **behind}
        caption = (
            f"{names[1]} {word}: {case}, {gain:+.{about(measure).digits}f} {about(measure).unit} {about(measure).title}"
        )
        figures.append(
            figure(video_address(videos, runs[0].data["bench"]["fps"]), list(videos), rows_address(videos), caption)
        )
    return f'<div class="cases">{"".join(figures)}</div>\n'
