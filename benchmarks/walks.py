#!/usr/bin/env python
"""Counts how often a reader who follows a command through the code comes back to a file.

    python benchmarks/walks.py
    python benchmarks/walks.py --checkout ../other-worktree

Three walks are followed with nano: `infer` to its video, `rollout` to its frames, and a training of both front-ends to
its first loss. Each function of the package is noted when it is called for the first time, as a reader meets it; what
follows in the same file counts as one stay there. A return is a stay in a file that the walk has been in before. The
walks of docs/architecture.md name the files in this order; --files prints them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import groupby
from pathlib import Path

from golden import PRESS, ROOT, SETTINGS, recipes, write_data

from vgen.errors import Parser, exit_on_input_error

# Run before the command, in its own process: notes the file of each function that is called for the first time.
TRACE = """
import atexit, json, os, runpy, sys, threading
root, out, *command = sys.argv[1:]
seen, stays = set(), []
def note(frame, event, _):
    code = frame.f_code
    if event == "call" and code not in seen and code.co_filename.startswith(root):
        seen.add(code)
        if code.co_flags & 1 and "/.venv/" not in code.co_filename:  # a function, no body of a module or a class
            stays.append(os.path.relpath(code.co_filename, root))
atexit.register(lambda: json.dump(stays, open(out, "w")))
sys.argv = command
sys.path.insert(0, root)
sys.setprofile(note)
runpy.run_path(command[0], run_name="__main__")
"""


def follow(checkout: Path, command: list[str], work: Path) -> list[str]:
    """The files that a command enters, in their order."""
    out = work / "walk.json"
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "2"}
    start = [sys.executable, "-c", TRACE, str(checkout), str(out), *command]
    done = subprocess.run(start, cwd=checkout, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return [file for file, _ in groupby(json.loads(out.read_text()))]


def returns(stays: list[str]) -> int:
    """How many stays are in a file that was entered before."""
    return len(stays) - len(set(stays))


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--checkout", type=Path, default=ROOT, help="whose commands are followed; default: this one")
    parser.add_argument("--files", action="store_true", help="print the files of each walk")
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
            stays = follow(checkout, command, work)
            print(f"{name}: {len(stays)} stays in {len(set(stays))} files, {returns(stays)} returns")
            if args.files:
                print("\n".join(f"  {file}" for file in stays))


if __name__ == "__main__":
    exit_on_input_error(main)
