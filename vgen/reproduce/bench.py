"""The bench stage: the benchmarks of the profile, on the model that there is, within the time that is left."""

from __future__ import annotations

import json
import logging
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from vgen.reproduce.profile import Benchmarks
from vgen.reproduce.ranks import end_with_parent

logger = logging.getLogger(__name__)

FOLDER = "bench"  # of results, in that of a way


def measure(plan: Benchmarks, out: Path, seconds: float) -> str:
    """Runs each benchmark on `<out>/model`; returns which of them gave no result and why, or "". A benchmark that is
    not over in time, or fails, leaves none: the model is whole without.

    Args:
        plan: the benchmarks, which share the time evenly.
        seconds: for all of them.
    """
    (out / FOLDER).mkdir(parents=True, exist_ok=True)
    ends, lost = time.monotonic() + seconds, []
    for place, (name, options) in enumerate(plan.chosen.items()):
        left = max(0.0, ends - time.monotonic()) / (len(plan.chosen) - place)
        if not read_whole(results_file(out, name)) and (fault := _run(name, shlex.split(options), out, left)):
            logger.warning("bench %s: %s", name, fault)
            lost.append(f"{name}: {fault}")
    return "; ".join(lost)


def kind_of(name: str) -> str:
    """The benchmark of `vgen bench` that a run of this name is of."""
    return name.partition("-")[0]


def results_file(out: Path, name: str) -> Path:
    """Where a benchmark leaves its results."""
    return out / FOLDER / f"{name}.json"


def read_results(out: Path) -> dict[str, tuple[dict[str, Any], str]]:
    """By benchmark its results and the table that it printed."""
    found = {}
    for file in sorted((out / FOLDER).glob("*.json")):
        text = file.with_suffix(".txt")
        if results := read_whole(file):
            found[file.stem] = (results, text.read_text() if text.exists() else "")
    return found


def read_whole(file: Path) -> dict[str, Any] | None:
    """The object in a file of JSON; None where there is no such file, or a damaged one, which is told."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logger.warning("%s is damaged (%s), and counts as missing", file, error)
        return None
    return found if isinstance(found, dict) else None


def _run(name: str, options: list[str], out: Path, seconds: float) -> str:
    """Runs one benchmark; returns why it has no result, or ""."""
    if seconds < 1:
        return "no time was left"
    file = results_file(out, name)
    model = str(out / "model")
    command = [sys.executable, "-m", "vgen", "bench", kind_of(name), "--model", model, "--out", str(file), *options]
    logger.info("%s", shlex.join(command[3:]))
    text = file.with_suffix(".txt")
    try:
        with text.open("w") as table:
            done = subprocess.run(command, stdout=table, timeout=seconds, preexec_fn=end_with_parent)
    except subprocess.TimeoutExpired:
        return f"it was not over after {seconds:.0f} s"
    return f"it ended with exit code {done.returncode}" if done.returncode else ""
