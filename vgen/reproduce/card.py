"""The card of a model that a way to nano has made: written from its runs, never by hand."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open

from vgen.data.jsonl import read_records
from vgen.errors import InputError
from vgen.models import resolve
from vgen.reproduce.bench import read_results, read_whole
from vgen.reproduce.curves import draw_curves
from vgen.reproduce.data import INFO, PHOTOS
from vgen.reproduce.profile import TRAINED, Profile
from vgen.reproduce.progress import Progress
from vgen.reproduce.weights import SUFFIX
from vgen.train.export import read_curve, run_lines
from vgen.train.logs import read_record

CARD = "README.md"
PICTURES = "pictures"  # folder, of a model and of a way
BASELINES = ("copy", "blend", "edges")
HEAD = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: image-to-video
tags: [video-completion, world-model, robotics, egocentric]
---
"""


def write_card(profile: Profile, out: Path, folder: Path) -> None:
    """Writes README.md and `pictures/` of a model folder from what the stages in `out` have left by now; of parts that
    none of them has trained, from the card of the start."""
    pictures = folder / PICTURES
    if (out / PICTURES).is_dir():
        shutil.copytree(out / PICTURES, pictures)
    pictures.mkdir(exist_ok=True)
    lines = [HEAD, f"# {profile.name}", "", profile.about.strip(), "", *_part_lines(folder)]
    lines += ["", "## What it cannot do", "", *_limit_lines(profile, out)]
    lines += ["", "## Data and licences", "", *_data_lines(profile)]
    lines += ["", "## Results", "", *_result_lines(out)]
    lines += ["", "## Pictures", "", *_picture_lines(pictures)]
    lines += ["", "## How it was trained", "", *_time_lines(profile, out)]
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


def _limit_lines(profile: Profile, out: Path) -> Iterator[str]:
    """What the runs and their results say that the model cannot do; and what the profile says."""
    yield from (f"- {line}" for line in profile.limits)
    progress = Progress.read(out)
    for stage in profile.stages:
        if stage not in ("data", "export") and not progress.of(stage).done:
            yield f"- The stage {stage} is not over: the model is what there was by then."
        elif note := progress.of(stage).note:
            yield f"- Not measured: {note}."
    for name, (results, _) in read_results(out).items():
        behind = _behind(results.get("tasks", {}))
        if behind:
            tasks = "; ".join(f"{task}, {model:.1f} dB against {best:.1f}" for task, model, best in behind)
            yield f"- Behind a baseline that needs no model, on moving pixels ({name}): {tasks}."


def _behind(tasks: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """The tasks of the canvas benchmark in which a baseline is as good or better, with both figures."""
    found = []
    for task, entry in tasks.items():
        means = entry["means"]
        best = max((means[name]["psnr_moving"] for name in BASELINES if name in means), default=-1.0)
        if best >= means["model"]["psnr_moving"]:
            found.append((task, means["model"]["psnr_moving"], best))
    return found


def _data_lines(profile: Profile) -> Iterator[str]:
    yield "| data set | episodes | frames | made by |"
    yield "| --- | --- | --- | --- |"
    for name, options in profile.data.items():
        if options is None:
            continue
        about = read_whole(Path(profile.root) / name / INFO) or {}
        counts = f"{about.get('total_episodes', '?')} | {about.get('total_frames', '?')}"
        yield f"| {name} | {counts} | `vgen record {options}` |"
    yield ""
    yield "The weights are under Apache-2.0, as vgen is."
    yield ""
    yield from (f"- {line}" for line in profile.licences)
    if any(PHOTOS in (options or "") for options in profile.data.values()):
        yield f"- Kept for testing alone, by name: {', '.join(_held_out()) or 'told by vgen record'}."


def _held_out() -> tuple[str, ...]:
    """Names of pictures that no recording trains on; none where the package that draws them is not installed."""
    try:
        from vgen.simulators.pictures.photographs import HELD_OUT
    except InputError:
        return ()
    return HELD_OUT


def _result_lines(out: Path) -> Iterator[str]:
    found = read_results(out)
    if not found:
        yield "Nothing was measured."
    for _, table in found.values():
        yield from ("```", table.strip("\n"), "```", "")


def _picture_lines(folder: Path) -> Iterator[str]:
    files = sorted(folder.glob("*.png"))
    if not files:
        yield "None were made."
    for file in files:
        yield f"![{file.stem.replace('_', ' ')}]({PICTURES}/{file.name})"


def _time_lines(profile: Profile, out: Path) -> Iterator[str]:
    start = f"the weights of {profile.start}" if profile.start else "nothing"
    yield f"By `vgen nano`, from {start}, in {profile.minutes:g} minutes at most without the data:"
    yield ""
    yield "| stage | minutes |"
    yield "| --- | --- |"
    for stage, own in Progress.read(out).stages.items():
        yield f"| {stage} | {(own.earlier + own.spent) / 60:.1f} |"


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
    start = Path(resolve(profile.start)) if profile.start else None
    if start is None or not (start / CARD).is_file():
        return []
    _, found, rest = (start / CARD).read_text(encoding="utf-8").partition(f"\n{_training(stage)}\n")
    if not found:
        return []
    if (curve := start / PICTURES / _curve(stage)).is_file():
        shutil.copyfile(curve, pictures / curve.name)
    return rest.partition("\n## ")[0].strip("\n").split("\n")


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
