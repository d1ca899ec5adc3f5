"""What is to be said of a command that was given a damaged input."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from fuzz_suite.cases import FuzzCase
from fuzz_suite.child import Outcome

LONGEST = 2000  # characters of a message
TRY_AGAIN = os.EX_TEMPFAIL, "train"  # what a run that finds a damaged cache ends with: the next one makes it anew
SHOWN = 1500  # characters of what went wrong


@dataclass(frozen=True)
class Verdict:
    """`ok`, `refused` or `finding`; the faults of a finding; and the end of what the command said."""

    name: str
    faults: list[str]
    said: str


def judge(case: FuzzCase, outcome: Outcome, folder: Path, before: dict[str, str], taken: list[str]) -> Verdict:
    """Holds the end of a case against what it must be.

    Args:
        folder: where it ran.
        before: `snapshot` of its inputs before it ran.
        taken: what happened to the bait.
    """
    faults = [*taken, *(f"tried {each}" for each in outcome.watched)]
    if outcome.timed_out:
        faults.append(f"no end after {outcome.seconds:.0f} s")
    elif outcome.signal:
        faults.append(f"ended by {outcome.signal}")
    elif outcome.code == 0:
        faults += ["was not refused"] if case.refused else _incomplete(case, folder)
    elif outcome.code == 2 or (outcome.code, case.setup.command) == TRY_AGAIN:
        faults += _not_one_line(outcome.errors) + _left(case, folder)
    else:
        faults += [f"exit code {outcome.code}", *_left(case, folder)]
    if "Traceback (most recent call last)" in outcome.errors:
        faults.append("a traceback")
    if snapshot(folder / "in") != before:
        faults.append("the inputs have changed")
    name = "finding" if faults else "ok" if outcome.code == 0 else "refused"
    said, _, _ = outcome.errors.partition("\nExtension modules: ")  # after a signal, hundreds of them
    return Verdict(name, faults, said[-SHOWN:].strip())


def snapshot(folder: Path) -> dict[str, str]:
    """What each file of a folder holds, and what kinds of things lie there."""
    seen = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            seen[str(path)] = f"link to {os.readlink(path)}"
        else:
            seen[str(path)] = "folder" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
    return seen


def _not_one_line(errors: str) -> list[str]:
    """What is wrong with a message; what a progress bar or a warning wrote before it does not count."""
    _, found, message = ("\n" + errors.replace("\r", "\n")).rpartition("\nerror: ")
    if not found:
        return ["no message"]
    message = message.removesuffix("\n")
    if len(message.splitlines()) != 1:
        return [f"a message of {len(message.splitlines())} lines"]
    if not message.isprintable():
        return ["a message with control characters"]
    if len(message) > LONGEST:
        return [f"a message of {len(message)} characters"]
    return []


def _incomplete(case: FuzzCase, folder: Path) -> list[str]:
    """Results that are missing or empty after a good end."""
    faults = [f"{name} is missing" for name in case.setup.made if not (folder / name).is_file()]
    for name in case.setup.made:
        file = folder / name
        if file.is_file() and file.suffix == ".json":
            try:
                json.loads(file.read_text(encoding="utf-8"))
            except ValueError:
                faults.append(f"{name} is no JSON")
        elif file.is_file() and file.stat().st_size == 0:
            faults.append(f"{name} is empty")
    return faults


def _left(case: FuzzCase, folder: Path) -> list[str]:
    """What lies about after a command was refused."""
    return [f"left {path.name}" for path in sorted(folder.iterdir()) if path.name not in ("in", *case.setup.works)]
