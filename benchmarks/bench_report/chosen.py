"""Cases that a page shows: best, median and worst of each kind, with all that is known of their videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from bench_run.completion import MODEL
from bench_run.store import VIDEOS, Results
from bench_sets.bench import Bench, Case

from bench_report.pictures import given_video
from vgen.canvas.placed import place
from vgen.media.video import read_video

ORDER_BY = ("psnr", "given_psnr")
"""The measure by which cases of a kind are put in order: the first that all have."""


def ordered(cases: Sequence[Mapping]) -> tuple[str, list[Mapping]]:
    """The measure, and the cases from best to worst by it; "" and the cases as they are where none fits."""
    for name in ORDER_BY:
        if all(case["values"][MODEL].get(name) is not None for case in cases):
            return name, sorted(cases, key=lambda case: (-case["values"][MODEL][name], case["name"]))
    return "", list(cases)


def best_median_worst(cases: Sequence[Mapping]) -> tuple[str, dict[str, Mapping]]:
    """The measure, and up to three different cases by what they are; the median is the lower of two."""
    measure, row = ordered(cases)
    places = {"best": 0, "median": len(row) // 2, "worst": len(row) - 1}
    if len(row) < 3:
        places = {"best": 0, "worst": len(row) - 1} if len(row) == 2 else {"only": 0}
    return measure, {word: row[place] for word, place in places.items()}


class Shown:
    """Reads the videos of cases, as far as they are still there.

    Args:
        results: With the folder of their bench, or without it.
    """

    def __init__(self, results: Results) -> None:
        self.results = results
        bench = None if results.bench is None else Bench.read(results.bench, check_files=False)
        same = bench is not None and bench.sha256 == results.data["bench"]["sha256"]
        self._cases: dict[str, Case] = {case.name: case for case in bench.cases} if bench and same else {}

    def made(self, name: str) -> np.ndarray:
        """What the model made, uint8 `[T, H, W, 3]`. Raises: InputError: the file is missing or damaged."""
        return read_video(self.file(name))

    def file(self, name: str) -> Path:
        """The video of a case."""
        return self.results.store.path(VIDEOS, name, ".mp4")

    def beside(self, name: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """What is shown before and behind what was made: what was given, and the truth."""
        case = self._cases.get(name)
        if case is None:
            return {}, {}
        truth = case.truth()
        return {"given": given_video(place(case.canvas(), temporal_stride=1))}, {} if truth is None else {
            "truth": truth
        }
