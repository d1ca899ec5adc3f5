"""A file of every kind in a run and its caches, cut short and with a bit that flipped, before the next start."""

from __future__ import annotations

import random
import re
import shutil

from tqdm import tqdm

from crash_suite.bench import REFUSED, WELL, CrashBench, Place


def damage(bench: CrashBench) -> None:
    """Damages one file after another of a run that was killed half-way. The run ends as the unbroken one, or is refused
    in one line, and ends so once the file is whole again."""
    half = bench.stopped_half_way()
    shutil.copytree(bench.folder / "begun" / "cache", half.folder / "frames")
    for name in tqdm(bench.few(kinds(half), 4), "damaged files", disable=None):
        for how, harm in (("cut short", cut), ("a bit flipped", flip)):
            place = bench.place("damaged")
            shutil.copytree(half.folder, place.folder, dirs_exist_ok=True)
            file, whole = place.folder / name, (half.folder / name).read_bytes()
            file.write_bytes(harm(whole, bench.chance))
            end = bench.finish(place)
            refused = any(end.codes)
            if refused:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(whole)
            case = bench.note("damage", f"{how}: {general(name)}", end, WELL | REFUSED | {1}, place)
            if case.faults and all(of_result(fault, name) for fault in case.faults):
                case.line, case.faults = f"{case.line}; nothing reads that file again, and all else is whole", []


def of_result(fault: str, name: str) -> bool:
    """Whether a fault is that a damaged file is what it is: of a log, records that are gone; of a model that is kept of
    a step, the file itself."""
    if name == "run/log.jsonl":
        return fault.startswith(("the steps in the log", "the losses of steps", "the records of the log"))
    return name.startswith("run/exports/") and name == f"run/{fault}"


def kinds(place: Place) -> list[str]:
    """One file of each kind at a place; of those that are numbered the last one."""
    files = sorted(path for path in place.folder.rglob("*") if path.is_file() and path.stat().st_size)
    names = [path.relative_to(place.folder).as_posix() for path in files]
    return sorted({general(name): name for name in names if not name.endswith(("run.lock", "lock"))}.values())


def general(name: str) -> str:
    """The kind of a file, by its name."""
    name = re.sub(r"step-\d+", "step-N", name)
    name = re.sub(r"\b[0-9a-f]{12}\b", "H", name)
    return re.sub(r"(events\.out\.tfevents)\..*", r"\1", re.sub(r"(?<=[-_])\d{3}\b", "N", name))


def cut(content: bytes, chance: random.Random) -> bytes:
    """The beginning of a file."""
    return content[: chance.randrange(len(content))]


def flip(content: bytes, chance: random.Random) -> bytes:
    """A file with a bit that is another one."""
    changed = bytearray(content)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)
