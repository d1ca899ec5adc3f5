"""From runs to what can be shipped: a model folder with a card made from the runs' records, or a LoRA file."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from vgen.backbone.codec import WanCodec, load_vae
from vgen.canvas.pipeline import CanvasPipeline
from vgen.data.jsonl import read_records
from vgen.ego.adapter import EgoAdapter
from vgen.errors import InputError
from vgen.files import named
from vgen.models import EGO, STATE, TrainingRange, forget_places, join_own, loading, read_config
from vgen.models.training_range import FILE as RANGE
from vgen.results import MODEL, check_file, check_folder, results_folder
from vgen.state.model import StateModel
from vgen.train.logs import read_record
from vgen.train.lora import has_lora, rename_lora
from vgen.train.model_at import RunModel, model_at

# Where things lay on the machine that trained says nothing about the model; of data sets the name does.
PLACES = frozenset({"run", "cache", "latents", "codec", "pretrained", "deepspeed"})
DATA = frozenset({"dataset", "videos", "captions"})
CODEC = "vae"  # a part of a model folder


def export(
    run: Path,
    folder: Path,
    dtype: torch.dtype,
    others: Sequence[Path] = (),
    report: str = "",
    parts: Sequence[Path] = (),
    step: int | None = None,
    overwrite: bool = False,
) -> None:
    """Writes a run's model as a diffusers folder with a README.md; written aside and renamed last. A LoRA is added to
    the weights that it was trained on; the front-end of an ego run lies in `ego/`.

    Args:
        run: the folder of a canvas or ego run.
        folder: where the model goes.
        dtype: of the weights.
        others: runs that came before, such as the codec's, for the card.
        report: text of measured results, for the card.
        parts: runs whose newest models become parts of this one: of a codec (it takes the place of the run's own) or
            Stage I.
        step: of the run; None: its newest.
        overwrite: replaces a model that lies at `folder`.

    Raises:
        InputError: the run has neither model nor checkpoint (of that step), what its LoRA adapts is gone, a part is
            neither, two runs bring the same part, or the folder holds something.
    """
    check_folder(folder, MODEL, overwrite)
    before = [(other.name, read_record(other), read_curve(other)) for other in others]
    with ExitStack() as made:
        model = made.enter_context(model_at(run, step, folder))
        newest = [made.enter_context(model_at(part, None, folder)) for part in parts]
        own = [(each.name, *_told(each, of)) for each, of in zip([run, *parts], [model, *newest], strict=True)]
        _write(model, folder, dtype, [*before, *own], report, _parts_by_name(parts, newest), overwrite)


def _told(run: Path, model: RunModel) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """What a card tells of a model: its record, and the run's validations up to it."""
    return model.record, [point for point in read_curve(run) if point.get("step", 0) <= model.record["steps"]]


def _write(
    model: RunModel,
    folder: Path,
    dtype: torch.dtype,
    records: Sequence[tuple[Any, ...]],
    report: str,
    parts: Mapping[str, Path],
    overwrite: bool,
) -> None:
    """See `export`; `parts` are as of `_parts_by_name`."""
    if has_lora(model.folder):
        base = model.record["config"]["objective"].get("pretrained")
        if base is None:
            raise InputError("the run's record does not say what its LoRA adapts: objective.pretrained is missing")
        pipe = _with_lora(model.folder, base, dtype)
    else:
        pipe = CanvasPipeline.from_pretrained(model.folder, dtype=dtype)
    if CODEC in parts:
        pipe.register_modules(vae=load_vae(parts[CODEC] / CODEC, dtype))
    with results_folder(folder, MODEL, overwrite) as aside:
        pipe.save_pretrained(aside, parts=())
        counts = sizes(pipe) | _save_beside(pipe, model.folder, parts.get(STATE), aside, dtype)
        forget_places(aside)
        _save_range(model.folder, parts.get(CODEC), aside)
        (aside / "README.md").write_text(card(named(folder).name, counts, records, report), encoding="utf-8")


def export_lora(
    run: Path, file: Path, naming: str, dtype: torch.dtype, step: int | None = None, overwrite: bool = False
) -> None:
    """Writes a run's LoRA as one safetensors file; written aside and renamed last.

    Args:
        run: the folder of a canvas run with `objective.lora`.
        file: what to write.
        naming: "diffusers", "comfyui" or "kohya"; see `rename_lora`.
        dtype: of the weights.
        step: of the run; None: its newest.
        overwrite: replaces the file where it is there.

    Raises:
        InputError: the run has no LoRA (of that step), or the file exists or has another ending.
    """
    if file.suffix != ".safetensors":
        raise InputError(f"{file} is no name of a LoRA file; use {file.with_name(file.name + '.safetensors')}")
    check_file(file, overwrite)
    with model_at(run, step, file) as model:
        if not has_lora(model.folder):
            raise InputError(f"{run} has no LoRA; without --lora its whole model is written")
        rename_lora(model.folder, file, naming, dtype)


def _parts_by_name(runs: Sequence[Path], models: Sequence[RunModel]) -> dict[str, Path]:
    """The model folders in which parts of a model lie, by the names of the parts.

    Raises:
        InputError: a run has no part, or two have the same.
    """
    found: dict[str, tuple[Path, Path]] = {}
    for run, model in zip(runs, models, strict=True):
        name = _part_in(run, model.folder)
        if name in found:
            part = "Stage I" if name == STATE else "a codec"
            raise InputError(f"{found[name][0]} and {run} both bring {part}, and a model has one; leave one out")
        found[name] = run, model.folder
    return {name: folder for name, (_, folder) in found.items()}


def _part_in(run: Path, folder: Path) -> str:
    """The name of the part of a model that the model folder of a run is."""
    if (folder / STATE).is_dir():
        return STATE
    if (folder / CODEC).is_dir() and not (folder / "transformer").is_dir():
        return CODEC
    raise InputError(f"{run} is no part of a model; name runs of a codec or of Stage I (objective state)")


def _save_beside(
    pipe: CanvasPipeline, run: Path, state: Path | None, folder: Path, dtype: torch.dtype
) -> dict[str, int]:
    """Writes what lies in a model folder beside the pipeline: the ego front-end of a run's model, and Stage I of
    another's; returns the number of parameters of each."""
    saved: dict[str, EgoAdapter | StateModel] = {}
    if (run / EGO).is_dir():
        with loading(run / EGO):
            saved[EGO] = EgoAdapter.from_pretrained(run / EGO, torch_dtype=dtype)
    if state is not None:
        saved[STATE] = StateModel.from_pretrained(state / STATE, WanCodec(pipe.vae)).to(dtype)
    for name, module in saved.items():
        module.save_pretrained(folder / name)
    return {name: count_parameters(module) for name, module in saved.items()}


def _save_range(run: Path, other: Path | None, folder: Path) -> None:
    """Writes what the model of a run was trained on, where that says; what another one's codec holds is said there."""
    known = TrainingRange.read(run)
    (folder / RANGE).unlink(missing_ok=True)  # of what a LoRA was trained on top of
    if known and other is not None:
        codec = TrainingRange.read(other)
        known = replace(known, codec_psnr=None if codec is None else codec.codec_psnr)
    if known:
        known.write(folder)


def _with_lora(folder: Path, base: str, dtype: torch.dtype) -> CanvasPipeline:
    """A model with a LoRA added to its weights, and with the defaults of the run. Added in fp32: bf16 would lose the
    smaller part of the change."""
    pipe = CanvasPipeline.from_pretrained(base, dtype=torch.float32)
    pipe.load_lora_weights(folder)
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    index = join_own(read_config(str(folder), "model_index.json"))
    pipe.register_to_config(**{key: value for key, value in index.items() if key.startswith("default_")})
    return pipe.to(dtype)


def sizes(pipe: CanvasPipeline) -> dict[str, int]:
    """The number of parameters of each component that has any."""
    modules = {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}
    return {name: count_parameters(module) for name, module in modules.items()}


def count_parameters(module: torch.nn.Module) -> int:
    """How many parameters a module has."""
    return sum(parameter.numel() for parameter in module.parameters())


def read_curve(run: Path) -> list[dict[str, float]]:
    """The validation entries of a run's log, each with the minutes of training up to it. Lines that are none are left
    out, as the last one may be that a run was killed at.

    Raises:
        InputError: its log.jsonl cannot be read.
    """
    curve, minutes = [], 0.0
    try:
        entries = list(read_records(run / "log.jsonl"))
    except OSError as error:
        raise InputError(f"{run / 'log.jsonl'} cannot be read: {error.strerror}") from error
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        numbers = _numbers(entry)
        minutes = numbers.get("minutes", minutes)
        if numbers and entry.get("kind") == "validation":
            curve.append({"minutes": round(minutes, 1), **numbers})
    return curve


def _numbers(entry: dict[str, Any]) -> dict[str, float]:
    return {
        key: value for key, value in entry.items() if type(value) in (int, float) and abs(value) <= sys.float_info.max
    }


def card(name: str, parameters: dict[str, int], records: Sequence[tuple[Any, ...]], report: str) -> str:
    """The model card: sizes, results, and of each run the data, time, curve and recipe."""
    ends = "two front-ends, canvas and ego" if EGO in parameters else "canvas"
    lines = [
        f"# {name}",
        "",
        f"A model of vgen's {ends}, of the same classes as Wan in diffusers. It also loads in diffusers' own",
        "`WanPipeline` (text to video; `max_sequence_length` as the tokenizer's `model_max_length`).",
        "",
        "| component | parameters |",
        "| --- | --- |",
        *(f"| {part} | {count / 1e6:.2f} M |" for part, count in parameters.items()),
    ]
    if report:
        lines += ["", "## Results", "", "```", report.strip("\n"), "```"]
    for run, record, curve in records:
        lines += ["", f"## Training: {run}", "", *run_lines(record, curve)]
    return "\n".join(lines) + "\n"


def run_lines(record: dict[str, Any], curve: list[dict[str, float]]) -> list[str]:
    """What a card says of a run: its work, time and machine, its validations and its recipe."""
    versions = ", ".join(f"{package} {number}" for package, number in record["versions"].items() if number)
    names = list(dict.fromkeys(key for point in curve for key in point))
    rows = [[f"{point[name]:g}" if name in point else "" for name in names] for point in _rounded(curve)]
    recipe = OmegaConf.to_yaml(OmegaConf.create(_without_places(record["config"]))).rstrip("\n")
    work = f"{record['steps']} steps ({record['skipped_steps']} skipped), {record['samples']} samples"
    machine = f"{record['train_minutes']:.0f} minutes on {record['ranks']} ranks ({record['device']})"
    return [
        f"{work}, {machine}, seed {record['config']['seed']}. {versions}.",
        "",
        "Validation on training episodes that were held out:",
        "",
        f"| {' | '.join(names)} |",
        f"|{' --- |' * len(names)}",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        "```yaml",
        recipe,
        "```",
    ]


def _rounded(curve: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{key: round(value, 3) for key, value in point.items()} for point in curve]


def _without_places(config: Any) -> Any:
    if isinstance(config, list):
        return [_without_places(part) for part in config]
    if not isinstance(config, dict):
        return config
    kept = {key: value for key, value in config.items() if key not in PLACES and value is not None}
    named = {key: Path(str(value)).name for key, value in kept.items() if key in DATA}
    return {key: _without_places(value) for key, value in kept.items()} | named
