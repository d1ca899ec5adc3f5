"""Does any input make a command fail otherwise than in one line?

    python benchmarks/fuzz_inputs.py --count 500 --seed 1
    python benchmarks/fuzz_inputs.py --seed 1 --only 37 --keep outputs/case

Makes valid images, videos, data sets, captions, specs, recipes, records, trajectories, LoRAs, models, checkpoints and
caches, then case after case damages one and gives it to the command that reads it (infer, rollout, edit_trajectory,
export, blend, train), each in a process of its own with a limit of time and memory. A case is right where the command
ends well with all its results, or is refused: one line and exit code 2. All else is a finding: a traceback, another
exit code, the end by a signal, no end in time, results of a command that was refused, an input that has changed, a call
to the network, a program or code that was started.

Prints a table by kind and each finding with how to repeat it; exit code 1 where there is one.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # before the libraries ask

import peft  # noqa: F401 (here and below: what the children would else import one by one)
import torch
from bench_common.options import check_counts, make_parser
from fuzz_suite.cases import FuzzCase, make_case
from fuzz_suite.child import Child, load_commands
from fuzz_suite.seeds import Seeds, make_seeds
from fuzz_suite.traps import Bait
from fuzz_suite.verdict import Verdict, judge, snapshot
from tqdm import tqdm

from vgen.errors import InputError, exit_on_input_error

SECONDS = 60.0  # that a command may take
POLL = 0.01


@dataclass(frozen=True)
class FuzzResult:
    """A case and what is to be said of it."""

    case: FuzzCase
    verdict: Verdict
    folder: Path


class Fuzzer:
    """Makes and runs cases below a folder."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.commands = load_commands()
        self.seeds: Seeds = make_seeds(folder / "seeds", self.run)

    def run(self, command: str, options: Sequence[str], folder: Path) -> None:
        """Runs a command to its good end.

        Raises:
            InputError: it has failed.
        """
        child = Child(self.commands[command], command, options, folder, 4 * SECONDS)
        while (outcome := child.poll()) is None:
            time.sleep(POLL)
        shutil.rmtree(child.notes)
        if outcome.code != 0:
            raise InputError(f"{command} fails on valid inputs: {' '.join(outcome.errors.split())[-500:]}")

    def results(self, numbers: Sequence[int], workers: int) -> Iterator[FuzzResult]:
        """The results of cases, as they come."""
        waiting, running = list(reversed(numbers)), []
        while waiting or running:
            if waiting and len(running) < workers:
                running.append(_Running(self, waiting.pop()))
                continue
            done = [one for one in running if one.poll()]
            running = [one for one in running if one not in done]
            for one in done:
                yield one.result()
            if not done:
                time.sleep(POLL)


class _Running:
    """A case at work."""

    def __init__(self, fuzzer: Fuzzer, number: int) -> None:
        self.folder = fuzzer.folder / f"case-{number}"
        self._bait = Bait(fuzzer.folder / f"bait-{number}")
        self.case = make_case(fuzzer.seed, number, fuzzer.seeds, self.folder, fuzzer.run, self._bait)
        self._bait.lay(fuzzer.seeds)
        self._before = snapshot(self.folder / "in")
        setup = self.case.setup
        self._child = Child(fuzzer.commands[setup.command], setup.command, setup.options, self.folder, SECONDS)
        self._outcome = None

    def poll(self) -> bool:
        """Whether it has ended."""
        self._outcome = self._child.poll()
        return self._outcome is not None

    def result(self) -> FuzzResult:
        """What came of it."""
        taken = self._bait.taken()
        self._bait.close()
        verdict = judge(self.case, self._outcome, self.folder, self._before, taken)
        return FuzzResult(self.case, verdict, self.folder)


def table(results: Sequence[FuzzResult]) -> str:
    """Counts by kind, as text."""
    counts = Counter((result.case.kind, result.verdict.name) for result in results)
    lines = [f"{'kind':12}{'cases':>8}{'ended well':>12}{'refused':>10}{'findings':>10}"]
    for kind in [*sorted({kind for kind, _ in counts}), "all"]:
        row = [sum(n for (k, name), n in counts.items() if kind in (k, "all") and name == each)
               for each in ("ok", "refused", "finding")]  # fmt: skip
        lines.append(f"{kind:12}{sum(row):>8}{row[0]:>12}{row[1]:>10}{row[2]:>10}")
    return "\n".join(lines)


def told(result: FuzzResult, seed: int) -> str:
    """A finding, and how to repeat it."""
    case = result.case
    command = f"{case.setup.command} {' '.join(case.setup.options)}"
    return (
        f"FINDING {case.number}: {case.kind}, {case.how}\n  {'; '.join(result.verdict.faults)}\n  {command!a}\n"
        f"  {result.verdict.said}\n  repeat: python benchmarks/fuzz_inputs.py --seed {seed} --only {case.number}"
    )


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--count", type=int, default=500, help="cases (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all choices (default: %(default)s)")
    parser.add_argument("--only", type=int, action="append", metavar="CASE", help="this one alone; may be repeated")
    parser.add_argument("--workers", type=int, default=1, help="cases at a time (default: %(default)s)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="new folder for the inputs of findings, or of --only")
    args = parser.parse_args()
    check_counts(args, "count", "workers")
    if args.keep and args.keep.exists():
        raise InputError(f"--keep {args.keep} exists; name a new folder")
    return args


def main() -> None:
    args = parse()
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)  # a fork copies no thread
    tqdm.monitor_interval = 0
    numbers = args.only or range(args.count)
    results = []
    with tempfile.TemporaryDirectory(prefix="fuzz_inputs") as name:
        fuzzer = Fuzzer(Path(name).resolve(), args.seed)
        logging.disable(logging.NOTSET)
        for result in tqdm(fuzzer.results(numbers, args.workers), "cases", len(numbers), disable=None):
            results.append(result)
            if result.verdict.faults:
                tqdm.write(told(result, args.seed), file=sys.stdout)
            elif args.only:
                tqdm.write(f"{result.case}\n{result.verdict}", file=sys.stdout)
            if args.keep and (result.verdict.faults or args.only):
                shutil.copytree(result.folder, args.keep / str(result.case.number), symlinks=True)
            shutil.rmtree(result.folder)
            shutil.rmtree(result.folder.with_name(result.folder.name + ".notes"))
    print(table(results))
    sys.exit(any(result.verdict.faults for result in results))


if __name__ == "__main__":
    exit_on_input_error(main)
