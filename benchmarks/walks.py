#!/usr/bin/env python
"""Counts how often a reader who follows a command through the code comes back to a file.

    python benchmarks/walks.py
    python benchmarks/walks.py --checkout ../other-worktree --walk infer --stays

Three walks are followed with nano: `infer` from its command to its video, `rollout` from its command to its frames, and
a training of the ego front-end from an episode (the objective's first `batch`) to its loss (its first `forward`).

The rule: each function is noted when it is called for the first time, as a reader meets it, and what follows in the
same file counts as one stay there. A return is a stay in a file that the walk has been in before. Left out is what a
reader knows from the ground floor or need not open (errors, checks, files, notices, results, moved, shipped, strict
YAML, what options are called, the names that `vgen` exports, the backbone's shapes, precision, parallel and lora, and
the rooms media, metrics, models and weights), what is written down of a run (record, output, report, overlay, draw)
with all that is called for it, and what runs while a module is imported. The rule goes by names alone, so that it
counts every version of the code in the same way. Takes half a minute a walk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path, PurePath

from bench_common.options import make_parser
from golden import PRESS, ROOT, SETTINGS, recipes, write_data

from vgen.errors import exit_on_input_error

GROUND = ("__init__", "errors", "checks", "files", "notices", "models", "results", "moved", "shipped", "strict_yaml")
FLOOR = {f"vgen/{name}.py" for name in GROUND} | {"vgen/canvas/yaml_file.py", "vgen/commands/options.py"}
FLOOR_ROOMS = {"media", "metrics", "models", "weights"}
FLOOR_OF_BACKBONE = {"shapes", "precision", "parallel", "lora"}
WRITTEN_DOWN = {"record", "output", "report", "overlay", "draw"}

# Run before the command, in its own process. Notes the file of each function that is called for the first time: of all
# functions, or, where the walk is that of an objective, of what its first `batch` and its first `forward` call. Inside
# of what is imported or written down nothing is noted (it may be met later), but for a generator of the walk that is
# being written: what it makes is made on the walk.
TRACE = """
import atexit, json, os, runpy, sys, threading
root, out, objective, written, *command = sys.argv[1:]
walks = {} if objective else {"": {}}
class Here(threading.local):
    def __init__(self):
        self.walk, self.top, self.imports, self.writes, self.outer = None, None, 0, 0, []
here = Here()
here.walk = walks.get("")
def note(frame, event, _):
    code, begins = frame.f_code, event == "call"
    if event not in ("call", "return"):
        return
    ours = code.co_filename.startswith(root + "/")
    if code.co_name == "<module>" and frame.f_globals.get("__name__") != "__main__":
        here.imports += 1 if begins else -1
    elif ours and os.path.basename(code.co_filename)[:-3].split("_")[-1] in written.split(","):
        here.writes += 1 if begins else -1
    elif ours and code.co_flags & 32 and begins:
        here.outer.append(here.writes)
        here.writes = 0
    elif ours and code.co_flags & 32:
        here.writes = here.outer.pop()
    if not begins and here.top is frame:
        here.walk = here.top = None
    if not begins or here.imports or here.writes or not ours:
        return
    name = os.path.relpath(code.co_filename, root)
    first = objective and code.co_name in ("batch", "forward") and name.startswith("vgen/train/objectives/")
    if first and here.walk is None and code.co_name not in walks:
        here.walk, here.top = walks.setdefault(code.co_name, {}), frame
    if here.walk is not None and code.co_flags & 1 and code.co_name[0] != "<":
        here.walk.setdefault(code, (name, code.co_qualname))
def write():
    merged = {code: call for part in ("", "batch", "forward") for code, call in walks.get(part, {}).items()}
    json.dump(list(merged.values()), open(out, "w"))
atexit.register(write)
sys.argv = command
sys.path.insert(0, root)
threading.setprofile(note)
sys.setprofile(note)
runpy.run_path(command[0], run_name="__main__")
"""


def follow(checkout: Path, command: Sequence[str], work: Path, objective: bool) -> list[tuple[str, str]]:
    """The file and the name of each function that a command calls, in the order in which they are called first."""
    out = work / "walk.json"
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "2"}
    tool = str(checkout / command[0])
    settings = [str(checkout), str(out), "objective" if objective else "", ",".join(sorted(WRITTEN_DOWN))]
    start = [sys.executable, "-c", TRACE, *settings, tool, *command[1:]]
    done = subprocess.run(start, cwd=checkout, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return [(file, name) for file, name in json.loads(out.read_text())]


def belongs(file: str) -> bool:
    """Whether a file is one that the walk is about."""
    room = PurePath(file).parts[:-1]
    if file in FLOOR or not {"vgen", "tools"} & set(room) or FLOOR_ROOMS & set(room):
        return False
    return not ("backbone" in room and PurePath(file).stem.split("_")[0] in FLOOR_OF_BACKBONE)


def stays(calls: Sequence[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """The stays of a walk in their order: a file, and the functions of it that are met there."""
    inside = [call for call in calls if belongs(call[0])]
    return [(file, [name for _, name in group]) for file, group in groupby(inside, key=lambda call: call[0])]


def returns(walk: Sequence[tuple[str, list[str]]]) -> dict[str, int]:
    """How often each file is entered again, most first."""
    return {file: count - 1 for file, count in Counter(file for file, _ in walk).most_common() if count > 1}


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--checkout", type=Path, default=ROOT, help="whose commands are followed; default: this one")
    parser.add_argument("--walk", choices=("infer", "rollout", "train"), help="the one walk to follow; default: all")
    parser.add_argument("--stays", action="store_true", help="print each stay, too: its file and functions")
    args = parser.parse_args()
    checkout = args.checkout.resolve()
    with tempfile.TemporaryDirectory(prefix="walks-") as folder:
        work = Path(folder)
        write_data(work / "data")
        recipe, *changes = recipes(work, checkout / "vgen/weights/nano")["ego"]
        train = ["tools/train.py", f"configs/train/{recipe}", f"run={work / 'run'}", *SETTINGS, *changes, "steps=1"]
        commands = {
            "infer": ["tools/infer.py", "--spec", "configs/canvas/demo.yaml", "--out", str(work / "infer")],
            "rollout": ["tools/rollout.py", *PRESS, "--frames", "4", "--out", str(work / "rollout")],
            "train": train,
        }
        for name, command in commands.items():
            if args.walk not in (None, name):
                continue
            walk = stays(follow(checkout, command, work, objective=name == "train"))
            again = returns(walk)
            print(
                f"{name}: {sum(again.values())} returns in {len(walk)} stays in {len(walk) - sum(again.values())} files"
            )
            print("  " + ", ".join(f"{file} {count}" for file, count in again.items()))
            if args.stays:
                print("\n".join(f"    {file}: {', '.join(functions)}" for file, functions in walk))


if __name__ == "__main__":
    exit_on_input_error(main)
