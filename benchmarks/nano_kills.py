"""Does `vgen nano` end whole, whatever it is killed at?

    python benchmarks/nano_kills.py --out outputs/nano_kills
    python benchmarks/nano_kills.py --stages codec,hand --kills 3 --out outputs/nano_kills

Runs the profile of a GPU on toy data, of tiny shapes, and kills it with SIGKILL at random moments of every stage. After
each kill `model/`, where it is there, must load in every reader; the same command, started again, must go on and end
with a whole model, its card, and every stage over. Prints a line a kill; exit code 1 where anything is amiss.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from bench_common.options import make_parser
from crash_suite.toy_way import write_toy_profile
from diffusers import AutoencoderKLWan

from vgen.backbone.codec import WanCodec
from vgen.canvas.pipeline import CanvasPipeline
from vgen.ego.adapter import EgoAdapter
from vgen.errors import InputError, exit_on_input_error
from vgen.reproduce.profile import STAGES
from vgen.reproduce.progress import FILE
from vgen.state.model import StateModel

LONGEST = 8.0  # seconds into a stage at which it is killed at most
LATE = 600.0  # seconds that one start may take


def parse() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--stages", default=",".join(STAGES), help="to kill it in (default: all)")
    parser.add_argument("--kills", type=int, default=2, help="of each stage (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, default=Path("outputs/nano_kills"), help="an empty folder for all of it")
    return parser.parse_args()


def start(profile: Path, out: Path) -> subprocess.Popen:
    """The command, in a process group of its own."""
    command = [sys.executable, "-m", "vgen", "nano", "--profile", str(profile), "--out", str(out)]
    with (out.parent / "said.txt").open("ab") as said:
        return subprocess.Popen(command, stdout=said, stderr=said, process_group=0, env=os.environ | {"RANK": "0"})


def stages(out: Path) -> dict:
    """What is kept of the stages; nothing before the first."""
    return json.loads((out / FILE).read_text()) if (out / FILE).exists() else {}


def now_in(out: Path) -> str:
    """The stage that is at work."""
    kept = stages(out)
    return next((name for name in STAGES if not kept.get(name, {}).get("done")), "its end")


def kill_in(stage: str, profile: Path, out: Path, chance: random.Random) -> str:
    """Kills the command in a stage; returns what it was killed at."""
    process, late = start(profile, out), time.monotonic() + LATE
    try:
        while process.poll() is None and now_in(out) != stage and time.monotonic() < late:
            time.sleep(0.02)
        time.sleep(chance.uniform(0, LONGEST) * chance.random())
        return (
            f"killed in {now_in(out)}" if process.poll() is None else f"had ended by itself with {process.returncode}"
        )
    finally:
        process.kill()
        process.wait()


def faults(model: Path) -> list[str]:
    """What of a model folder does not load, as far as it is there."""
    readers = {
        "vae": lambda: AutoencoderKLWan.from_pretrained(model, subfolder="vae"),
        "transformer": lambda: CanvasPipeline.from_pretrained(model),
        "ego": lambda: EgoAdapter.from_pretrained(model / "ego"),
        "state": lambda: StateModel.from_pretrained(model / "state", WanCodec(readers["vae"]())),
    }
    found = []
    for name, read in readers.items():
        try:
            if (model / name).exists():
                read()
        except Exception as error:  # whatever it is, it is told
            found.append(f"{name}: {type(error).__name__} {error}")
    return found


def main() -> None:
    args = parse()
    if args.out.exists() and any(args.out.iterdir()):
        raise InputError(f"--out {args.out} holds something; name an empty folder")
    args.out.mkdir(parents=True, exist_ok=True)
    profile, out, chance = write_toy_profile(args.out, 120), args.out / "way", random.Random(args.seed)
    amiss = 0
    for stage in args.stages.split(","):
        for _ in range(args.kills):
            what = kill_in(stage, profile, out, chance)
            wrong = faults(out / "model")
            amiss += bool(wrong)
            print(f"{stage}: {what}; {'; '.join(wrong) or 'what is there loads'}", flush=True)
    code = start(profile, out).wait(LATE)
    wrong = faults(out / "model")
    wrong += [f"{name} is not there" for name in ("vae", "transformer", "ego", "state", "README.md")
              if not (out / "model" / name).exists()]  # fmt: skip
    wrong += [f"{name} is not over" for name, stage in stages(out).items() if not stage["done"]]
    if "Traceback" in (args.out / "said.txt").read_text(errors="replace"):
        wrong.append("a traceback")
    print(f"the end: exit code {code}; {'; '.join(wrong) or 'a whole model and its card'}")
    sys.exit(1 if amiss or wrong or code else 0)


if __name__ == "__main__":
    exit_on_input_error(main)
