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
from bench_measures.quality import JUDGES, Judge
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
        encoders: Folder with a folder for each encoder, by the names of `quality.JUDGES`.
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
    judges = _judges(encoders, device, left_out)
    found |= {judge.name: judge.measure for judge in judges}
    return Available(found, left_out, {judge.name: judge.told for judge in judges})


def _judges(folder: Path | None, device: torch.device | str, left_out: dict[str, str]) -> list[Judge]:
    """The encoders that are there; dimensions of VBench that they do not measure are added to what is left out."""
    if folder is not None and not any((folder / role).is_dir() for role in JUDGES):
        raise InputError(f"{folder} holds no encoders; they lie in folders named {', '.join(JUDGES)}")
    judges = []
    for role, (dimension, read) in JUDGES.items():
        if folder is None or not (folder / role).is_dir():
            left_out[dimension] = f"no encoder: --encoders names a folder with a model of transformers in {role}/"
            continue
        judge = read(folder / role, device)
        judges.append(judge)
        if judge.name != dimension:
            left_out[dimension] = f"VBench's is by another network; {judge.name} stands in its place"
    return judges


def _st_lpips() -> Measure:
    return of_metric("st_lpips", StLpips(ST_LPIPS_FRAME_STEP))
