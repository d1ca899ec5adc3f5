"""Which measures can be had here, and which not, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from bench_measures.against_truth import against_truth, of_metric
from bench_measures.completed import Completed, Measure
from bench_measures.given import kept, seams, timing
from bench_measures.looks import colours, flickering
from bench_measures.motion import of_motion
from vgen.errors import InputError
from vgen.metrics import StLpips

ST_LPIPS_FRAME_STEP = 3
ALWAYS: dict[str, Measure] = {
    "against_truth": against_truth,
    "kept": kept,
    "seams": seams,
    "timing": timing,
    "colours": colours,
    "flickering": flickering,
}
NOT_HERE = {
    "dynamic_degree": "VBench's is by the network RAFT, which is not here; dynamic_degree_farneback is another",
    "motion_smoothness": "VBench's is by the network AMT, which is not here; motion_smoothness_farneback is another",
}
"""Measures of VBench that cannot be had, and what stands in their place under a name of its own."""


@dataclass(frozen=True)
class Available:
    """The measures that can be had.

    Attributes:
        measures: By name; each gives one or more values.
        left_out: The others: name -> reason, in one line.
        encoders: What each encoder that was found is: name of its measure -> one line with the hash of its weights.
    """

    measures: dict[str, Measure]
    left_out: dict[str, str]
    encoders: dict[str, str]

    def values(self, completed: Completed) -> dict[str, float]:
        """All values of a completed case, by the names of `meanings.MEANINGS`; those not defined for it are absent."""
        return {name: value for measure in self.measures.values() for name, value in measure(completed).items()}


def measures(encoders: Path | None = None, device: torch.device | str = "cpu") -> Available:
    """All measures whose packages and encoders are here.

    Args:
        encoders: Folder of encoders, a subfolder each.
        device: On which encoders run.

    Raises:
        InputError: The folder of encoders is not there, or an encoder in it cannot be read.
    """
    found = dict(ALWAYS)
    left_out = dict(NOT_HERE)
    optional: dict[str, Callable[[], Measure]] = {"st_lpips": _st_lpips, "motion_farneback": of_motion}
    for name, make in optional.items():
        try:
            found[name] = make()
        except InputError as error:
            left_out[name] = str(error)
    return Available(found, left_out, {})


def _st_lpips() -> Measure:
    return of_metric("st_lpips", StLpips(ST_LPIPS_FRAME_STEP))
