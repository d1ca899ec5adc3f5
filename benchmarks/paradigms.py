"""Rival paradigms of conditioning on one backbone (Tables 2 and 3 of VideoCanvas): trains each, and measures them all.

    vgen bench paradigms --recipe configs/train/nano_canvas.yaml --steps 600 --seeds 0,1 --bench BENCH --out PARADIGMS
    vgen bench paradigms --recipe RECIPE --steps 600 --bench BENCH --out PARADIGMS objective.pretrained=nano
    vgen bench paradigms --recipe RECIPE --steps 600 --bench BENCH --out ATTENTION \
        --variant joint --variant independent:objective.condition_attention=independent

Every paradigm of vgen/canvas/paradigms is trained by the same recipe for as many steps, however long they take, once
for each seed. A seed says which clips come, in which order, what is given of them, with which noise and from which
weights, so that all paradigms of a seed are told the same. Then every model completes the same bench with the same
noise, as `vgen bench canvas` does. --variant compares other choices of a recipe in the same way: NAME, or
NAME:KEY=VALUE, several values of one by the same name again.

OUT/runs and OUT/results have a folder for each paradigm and seed. What was stopped goes on with the same command, and
what is done is not done again. A table has, of each paradigm, the mean over seeds, and the half of what they span.
Below it stands whether paradigms come in the order of the paper. Its figures are of another backbone and other videos:
only orders can be compared.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_common.options import make_parser
from bench_common.report import number, row, write_json

from vgen import checks
from vgen.canvas.paradigms import PARADIGMS
from vgen.errors import InputError, exit_on_input_error
from vgen.files import file_sha256
from vgen.shipped import find
from vgen.train.config import load_config
from vgen.train.loop import train
from vgen.train.stop import Stop

SETTINGS, RESULTS, RUNS = "settings.json", "paradigms.json", "runs"
SHOWN = ("psnr", "ssim", "st_lpips", "fvd", "kvd", "given_psnr", "dynamic_degree_farneback", "centroid_distance")
MORE_IS_BETTER = ("psnr",)  # of the measures that put paradigms in order
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Table:
    """A comparison of the paper: which paradigms, and what it has of them.

    Attributes:
        measure: of the paper, by which it puts them in order.
        paper: its figures, whose order is what can be compared.
        instead: measures that stand in where that one was not measured, the nearest first.
    """

    title: str
    measure: str
    paper: Mapping[str, float]
    instead: tuple[str, ...] = ()

    def order(self, values: Mapping[str, float], measure: str) -> list[str]:
        """Those of its paradigms that have a value of a measure, the best first."""
        found = [name for name in self.paper if not math.isnan(values.get(name, math.nan))]
        return sorted(found, key=lambda name: values[name], reverse=measure in MORE_IS_BETTER)


TABLES = (
    Table(
        "where given frames stand in time",
        "psnr",
        {"in_context": 23.86, "nearest_slot": 22.95, "pixel_padding": 22.02, "latent_conditioning": 25.13},
    ),
    Table(
        "by which way they reach the model",
        "fvd",
        {"latent_replacement": 15.94, "channel_concatenation": 14.19, "in_context": 13.73},
        ("st_lpips", "psnr"),
    ),
    Table(
        "their positions",
        "fvd",
        {"no_positions": 12.57, "integer_positions": 11.08, "in_context": 10.94},
        ("st_lpips", "psnr"),
    ),
)


@dataclass(frozen=True)
class Plan:
    """What is trained and measured.

    Attributes:
        recipe: of a canvas.
        overrides: of the recipe, `key=value`.
        steps: of each training.
        seeds: of the trainings.
        variants: what is compared: by name, the values of the recipe that it changes.
        bench: folder that `vgen bench build` has written.
        out: folder of all that is made.
        run: how the bench is run, as `bench_run.settings.BenchSettings` takes it.
        workers: processes of the bench.
    """

    recipe: str
    overrides: tuple[str, ...]
    steps: int
    seeds: tuple[int, ...]
    variants: Mapping[str, tuple[str, ...]]
    bench: Path
    out: Path
    run: Mapping[str, Any]
    workers: int | None = None

    def claim(self) -> None:
        """Writes what decides on the trainings, or finds it written.

        Raises:
            InputError: the folder holds trainings of another recipe or number of steps, or others of these names.
        """
        recipe = {"recipe": file_sha256(Path(find(self.recipe))), "overrides": list(self.overrides)}
        variants = {name: list(values) for name, values in self.variants.items()}
        about, file = {**recipe, "steps": self.steps, "variants": variants}, self.out / SETTINGS
        if not (self.out / RUNS).exists():  # nor does a recipe that was refused leave a folder that is taken
            if self.out.exists() and any(other != file for other in self.out.iterdir()):
                raise InputError(f"{self.out} holds something already; name another folder")
            write_json(about, file)
            return
        before = json.loads(file.read_text())
        if "variants" not in before:
            raise InputError(
                f"{self.out} was made by an older vgen, which kept less of its settings; name another folder"
            )
        for name, values in before["variants"].items():
            about["variants"].setdefault(name, values)  # that were compared before, and may be again
        for key, value in about.items():
            known = {**value, **before[key]} if key == "variants" else before.get(key)
            if known != value:
                told = f"{key}={checks.show(known)}, now {checks.show(value)}"
                raise InputError(f"{self.out} holds trainings of other settings ({told}); use those, or another folder")
        write_json(about, file)


def trained(plan: Plan, name: str, seed: int) -> Path | None:
    """The model of a variant and a seed, trained as far as it was not; None where that was told to stop.

    Raises:
        InputError: the recipe cannot be used.
    """
    folder = plan.out / RUNS / f"{name}-{seed}"
    own = [f"run={folder}", f"seed={seed}", f"steps={plan.steps}", "max_minutes=null", "wall_minutes=null"]
    done = folder / "run.json"
    if not done.exists() or json.loads(done.read_text())["steps"] < plan.steps:
        stop = Stop()
        train(load_config(plan.recipe, [*plan.overrides, *plan.variants[name], *own]), stop)
        if stop.asked:
            logger.warning("stopped; the same command goes on")
            return None
    if (steps := json.loads(done.read_text())["steps"]) != plan.steps:
        rule = "what is compared has equal steps; name another folder"
        raise InputError(f"{folder} made {steps} of {plan.steps} steps: {rule}")
    return folder / "model"


def measured(plan: Plan, name: str, seed: int, model: Path) -> Mapping[str, Mapping[str, float]]:
    """Group of cases -> measure -> value of the model on the bench.

    Raises:
        InputError: the bench cannot be run with the model.
    """
    from bench_run.run import run_bench  # late, as all that loads models
    from bench_run.settings import BenchSettings

    folder = plan.out / "results" / f"{name}-{seed}"
    results = run_bench(plan.bench, BenchSettings(model=str(model), **plan.run), folder, plan.workers)
    return {
        group: {**entry["means"]["model"], **entry.get("sets", {}).get("model", {})}
        for group, entry in results.data["groups"].items()
    }


def run(plan: Plan) -> dict[str, Any] | None:
    """Trains and measures what is not done yet; None where that was told to stop.

    Returns:
        "groups": group -> variant -> measure -> values, one a seed; and what was asked.
    """
    plan.claim()
    groups: dict[str, dict[str, dict[str, list[float]]]] = {}
    for seed in plan.seeds:  # outermost, so that a run that is stopped has whole tables of fewer seeds
        for name in plan.variants:
            model = trained(plan, name, seed)
            if model is None:
                return None
            for group, values in measured(plan, name, seed, model).items():
                found = groups.setdefault(group, {}).setdefault(name, {})
                for measure, value in values.items():
                    found.setdefault(measure, []).append(value)
    return {"steps": plan.steps, "seeds": list(plan.seeds), "groups": groups}


def table(results: Mapping[str, Any]) -> str:
    """All tables of all groups: those of the paper, and one of what is in none of them."""
    seeds = ", ".join(map(str, results["seeds"]))
    lines = [f"{results['steps']} steps each, seeds {seeds}: mean, and ± half of what the seeds span"]
    for group, variants in results["groups"].items():
        told: set[str] = set()
        for each in TABLES:
            rows = [name for name in each.paper if name in variants]
            if len(rows) > 1:
                told |= {*rows}
                lines += _rows(f"{group}: {each.title}", {name: variants[name] for name in rows})
                lines += [_agreement(each, {name: variants[name] for name in rows})]
        if own := {name: values for name, values in variants.items() if name not in told}:
            lines += _rows(group, own)
    return "\n".join(lines)


def _rows(title: str, variants: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    shown = [measure for measure in SHOWN if any(measure in values for values in variants.values())]
    cells = {name: [_cell(values.get(measure, [])) for measure in shown] for name, values in variants.items()}
    return ["", title, row("", shown, 24, 26), *(row(name, each, 24, 26) for name, each in cells.items())]


def _agreement(each: Table, variants: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Whether paradigms come in the order of the paper."""
    for measure in (each.measure, *each.instead):
        values = {name: _mean(found.get(measure, [])) for name, found in variants.items()}
        ours = each.order(values, measure)
        if len(ours) > 1:
            theirs = [name for name in each.order(each.paper, each.measure) if name in ours]
            says = "agrees with" if ours == theirs else f"differs from {' > '.join(theirs)} of"
            own = "" if measure == each.measure else f", by {each.measure}"
            return f"  by {measure} {' > '.join(ours)}: {says} the paper{own}"
    return f"  {each.measure} was not measured: no order to compare with the paper's"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _cell(values: Sequence[float]) -> str:
    spread = f" ± {(max(values) - min(values)) / 2:.3g}" if len(values) > 1 else ""
    return number(_mean(values), 3) + spread


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = make_parser(__doc__)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="values of the recipe")
    parser.add_argument("--recipe", required=True, help="of a canvas, in which only the paradigm is changed")
    parser.add_argument("--steps", type=int, required=True, help="of every training")
    parser.add_argument("--seeds", default="0,1", help="of the trainings (default: 0,1)")
    parser.add_argument("--paradigms", metavar="NAMES", help="between commas (default: all, or none beside --variant)")
    parser.add_argument(
        "--variant",
        action="append",
        default=[],
        metavar="NAME[:KEY=VALUE]",
        help="another choice of the recipe; several with an option each",
    )
    parser.add_argument("--bench", type=Path, required=True, help="folder that vgen bench build has written")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of trainings and results")
    parser.add_argument("--cases", type=int, help="of each kind of the bench, the first so many (default: all)")
    parser.add_argument("--denoising-steps", type=int, help="of a completion (default: the recipe's)")
    parser.add_argument("--bf16", action="store_true", help="matrix products of completions in bfloat16")
    parser.add_argument("--fvd", action="store_true", help="FVD and KVD too: about a second a video on a CPU")
    parser.add_argument("--workers", type=int, help="processes of the bench (default: all GPUs, or 1)")
    return parser.parse_args(arguments)


