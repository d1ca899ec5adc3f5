"""The card of a model that a way to nano has made: written from its runs, never by hand."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open

from vgen.data.jsonl import read_records
from vgen.errors import InputError
from vgen.files import append
from vgen.models import resolve
from vgen.reproduce.bench import kind_of, read_results, read_whole
from vgen.reproduce.curves import draw_curves
from vgen.reproduce.data import INFO, PHOTOS, needed
from vgen.reproduce.profile import TRAINED, Profile
from vgen.reproduce.progress import Progress, StageProgress
from vgen.reproduce.weights import SUFFIX
from vgen.train.export import read_curve, run_lines
from vgen.train.logs import read_record

CARD = "README.md"
PICTURES = "pictures"  # folder, of a model and of a way
BASELINES = ("copy", "blend", "edges")
LACKING = {"bench": "Not measured", "export": "Not drawn"}  # what a note of a stage tells of
HISTORY = "## How it was trained"
ROWS = "trainings.md"  # in a way's folder: rows of trainings whose runs are there no more
STEPS_OF = ("| what | on | how long |", "| --- | --- | --- |")  # head of the table of all trainings, oldest first
COLUMNS = """Each table stands below the command that printed it, in which the name of the model stands for this folder.
The columns: *model* is this model; *copy* repeats a given frame; *blend* mixes the given frames over time; *edges* also
fills what no frame gives with the nearest given pixel; *none* is the model without the actions; *codec* is the true
video after the model's own encoder and decoder, which no completion can pass. A star marks where the model is better
than every baseline."""
HEAD = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: image-to-video
tags: [video-completion, world-model, robotics, egocentric]
---
"""


def write_card(profile: Profile, progress: Progress, folder: Path) -> None:
    """Writes README.md and `pictures/` of a model folder from what the stages have left by now in the folder of their
    progress; of parts that none of them has trained, from the card of the start."""
    pictures, out = folder / PICTURES, progress.folder
    if (out / PICTURES).is_dir():
        shutil.copytree(out / PICTURES, pictures)
    pictures.mkdir(exist_ok=True)
    lines = [HEAD, f"# {profile.name}", "", profile.about.strip(), "", *_part_lines(folder)]
    lines += ["", "## What it cannot do", "", *_limit_lines(profile, progress)]
    lines += ["", "## Data and licences", "", *_data_lines(profile)]
    lines += ["", "## Results", "", *_result_lines(profile, out)]
    lines += ["", "## Pictures", "", *_picture_lines(pictures)]
    lines += ["", HISTORY, "", *_history_lines(profile, progress)]
    for stage in TRAINED:
        told = _training_lines(out / stage, pictures) or _kept_lines(profile, stage, pictures)
        lines += ["", _training(stage), "", *told] if told else []
    (folder / CARD).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _part_lines(folder: Path) -> list[str]:
    counts: dict[str, int] = {}
    for file in sorted(folder.rglob("*" + SUFFIX)):
        name = file.relative_to(folder).parts[0]
        with safe_open(file, "pt") as weights:
            for key in weights.keys():  # noqa: SIM118 (it is no mapping)
                size = 1
                for side in weights.get_slice(key).get_shape():
                    size *= side
                counts[name] = counts.get(name, 0) + size
    rows = [f"| {name} | {count / 1e6:.2f} M |" for name, count in counts.items()]
    return ["| component | parameters |", "| --- | --- |", *rows, f"| all | {sum(counts.values()) / 1e6:.2f} M |"]


def _limit_lines(profile: Profile, progress: Progress) -> Iterator[str]:
    """What the runs and their results say that the model cannot do; and what the profile says."""
    yield from (f"- {line}" for line in profile.limits)
    for stage in profile.stages:
        own = progress.stages.get(stage, StageProgress())
        if stage not in ("data", "export") and not own.done:
            yield f"- The stage {stage} is not over: the model is what there was by then."
        elif own.note:
            yield f"- {LACKING.get(stage, stage)}: {own.note}."
    for name, (results, _) in read_results(progress.folder).items():
        behind = _behind(results.get("tasks", {}))
        if behind:
            tasks = "; ".join(f"{task}, {model:.1f} dB against {best:.1f}" for task, model, best in behind)
            yield f"- Behind a baseline that needs no model, on moving pixels ({name}): {tasks}."


