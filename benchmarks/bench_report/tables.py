"""Means of a run as tables: a row a measure, a column a method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench_measures.meanings import LESS, MEANINGS, MORE, Meaning, meaning
from bench_run.completion import CODEC, METHODS, MODEL

from bench_report.html import Cell, table

SET_MEANINGS = {
    "fvd": Meaning(
        "FVD", "Fréchet distance of features of I3D between the sets; falls with their number.", LESS, digits=0
    ),
    "kvd": Meaning("KVD", "Kernel distance of the same features, unbiased.", LESS, digits=3),
}
MAIN = ("psnr", "ssim", "st_lpips", "given_psnr", "seam_error", "centroid_distance", "colour_drift")
"""Measures of the short tables."""


def about(name: str) -> Meaning:
    """What a value tells, whether of cases or of sets."""
    return SET_MEANINGS[name] if name in SET_MEANINGS else meaning(name)


def titled(name: str) -> Cell:
    """A measure's name with its unit, which way is better, and its definition under the mouse."""
    means = about(name)
    arrow = {MORE: "↑", LESS: "↓"}.get(means.aim, "" if math.isnan(means.aim) else f"→ {means.aim:g}")
    return Cell(means.title, f"{means.unit} {arrow}".strip(), hint=means.text)


def told(value: float | None, name: str) -> str:
    """A value as its measure is written; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.{about(name).digits}f}"


def distance(value: float, aim: float) -> float:
    """How far a value is from what its measure aims at: less is better."""
    return {MORE: -value, LESS: value}.get(aim, abs(value - aim))


def measured(means: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Names of all measures that some method has, in the order of `MEANINGS`, then others."""
    found = dict.fromkeys(name for values in means.values() for name in values)
    return sorted(found, key=lambda name: list(MEANINGS).index(name) if name in MEANINGS else len(MEANINGS))


def methods_table(means: Mapping[str, Mapping[str, float]]) -> str:
    """All measures of all methods; the best is bold, the codec's, which knows the truth, set aside.

    Args:
        means: method -> measure -> mean.
    """
    methods = [name for name in METHODS if name in means]
    rows = []
    for name in measured(means):
        best = _best([(means[m][name], m) for m in methods if m not in CODEC and _has(means[m], name)], name)
        cells = [Cell(told(means[m].get(name), name), mark="best" if m == best else "") for m in methods]
        rows.append([titled(name), *cells])
    return table(["", *(METHODS[name] for name in methods)], rows)


def kinds_table(kinds: Mapping[str, Mapping[str, Mapping]]) -> str:
    """The model's main measures by what was given; behind each in small the best of what needs no model."""
    means = {kind: entry["means"] for kind, entry in kinds.items()}
    names = [name for name in MAIN if any(_has(each[MODEL], name) for each in means.values())]
    rows = [
        [Cell(kind, f"{kinds[kind]['cases']} cases"), *(_beside_baselines(each, name) for name in names)]
        for kind, each in means.items()
    ]
    return table(["", *(titled(name) for name in names)], rows)


def sets_table(sets: Mapping[str, Mapping[str, float]]) -> str:
    """FVD and KVD of all methods, with the numbers of videos."""
    names = [name for name in SET_MEANINGS if any(name in row for row in sets.values())]
    rows = [
        [METHODS[method], *(told(row.get(name), name) for name in names), f"{row['made']} / {row['true']}"]
        for method, row in sets.items()
    ]
    return table(["", *(titled(name) for name in names), "videos made / true"], rows)


def _beside_baselines(means: Mapping[str, Mapping[str, float]], name: str) -> Cell:
    value = means[MODEL].get(name)
    others = [(row[name], method) for method, row in means.items() if method not in (MODEL, *CODEC) and _has(row, name)]
    best = _best(others, name)
    if value is None or best is None:
        return Cell(told(value, name))
    rival, aim = means[best][name], about(name).aim
    better = distance(value, aim) < distance(rival, aim)
    return Cell(
        told(value, name), told(rival, name), "better" if better else "", f"best without a model: {METHODS[best]}"
    )


def _best(values: Sequence[tuple[float, str]], name: str) -> str | None:
    """The method whose value is best, where a measure has a best."""
    aim = about(name).aim
    return min(values, key=lambda pair: distance(pair[0], aim))[1] if values and not math.isnan(aim) else None


def _has(values: Mapping[str, float], name: str) -> bool:
    return values.get(name) is not None
