"""Does a run that is killed again and again, and worse, end as one that never was?

    python benchmarks/crash_test.py --kills 25 --ranks 2 --zero 3 --out outputs/crash_test
    python benchmarks/crash_test.py --sections kills,disk,readonly,damage,two,signals --ranks 1,2 --zero 0,3

Trains a tiny canvas (a real one: codec, latent cache, text encoder, dropped captions, averaged weights) once without a
break, and then again and again with one:

    kills     all its ranks are killed with SIGKILL and started again, at random moments of the training, of the start,
              and, every third time, in the middle of a checkpoint
    disk      a disk that is full: of each size, and each number of files, at which another write is the one that fails
    readonly  the run or its cache turns read-only at some moment, or is from the start
    damage    a file of every kind in the run and its caches is cut short, or has a bit that flipped
    two       a second run in the same folder, and one with the same cache
    signals   SIGINT and SIGTERM while it starts, encodes, trains, saves, draws, exports; and in the command export

Whatever was done, the command must end in order: with its exit code as documented and one line, without a traceback and
with nothing half written. The same command, started again, must then end as the unbroken run: every record of the log,
the exported weights and the last checkpoint must equal that one's, bit for bit.

Prints a table and writes <out>/crash_test.json; exit code 1 where anything differs. `disk` and `readonly` mount file
systems, which needs root; what cannot be set up is named as skipped.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby, product
from pathlib import Path

os.environ |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # before the libraries ask

import peft  # noqa: F401 (here and below: what each life would else import anew)
import torch
from bench_common.options import make_parser
from bench_common.report import versions, write_json
from crash_suite.bench import CrashBench, CrashCase
from crash_suite.damage import damage
from crash_suite.disks import disk, readonly
from crash_suite.kills import crash
from crash_suite.stops import signals, two
from tqdm import tqdm

from vgen.errors import InputError, exit_on_input_error

MATRIX: dict[str, Callable[[CrashBench], None]] = {
    "disk": disk, "readonly": readonly, "damage": damage, "two": two, "signals": signals,
}  # fmt: skip
SECTIONS = ("kills", *MATRIX)
RESULTS = "crash_test.json"
WIDTH = 110  # letters of a cell of the table


def numbers(text: str) -> list[int]:
    """`1,2` as numbers."""
    return [int(part) for part in text.split(",")]


def parse() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--sections", default="kills", help="of " + ", ".join(SECTIONS) + "; or all")
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--ranks", type=numbers, default=[1], metavar="N,N", help="processes of a run")
    parser.add_argument("--zero", type=numbers, default=[0], metavar="N,N", help="ZeRO stages, 0 to 3")
    parser.add_argument("--steps", type=int, help="of the run; default: 80 for every kill, and 20 for all else")
    parser.add_argument("--quick", action="store_true", help="a few cases of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the damages")
    parser.add_argument(
        "--out", type=Path, default=Path("outputs/crash_test"), metavar="DIR", help="of all that is made"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier test has left there")
    args = parser.parse_args()
    args.sections = list(SECTIONS) if args.sections == "all" else args.sections.split(",")
    for section in args.sections:
        if section not in SECTIONS:
            raise InputError(f"--sections {section} is none of {', '.join(SECTIONS)}")
    if not set(args.zero) <= set(range(4)):
        raise InputError(f"--zero {','.join(map(str, args.zero))} is no ZeRO stage; there are 0, 1, 2, 3")
    make_room(args.out, args.overwrite)
    return args


def make_room(folder: Path, overwrite: bool) -> None:
    """An empty folder for the test.

    Raises:
        InputError: it holds something that is not to be, or must not be, replaced.
    """
    held = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    strange = [name for name in held if name != RESULTS and not name.startswith("ranks-")]
    if strange:
        raise InputError(f"{folder} holds {strange[0]}, which is of no crash test; name another folder")
    if held and not overwrite:
        raise InputError(f"{folder} holds a crash test already; name another folder, or replace it with --overwrite")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def run_matrix(folder: Path, args: argparse.Namespace, ranks: int, zero: int) -> list[CrashCase]:
    """The sections but for `kills`, of runs on so many ranks."""
    wanted = [section for section in MATRIX if section in args.sections]
    if not wanted:
        return []
    bench = CrashBench(folder, ranks, zero, args.steps or 20, random.Random(args.seed), args.quick)
    for section in tqdm(wanted, f"ranks {ranks}, ZeRO {zero}", disable=None):
        MATRIX[section](bench)
    return bench.cases


def matrix_lines(cases: Sequence[CrashCase]) -> Iterator[str]:
    """A table of what was tried and what came of it. Cases that came to the same are one line."""
    for (kind, ranks, zero), group in groupby(cases, lambda case: (case.kind, case.ranks, case.zero)):
        mine = list(group)
        broken, skipped = sum(bool(case.faults) for case in mine), sum(bool(case.skipped) for case in mine)
        yield ""
        yield f"{kind}, ranks {ranks}, ZeRO {zero}: {len(mine) - skipped} cases, {broken} at fault, {skipped} skipped"
        rows: dict[tuple, list[CrashCase]] = {}
        for case in mine:
            rows.setdefault((_general(case.what), case.code, _general(case.line), case.outcome), []).append(case)
        for (_, code, line, outcome), alike in rows.items():
            times = f" (and {len(alike) - 1} like it)" if len(alike) > 1 else ""
            yield f"  {alike[0].what}{times}"
            yield f"      exit code {code or '-'}  {line[:WIDTH]}"
            yield f"      {outcome[: 3 * WIDTH]}"


def _general(text: str) -> str:
    """A line without what is of its own case alone."""
    text = re.sub(r"/\S*/(?=[^/\s]+)", "", text)
    text = re.sub(r"step-\d+|\b[0-9a-f]{12}\b|\d+(\.\d+)?", "N", text)
    return re.sub(r"\.\w+\.N\.part|\.[\w.-]+\.part", ".part", text)


def kill_lines(result: dict) -> Iterator[str]:
    """What came of the kills."""
    about = f"{result['steps']} steps, {result['ranks']} ranks, ZeRO {result['zero_stage']}"
    yield f"kills         {result['kills']}, of these in the middle of a checkpoint {result['kills_in_a_save']}"
    yield f"run           {about}, {result['minutes']} minutes in all"
    found = "; ".join(result["differences"])
    yield f"differences   {found or 'none: records, weights and checkpoint are the same bits'}"


def main() -> None:
    args = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and ends the run with it
    torch.set_num_threads(1)  # and
    tqdm.monitor_interval = 0  # no thread: a fork copies none
    folder, began = args.out.resolve(), time.monotonic()
    kills, cases = [], []
    for ranks, zero in product(args.ranks, args.zero):
        place = folder / f"ranks-{ranks}-zero-{zero}"
        if "kills" in args.sections:
            steps = args.steps or 80 * max(1, args.kills)
            kills.append(crash(place / "kills", args.kills, steps, ranks, zero, args.seed))
            print("\n".join(kill_lines(kills[-1])))
        new = run_matrix(place / "matrix", args, ranks, zero)
        for line in matrix_lines(new):
            print(line)
        cases += new
    broken = [case for case in cases if case.faults]
    result = {
        "kills": kills,
        "cases": [asdict(case) for case in cases],
        "minutes": round((time.monotonic() - began) / 60, 1),
        "machine": platform.machine(),
        "versions": versions(("torch", "deepspeed", "diffusers")),
    }
    write_json(result, folder / RESULTS)
    if cases:
        tried = sum(not case.skipped for case in cases)
        about = f"{tried} cases, {len(broken)} at fault, {len(cases) - tried} skipped"
        print(f"\nin all        {about}, {result['minutes']} minutes")
    print(f"written to    {folder / RESULTS}")
    sys.exit(bool(broken) or any(each["differences"] for each in kills))


if __name__ == "__main__":
    exit_on_input_error(main)