def plan_of(args: argparse.Namespace) -> Plan:
    """What the options ask for.

    Raises:
        InputError: a value breaks its rule.
    """
    if not all(seed.isdecimal() for seed in args.seeds.split(",")):
        raise InputError(f"seeds={checks.show(args.seeds)} must be whole numbers between commas, such as 0,1")
    seeds = tuple(dict.fromkeys(int(seed) for seed in args.seeds.split(",")))
    steps = checks.whole("steps", args.steps, 1, 10**9)
    how = {"cases": args.cases, "steps": args.denoising_steps, "bf16": args.bf16, "fvd": args.fvd}
    recipe = args.recipe, tuple(args.overrides), steps, seeds, variants_of(args.paradigms, args.variant)
    return Plan(*recipe, args.bench, args.out, how, args.workers)


def variants_of(paradigms: str | None, others: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What is compared.

    Args:
        paradigms: names between commas; None is all, or none where there are others.
        others: NAME, or NAME:KEY=VALUE with a value of the recipe that it changes; one name may come several times.

    Raises:
        InputError: there is no such paradigm, a name is no plain word or a paradigm's, or a value is none.
    """
    asked = paradigms.split(",") if paradigms is not None else [] if others else list(PARADIGMS)
    names = [checks.choice("paradigms", name, PARADIGMS) for name in asked]
    variants = {name: (f"objective.paradigm={name}",) for name in names}
    for text in others:
        name, sign, value = text.partition(":")
        if not re.fullmatch(r"\w+", name) or name in PARADIGMS:
            rule = "begins with a word of letters and digits, no paradigm's, as small:objective.batch=4"
            raise InputError(f"--variant {checks.show(text)} {rule}")
        if sign and "=" not in value:
            raise InputError(f"--variant {checks.show(text)}: behind the name stands KEY=VALUE, as of the recipe")
        variants[name] = (*variants.get(name, ()), *([value] if sign else []))
    return variants


def main() -> None:
    """Trains, measures, and prints the tables."""
    logging.basicConfig(level=logging.WARNING)
    plan = plan_of(parse_args())
    results = run(plan)
    if results is not None:
        write_json(results, plan.out / RESULTS)
        print(table(results))


if __name__ == "__main__":
    exit_on_input_error(main)
