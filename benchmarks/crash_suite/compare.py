"""What is not the same in two runs that have ended."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from vgen.train.checkpoint.folder import checkpoints

OWN = {"samples_per_s", "tokens_per_s", "wait_share", "memory_gb", "minutes"}  # of a record: of the machine's day
STATES = {"state.json"}  # of a checkpoint: the time spent is its own


def read_records(run: Path) -> list[dict[str, Any]]:
    """The records of a log, without what no two runs have alike; lines that are none are left out, as the last one may
    be that a run was killed at."""
    path, records = run / "log.jsonl", []
    for line in path.read_text(errors="replace").splitlines(keepends=True) if path.exists() else []:
        with suppress(ValueError):
            records.append(json.loads(line if line.endswith("\n") else ""))
    return [{key: value for key, value in record.items() if key not in OWN} for record in records]


def read_losses(run: Path) -> list[tuple[int, float]]:
    """(step, loss) of every training record, in the order of the log."""
    return [(record["step"], record["loss"]) for record in read_records(run) if record["kind"] == "train"]


def differing_steps(run: Path, whole: dict[int, float]) -> list[int]:
    """The logged steps whose loss is not the unbroken run's."""
    return [step for step, loss in read_losses(run) if whole.get(step) != loss]


def differences(broken: Path, whole: Path) -> list[str]:
    """What is not the same in two runs that have ended; nothing where all is, bit for bit."""
    found = []
    steps = [step for step, _ in read_losses(broken)]
    if steps != [step for step, _ in read_losses(whole)]:
        found.append("the steps in the log")
    if differing := differing_steps(broken, dict(read_losses(whole))):
        found.append(f"the losses of steps {differing}")
    if not found and read_records(broken) != read_records(whole):
        found.append("the records of the log")
    for path in sorted(each for part in ("model", "exports") for each in (whole / part).rglob("*.safetensors")):
        other = broken / path.relative_to(whole)
        if not other.exists() or other.read_bytes() != path.read_bytes():
            found.append(str(path.relative_to(whole)))
    first, second = (
        json.loads((checkpoints(run)[-1] / "manifest.json").read_text())["files"] for run in (whole, broken)
    )
    found += [f"{name} of the last checkpoint" for name in sorted((first.keys() | second.keys()) - STATES)
              if first.get(name) != second.get(name)]  # fmt: skip
    return found
