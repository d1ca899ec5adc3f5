"""vgen bench canvas --bench BENCH: completes every case of a bench, and writes results.json and a page.

    vgen bench canvas --bench BENCH --model nano --out results/nano
    vgen bench canvas --bench BENCH --model runs/canvas/export --keep exact --peer rife --fvd --out results/mine
    vgen bench compare results/nano results/mine --out compared.html

A run that was stopped, by whatever, goes on with the same command, and the results are the same as if it had not been.
They do not depend on --workers. Every case is completed as `vgen infer` would, beside a copy of the nearest given
frame, a blend in time, and the codec's own reconstruction of the truth, which no completion can pass.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from bench_common.options import check_counts, make_parser
from bench_common.report import row
from bench_measures.meanings import meaning
from bench_report.tables import MAIN, told
from canvas_suite.judges import PEERS

from bench_run.completion import METHODS
from bench_run.run import run_bench
from bench_run.settings import BenchSettings
from bench_run.store import PAGE, RESULTS
from vgen.media.patch import Keep

SETTINGS = ("model", "lora", "steps", "guidance", "scheduler", "attention", "offload", "dtype", "keep", "seed")
SETTINGS += ("paradigm", "bf16", "fvd", "encoders", "cases")


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of a run."""
    parser = make_parser(__doc__)
    parser.add_argument("--bench", type=Path, required=True, help="folder that vgen bench build has written")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    parser.add_argument("--overwrite", action="store_true", help="remove results of other settings at --out")
    parser.add_argument("--workers", type=int, help="processes, one a GPU or a CPU core (default: all GPUs, or 1)")
    parser.add_argument("--model", default="nano", help="nano, a diffusers folder or a hub id (default: nano)")
    parser.add_argument("--lora", help="a LoRA of any naming: a file, folder or hub id")
    parser.add_argument("--steps", type=int, help="of denoising (default: the model's own)")
    parser.add_argument("--guidance", type=float, help="over the text, 1 is none (default: the model's own)")
    parser.add_argument("--scheduler", help="euler, unipc or dpm++ (default: the model's own)")
    parser.add_argument("--attention", default="native", help="native (default), xformers, flash, sage or flex")
    parser.add_argument("--offload", default="none", help="none (default), model or sequential")
    parser.add_argument("--dtype", default="auto", help="auto (default), fp32, bf16 or fp16")
    parser.add_argument("--bf16", action="store_true", help="matrix products in bfloat16: about twice as fast")
    parser.add_argument("--keep", choices=get_args(Keep), default="model", help="exact puts given pixels back")
    parser.add_argument("--paradigm", help="how what is given reaches the model (default: as it was trained)")
    parser.add_argument("--seed", type=int, default=0, help="added to the seed of every case (default: 0)")
    parser.add_argument("--cases", type=int, help="of each kind, the first so many (default: all)")
    parser.add_argument("--peer", action="append", default=[], choices=PEERS, help="another network beside it")
    parser.add_argument("--fvd", action="store_true", help="FVD and KVD of all videos: about a second a video on a CPU")
    parser.add_argument("--encoders", help="folder of encoders, for dimensions of VBench that need one")
    return parser.parse_args(arguments)


def main() -> None:
    """Runs, and prints a table."""
    logging.basicConfig(level=logging.WARNING)
    args = parse_args()
    check_counts(args, "workers")
    given = {name: getattr(args, name) for name in SETTINGS}
    settings = BenchSettings(**given, peers=tuple(dict.fromkeys(args.peer)))
    results = run_bench(args.bench, settings, args.out, args.workers, args.overwrite)
    print(table(results.data))
    print(f"\n{args.out / RESULTS}, and to look at: {args.out / PAGE}")


def table(data: Mapping) -> str:
    """The main measures: of every method over each group, and of the model by what was given."""
    lines = []
    for group, entry in data["groups"].items():
        names = [name for name in MAIN if any(name in values for values in entry["means"].values())]
        heads = [meaning(name).title for name in names]
        lines += [f"{group}, {entry['cases']} cases", row("", heads, 32, 19)]
        lines += [_line(METHODS[method], values, names) for method, values in entry["means"].items()]
        lines += [_line(f"  {kind}", of["means"]["model"], names) for kind, of in entry["kinds"].items()]
        lines += [
            f"  {METHODS[method]}: FVD {told(of['fvd'], 'fvd')}, KVD {told(of['kvd'], 'kvd')}"
            f" ({of['made']} videos made, {of['true']} true ones)"
            for method, of in entry.get("sets", {}).items()
        ]
        lines.append("")
    return "\n".join(lines).rstrip()


def _line(head: str, values: Mapping[str, float], names: Sequence[str]) -> str:
    return row(head, [told(values.get(name), name) for name in names], 32, 19)
