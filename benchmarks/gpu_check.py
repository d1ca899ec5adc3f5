"""Does vgen do on this GPU what it should, and how fast? Eight checks, made to take four minutes on an H100:

    device       versions; the two ceilings: a bf16 matrix product and a copy in the device's memory
    training     a small model under DeepSpeed ZeRO 0, 1, 2 and 3: losses, speed, memory
    attention    each attention kernel: its error beside float32, its speed
    wan_step     a training step at the size of Wan 2.1 1.3B, random weights: tokens/s, MFU, memory
    conditions   a step of denoising 77 frames of 384x672 with 0, 20, 40 and 77 conditions, joint and remembered
    compile      a training step with compiled blocks beside one without
    offload      a completion with every kind of offload: the same frames, time, memory
    rollout      frames per second of a rollout

    python benchmarks/gpu_check.py --out gpu.json
    python benchmarks/gpu_check.py --only device attention --minutes 2
    python benchmarks/gpu_check.py --toy          (tiny shapes on the CPU: tells whether the checks run)

Each finding is a line at once and, with --out, in a file that is rewritten whole, so that nothing is lost if the time
ends. Each part runs in a process of its own; one that fails is told in a line, and the next goes on. Exit code: 0, or 1
where something failed. Speeds are those of one run.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench_common.options import add_out, check_free, make_parser
from bench_common.report import write_json
from gpu_suite import agreement
from gpu_suite.jobs import Job, Worker, Workers

from vgen import checks
from vgen.errors import InputError, exit_on_input_error

NEEDS_GPU = "no GPU that torch can use; run it where there is one, or with --toy on the CPU"


@dataclass(frozen=True)
class Check:
    """A check: whose `run` it is, its parts, and the seconds that each of them may take."""

    module: str
    limit: float
    parts: tuple[str, ...] = ("",)


# By what is worth most, as the time may end.
CHECKS = {
    "device": Check("gpu_suite.machine", 60),
    "training": Check("gpu_suite.training", 60, ("zero0", "zero1", "zero2", "zero3")),
    "attention": Check("gpu_suite.attention", 60),
    "wan_step": Check("gpu_suite.wan_step", 60, ("kept", "checkpointed", "recipe")),
    "conditions": Check("gpu_suite.conditions", 90),
    "compile": Check("gpu_suite.compiling", 120),
    "offload": Check("gpu_suite.offloading", 60),
    "rollout": Check("gpu_suite.rollout", 60),
}


class Results:
    """What was found so far, as lines and as the JSON of `--out`.

    Attributes:
        failures: the findings that failed.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self._out, self._began = args.out, time.monotonic()
        self._settings = {"toy": args.toy, "model": args.model, "minutes": args.minutes}
        self._checks: dict[str, dict[str, Any]] = {}
        self.failures = 0

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began

    def found(self, check: str) -> dict[str, dict[str, Any]]:
        """The values of what a check has found, by name."""
        found: dict[str, dict[str, Any]] = self._of(check, "found")
        return found

    def tell(self, check: str, name: str, line: str, values: Mapping[str, Any]) -> None:
        """Prints and keeps a finding."""
        self._of(check, "found")[name] = dict(values)
        self.failures += "error" in values
        self._print(check, line)

    def failed(self, job: Job, error: str) -> None:
        """Prints and keeps that a part broke off."""
        self.tell(job.check, f"{job.part} broke off".lstrip(), f"{job.name} FAILED: {error}", {"error": error})

    def ended(self, job: Job, seconds: float, printed: str) -> None:
        """Keeps what a part took since it was told to go, and, where something of it failed, what it has printed."""
        self._of(job.check, "seconds")[job.part or job.check] = seconds
        if printed:
            self._of(job.check, "printed")[job.part or job.check] = printed
        self.write()

    def left_out(self, job: Job) -> None:
        """Says that the time was over before a part."""
        self._print(job.check, f"{job.name} is left out, as the time is over")

    def write(self) -> None:
        """Rewrites the file of `--out`."""
        if self._out:
            about = {"settings": self._settings, "seconds": self.seconds, "failures": self.failures}
            write_json({**about, "checks": self._checks}, self._out)

    def _of(self, check: str, kind: str) -> dict[str, Any]:
        kept: dict[str, Any] = self._checks.setdefault(check, {}).setdefault(kind, {})
        return kept

    def _print(self, check: str, line: str) -> None:
        print(f"{self.seconds:6.1f} s  {check:<11} {line}", flush=True)
        self.write()


def run(worker: Worker, results: Results, known: Mapping[str, float]) -> None:
    """Runs a part to its end, or until it fails."""
    job, began, before = worker.job, time.monotonic(), results.failures
    for message in worker.run(known):
        if "failed" in message:
            results.failed(job, message["failed"])
        elif "name" in message:
            results.tell(job.check, message["name"], message["line"], message["values"])
    results.ended(job, time.monotonic() - began, worker.printed() if results.failures > before else "")


def conclude(check: str, results: Results) -> None:
    """What the parts of a check say together."""
    if check == "training":
        line, values = agreement.compare(results.found(check))
        if line:
            results.tell(check, "agreement", line, values)


def check_device() -> None:
    """Refuses a machine without a GPU.

    Raises:
        InputError: there is none.
    """
    import torch  # late: it takes seconds, in which the first check imports what it needs

    if not torch.cuda.is_available():
        raise InputError(NEEDS_GPU)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", default=list(CHECKS), help="the checks to run; all")
    parser.add_argument("--minutes", type=float, default=60.0, help="no part is begun later (default: %(default)s)")
    parser.add_argument("--model", default="nano", help="of offload and rollout (default: %(default)s)")
    parser.add_argument("--toy", action="store_true", help="tiny shapes on the CPU: tells whether the checks run")
    add_out(parser)
    args = parser.parse_args(argv)
    for name in args.only:
        checks.choice("--only", name, tuple(CHECKS))
    checks.real("--minutes", args.minutes, 0, 10**4)
    check_free(args)
    return args


def main(argv: list[str] | None = None) -> None:
    """Runs the checks in their order, and ends with 1 where something failed."""
    args = parse(argv)
    named = {name: check for name, check in CHECKS.items() if name in args.only}
    jobs = [Job(name, part, check.module, check.limit) for name, check in named.items() for part in check.parts]
    results = Results(args)
    with Workers(jobs, args.toy, args.model) as workers:
        if not args.toy:
            check_device()
        for worker in workers:
            job = worker.job
            if results.seconds > 60 * args.minutes:
                results.left_out(job)
                continue
            product = results.found("device").get("matmul", {}) if "device" in named else {}
            run(worker, results, product)
            if job.part == CHECKS[job.check].parts[-1]:
                conclude(job.check, results)
    failed = f"{results.failures} findings FAILED" if results.failures else "all is well"
    print(f"{results.seconds:6.1f} s  {failed}", flush=True)
    sys.exit(min(1, results.failures))


if __name__ == "__main__":
    exit_on_input_error(main)
