"""Short trainings side by side: a table with a line for each run folder, and in what their configurations differ.

    python benchmarks/ego_ablations.py cross=runs/ego_cross_attention adaln=runs/ego_adaln --out ablations.json
    python benchmarks/ego_ablations.py runs/flow runs/regression --metrics text_accuracy,displacement/position4/policy

Of each run: steps, minutes of training, and the losses and scores of its last validation (log.jsonl, run.json), all of
them or those of --metrics; the JSON file has all. A run that is not over, whose run.json is not of its last validation,
is shown as far as that, and its configuration is not compared. Runs that made different numbers of steps are no
ablation; a line below the table says so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_common.options import add_out, check_free, make_parser
from bench_common.report import number, publish

from vgen.data.jsonl import read_records
from vgen.errors import InputError, exit_on_input_error, unknown_key

METRICS = ("loss", "displacement", "text_accuracy")  # parts of the names of what is shown
OWN = ("run",)  # of every run its own, and so no difference


@dataclass(frozen=True)
class TrainingRun:
    """A run: its name in the table, how far it got, its last validation, and its configuration as dotted keys (None: it
    is not over)."""

    name: str
    steps: int
    minutes: float
    metrics: dict[str, float]
    config: dict[str, object] | None


def read_run(text: str) -> TrainingRun:
    """A run from NAME=FOLDER, or from FOLDER, whose last part is then the name.

    Raises:
        InputError: there is no log, or nothing was validated yet, or run.json is damaged.
    """
    name, _, folder = text.rpartition("=")
    path = Path(folder)
    if not (path / "log.jsonl").is_file():
        raise InputError(f"{path} is no run folder: it has no log.jsonl")
    records = [record for record in read_records(path / "log.jsonl") if isinstance(record, dict) and "step" in record]
    validations = [record for record in records if record.get("kind") == "validation"]
    if not validations:
        raise InputError(f"{path} has no validation in its log.jsonl yet; wait for one (validate_minutes)")
    last = validations[-1]
    trained = [record for record in records if record.get("kind") == "train" and record["step"] <= last["step"]]
    about = _record(path, last["step"])
    return TrainingRun(
        name or path.name,
        last["step"],
        about["train_minutes"] if about else (trained[-1].get("minutes", 0.0) if trained else 0.0),
        {key: value for key, value in last.items() if any(part in key for part in METRICS)},
        flat(about["config"]) if about else None,
    )


def _record(run: Path, step: int) -> dict[str, Any] | None:
    """The run.json of a run, which every export writes; None where it is not of that step."""
    if not (run / "run.json").exists():
        return None
    try:
        about = json.loads((run / "run.json").read_text())
        of_step = about["steps"] == step and isinstance(about["config"], dict) and about["train_minutes"] >= 0
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{run / 'run.json'} is damaged; the run writes it anew when it goes on") from error
    return about if of_step else None


def flat(config: object, prefix: str = "") -> dict[str, object]:
    """A nested configuration as dotted keys."""
    if isinstance(config, dict) and config:
        parts = [flat(value, f"{prefix}.{key}" if prefix else key) for key, value in config.items()]
    elif isinstance(config, list) and any(isinstance(item, dict) for item in config):
        parts = [flat(item, f"{prefix}.{place}") for place, item in enumerate(config)]
    else:
        return {prefix: config}
    return {key: value for part in parts for key, value in part.items()}


def differences(runs: list[TrainingRun]) -> list[dict[str, object]]:
    """Finds for each run the values of the keys in which the runs differ: "-" for a key that it lacks, and nothing
    for a run that is not over."""
    known = [run.config for run in runs if run.config is not None]
    keys = dict.fromkeys(key for config in known for key in config if key not in OWN)
    differing = [key for key in keys if any(config.get(key, "-") != known[0].get(key, "-") for config in known)]
    return [{} if run.config is None else {key: run.config.get(key, "-") for key in differing} for run in runs]


def choose_metrics(runs: list[TrainingRun], wanted: str | None) -> list[str]:
    """Names of metrics, separated by commas; None: all that some run has.

    Raises:
        InputError: no run has one of them.
    """
    known = list(dict.fromkeys(name for run in runs for name in run.metrics))
    names = known if wanted is None else wanted.split(",")
    for name in names:
        if name not in known:
            raise unknown_key(name, known, "the metrics of these runs")
    return names


def table(runs: list[TrainingRun], metrics: list[str]) -> str:
    """A Markdown table, and a line where the steps are not equal."""
    head = ["run", "steps", "minutes", *metrics, "differs in"]
    lines = [_line(head), _line(["---"] * len(head))]
    for run, own in zip(runs, differences(runs), strict=True):
        values = [number(run.metrics.get(name, float("nan")), 4) for name in metrics]
        about = "not over" if run.config is None else ", ".join(f"{key}={value}" for key, value in own.items())
        lines.append(_line([run.name, str(run.steps), f"{run.minutes:.1f}", *values, about]))
    steps = sorted({run.steps for run in runs})
    if len(steps) > 1:
        lines += ["", f"Not at equal steps ({steps[0]} to {steps[-1]}): the runs cannot be compared line by line."]
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("runs", nargs="+", metavar="NAME=FOLDER", help="run folders of tools/train.py")
    parser.add_argument("--metrics", metavar="NAME,...", help="the columns (default: all)")
    add_out(parser)
    args = parser.parse_args()
    check_free(args)
    runs = [read_run(text) for text in args.runs]
    metrics = choose_metrics(runs, args.metrics)
    rows = [
        {"name": run.name, "steps": run.steps, "minutes": run.minutes, "metrics": run.metrics, "differs": own}
        for run, own in zip(runs, differences(runs), strict=True)
    ]
    publish({"runs": rows}, table(runs, metrics), args.out)


if __name__ == "__main__":
    exit_on_input_error(main)