def _behind(tasks: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """The tasks of the canvas benchmark in which a baseline is as good or better, with both figures."""
    found = []
    for task, entry in tasks.items():
        means = entry["means"]
        known = {name: value for name in ("model", *BASELINES) if (value := means.get(name, {}).get("psnr_moving"))}
        own = known.pop("model", None)  # nothing is known where nothing moves
        if own is not None and known and max(known.values()) >= own:
            found.append((task, own, max(known.values())))
    return found


def _data_lines(profile: Profile) -> Iterator[str]:
    yield "| data set | episodes | frames | made by |"
    yield "| --- | --- | --- | --- |"
    for name, options in needed(profile).items():
        about = read_whole(Path(profile.root) / name / INFO) or {}
        counts = f"{about.get('total_episodes', '?')} | {about.get('total_frames', '?')}"
        yield f"| {name} | {counts} | `vgen record {options}` |"
    yield ""
    yield "The weights are under Apache-2.0, as vgen is."
    yield ""
    yield from (f"- {line}" for line in profile.licences)
    if any(PHOTOS in options for options in needed(profile).values()):
        yield f"- Kept for testing alone, by name: {', '.join(_held_out()) or 'told by vgen record'}."


def _held_out() -> tuple[str, ...]:
    """Names of pictures that no recording trains on; none where the package that draws them is not installed."""
    try:
        from vgen.simulators.pictures.photographs import HELD_OUT
    except InputError:
        return ()
    return HELD_OUT


def _result_lines(profile: Profile, out: Path) -> Iterator[str]:
    """Each table, below the command that prints it."""
    found = read_results(out)
    if not found:
        yield "Nothing was measured."
        return
    yield COLUMNS
    for name, (_, table) in found.items():
        options = f" {profile.bench.chosen[name]}" if name in profile.bench.chosen else ""
        yield from ("", f"`vgen bench {kind_of(name)} --model {profile.name}{options}`:", "")
        yield from ("```", table.strip("\n").replace(str(out / "model"), profile.name), "```")


def _picture_lines(folder: Path) -> Iterator[str]:
    files = sorted(folder.glob("*.png"))
    if not files:
        yield "None were made."
    for file in files:
        yield f"![{file.stem.replace('_', ' ')}]({PICTURES}/{file.name})"


def _history_lines(profile: Profile, progress: Progress) -> Iterator[str]:
    """A table of all trainings that the weights have behind them, those of the start first."""
    yield "Each training went on from what there was of it by then; the last of every part is told in full below."
    yield ""
    yield from STEPS_OF
    yield from _rows(_section(profile, HISTORY))
    if (kept := progress.folder / ROWS).is_file():
        yield from kept.read_text(encoding="utf-8").splitlines()
    yield from filter(None, (_row(progress, stage) for stage in TRAINED))


def keep_row(progress: Progress, stage: str) -> None:
    """Keeps what the table of trainings says of a run that is about to be removed."""
    if row := _row(progress, stage):
        append(progress.folder / ROWS, row + "\n")


def _row(progress: Progress, stage: str) -> str:
    """Of a training; "" where there is none."""
    run, own = progress.folder / stage, progress.stages.get(stage, StageProgress())
    if not (run / "run.json").is_file():
        return ""
    record, minutes = read_record(run), (own.earlier + own.spent) / 60
    where = f"{record['ranks']} rank{'s' * (record['ranks'] > 1)}, {record['device']}"
    return f"| {stage} | {where} | {minutes:.0f} minutes, {record['steps']:,} steps, {record['samples']:,} samples |"


def _rows(lines: Sequence[str]) -> list[str]:
    """The rows of the first table in these lines, without its head."""
    table = [line for line in lines if line.startswith("|")]
    return table[len(STEPS_OF) :]


def _training(stage: str) -> str:
    """The heading of what a stage has trained."""
    return f"## Training: {stage}"


def _training_lines(run: Path, pictures: Path) -> list[str]:
    """How a stage has trained; nothing where it has not."""
    if not (run / "run.json").is_file():
        return []
    drawn = _draw(run, pictures / _curve(run.name))
    curve = [f"![loss of {run.name} over the minutes]({PICTURES}/{_curve(run.name)})", ""] if drawn else []
    return [*curve, *run_lines(read_record(run), read_curve(run))]


def _kept_lines(profile: Profile, stage: str, pictures: Path) -> list[str]:
    """What the card of the start says of how a stage has trained."""
    told = _section(profile, _training(stage))
    if told and (curve := Path(resolve(str(profile.start))) / PICTURES / _curve(stage)).is_file():
        shutil.copyfile(curve, pictures / curve.name)
    return told


def _section(profile: Profile, heading: str) -> list[str]:
    """The lines below a heading in the card of the start; none where there is no such card or heading."""
    card = Path(resolve(profile.start), CARD) if profile.start else None
    if card is None or not card.is_file():
        return []
    _, found, rest = card.read_text(encoding="utf-8").partition(f"\n{heading}\n")
    return rest.partition("\n## ")[0].strip("\n").split("\n") if found else []


def _curve(stage: str) -> str:
    return f"curve_{stage}.png"


def _draw(run: Path, file: Path) -> bool:
    """Draws the losses of a run; False where there are too few."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for entry in read_records(run / "log.jsonl"):
        if isinstance(entry, dict) and entry.get("kind") == "train" and "minutes" in entry:
            for name, value in entry.items():
                if name in ("loss", "loss/canvas", "loss/ego", "loss/text") and value > 0:
                    curves.setdefault(name, []).append((entry["minutes"], value))
    curves = {name: curve for name, curve in curves.items() if len(curve) > 1}
    if curves:
        draw_curves(curves, run.name, file)
    return bool(curves)
