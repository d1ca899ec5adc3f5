"""All cases of a run as one table of means, by group, kind and method, and as sets of videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from bench_run.completion import METHODS, TRUTH
from bench_run.store import CaseRecord, Store
from vgen.metrics import FVD_NAME, frechet_distance
from vgen.metrics.kernel import KVD_NAME, kernel_distance

FORMAT, VERSION = "vgen canvas bench results", 1
SET_NAMES = {"fvd": FVD_NAME, "kvd": KVD_NAME}
KEPT = ("name", "group", "kind", "clip", "has_truth", "frames_sha256", "values")
"""Of a case, beside its own file, which holds its curves too."""


def summary(store: Store, names: Sequence[str], described: Mapping[str, Any], left_out: Mapping[str, str]) -> dict:
    """What `results.json` holds: the same for the same cases, whenever, wherever and by however many processes.

    Raises:
        InputError: the record of a case cannot be read.
    """
    records = [store.record(name) for name in names]
    return {
        "format": FORMAT,
        "version": VERSION,
        **described,
        "left_out": dict(left_out),
        "methods": {name: title for name, title in METHODS.items() if any(name in each.values for each in records)},
        "groups": {
            group: _group(store, [r for r in records if r.group == group]) for group in _unique(records, "group")
        },
        "cases": [{name: asdict(each)[name] for name in KEPT} for each in records],
    }


def means(rows: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """method -> measure -> mean over the cases that have it.

    Args:
        rows: method -> measure -> value of each case.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        for method, values in row.items():
            for name, value in values.items():
                found.setdefault(method, {}).setdefault(name, []).append(value)
    return {
        method: {name: float(np.mean(of)) for name, of in found[method].items()}
        for method in METHODS
        if method in found
    }


def _group(store: Store, records: Sequence[CaseRecord]) -> dict:
    sets = _sets(store, records)
    return {
        **_entry(records),
        **({"sets": sets} if sets else {}),
        "kinds": {kind: _entry([r for r in records if r.kind == kind]) for kind in _unique(records, "kind")},
    }


def _entry(records: Sequence[CaseRecord]) -> dict:
    return {
        "cases": len(records),
        "with_truth": sum(record.has_truth for record in records),
        "means": means([record.values for record in records]),
    }


def _sets(store: Store, records: Sequence[CaseRecord]) -> dict[str, dict[str, float]]:
    """method -> FVD, KVD and the numbers of videos: those that were made where there is a truth, against the true ones,
    each of which counts once."""
    true: dict[str, np.ndarray] = {}
    made: dict[str, list[np.ndarray]] = {}
    clips: dict[str, list[str]] = {}  # that the made ones are completions of
    for record in records:
        features = store.features(record.name) if record.has_truth else {}
        if TRUTH in features:
            true[record.clip] = features.pop(TRUTH)
        for method, each in features.items():
            made.setdefault(method, []).append(each)
            clips.setdefault(method, []).append(record.clip)
    if not true:
        return {}
    right = torch.from_numpy(np.stack(list(true.values())))
    sets = {method: torch.from_numpy(np.stack(made[method])) for method in METHODS if method in made}
    return {
        method: {
            "fvd": frechet_distance(features, right),
            "kvd": kernel_distance(features, right, (clips[method], list(true))),
            "made": len(features),
            "true": len(right),
        }
        for method, features in sets.items()
    }


def _unique(records: Sequence[CaseRecord], name: str) -> list[str]:
    return list(dict.fromkeys(getattr(record, name) for record in records))
