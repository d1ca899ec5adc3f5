"""What becomes of a video that is extended far past one pass: its colours, its sharpness, and what it shows.

    python benchmarks/long_bench.py --model nano --frames 1025 --out long
    python benchmarks/long_bench.py --bench BENCH --model runs/canvas/export --frames 1025 --out long

The first frames of held-out clips are given; each is extended segment by segment (vgen/canvas/extend.py), once with
keep=model and once with keep=exact, which matches each segment in colour to the one before; and closed to a loop of
--loop frames. Each frame is compared with the mean of the recorded ones that were given (long_suite/drift.py): the
distance of mean colours, the share of sharpness, and the cosine of what a network sees: the AlexNet of ST-LPIPS, where
it is installed, and the encoder in the folder subject/ of --encoders. Beside them stands the recording itself, as far
as it goes, since a scene may change. border_step is the mean step where segments meet, closing_step that from the end
of a loop to its beginning, both as a share of the other steps.

--out is a folder: runs/ holds a JSON and a video for each run, and long.json all of them. A run that is done is not
done again: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from bench_common.options import check_counts, make_parser
from bench_common.report import number, plain_args, row, versions, write_json
from long_suite.drift import Network, horizons_of, identity_networks
from long_suite.openings import Opening, of_bench, of_recordings
from long_suite.runs import Segments, closed_loop, extension, opened, recording

from vgen.backbone.precision import autocast
from vgen.canvas.extend import OVERLAP, check_length
from vgen.canvas.pipeline import CanvasPipeline
from vgen.canvas.placed import validate
from vgen.errors import InputError, exit_on_input_error
from vgen.files import writing
from vgen.media.writing import VideoWriter
from vgen.models import ModelInfo

KEEPS = ("model", "exact")
RESULTS = "long.json"
SETTINGS = "settings.json"
NOT_SETTINGS = ("out", "overwrite")


def run(args: argparse.Namespace) -> dict:
    """All runs that are not done yet, and then everything that was measured, as one plain dict."""
    openings = _openings(args)
    pipe = CanvasPipeline.from_pretrained(args.model).to("cuda" if torch.cuda.is_available() else "cpu")
    pipe.set_progress_bar_config(disable=True)
    first = opened(openings[0], args.segment, args.seed, "model")
    validate(first, pipe.temporal_stride, pipe.size_multiple)
    check_length(first, args.frames, name="--frames")
    if args.loop:
        check_length(first, args.loop, ends=2, name="--loop")
    info = ModelInfo.of(pipe)
    guidance = info.guidance if args.guidance is None else args.guidance
    options = {"num_inference_steps": args.steps or info.steps, "guidance_scale": guidance}
    segments = Segments(pipe, partial(autocast, pipe.device.type, args.bf16), **options)
    networks, left_out = identity_networks(args.encoders, pipe.device)
    settings = {key: value for key, value in plain_args(args).items() if key not in NOT_SETTINGS} | options
    _claim(args.out, settings)

    found: dict[str, dict[str, dict]] = defaultdict(dict)
    for index, opening in enumerate(openings):
        for name, make in _runs(args, segments, networks, opening, args.seed + index).items():
            found[name][opening.name] = _once(args.out / "runs" / f"{index:03d}-{name}", opening.fps, make)
    means = {name: _means(list(runs.values())) for name, runs in found.items()}
    return {"settings": settings, "versions": versions(), "left_out": left_out, "means": means, "runs": dict(found)}


def _openings(args: argparse.Namespace) -> list[Opening]:
    if args.bench is not None:
        return of_bench(args.bench, args.clips)
    return of_recordings(args.data, args.split, args.camera, args.clips, args.segment, args.stride)


def _runs(
    args: argparse.Namespace, segments: Segments, networks: Mapping[str, Network], opening: Opening, seed: int
) -> dict[str, Callable[..., dict]]:
    """What is done with an opening, by name; each is called with what takes its frames."""
    runs: dict[str, Callable[..., dict]] = {}
    for keep in KEEPS:
        canvas = opened(opening, args.segment, seed, keep)
        runs[f"extension-{keep}"] = partial(extension, segments, canvas, args.frames, networks)
        if args.loop:
            runs[f"loop-{keep}"] = partial(closed_loop, segments, canvas, args.loop, networks)
    return {**runs, "recording": partial(_seen_recording, opening, args.frames, networks)}


def _seen_recording(
    opening: Opening, frames: int, networks: Mapping[str, Network], see: Callable[[np.ndarray], None]
) -> dict:
    see(opening.recorded[:frames])
    return recording(opening, frames, networks)


def _claim(out: Path, settings: dict) -> None:
    """Makes the folder of results, or finds that it holds those of the same settings.

    Raises:
        InputError: it holds something else.
    """
    file = out / SETTINGS
    if file.is_file():
        try:
            known = json.loads(file.read_text())
        except ValueError as error:
            raise InputError(f"{file} cannot be read ({error}); name another folder with --out") from error
        wanted = json.loads(json.dumps(settings))
        if other := sorted(key for key in known | wanted if known.get(key) != wanted.get(key)):
            was = f"{other[0]}={known.get(other[0])} and not {wanted.get(other[0])}"
            raise InputError(f"{out} holds runs of other settings, {was}; name another folder with --out")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} holds something else; name an empty or a new folder with --out")
    with writing(out, kept=""):
        (out / "runs").mkdir(parents=True, exist_ok=True)
    write_json(settings, file)


def _once(place: Path, fps: float, make: Callable[..., dict]) -> dict:
    """A run's results: read, where it is done, otherwise made, with its video beside them; the JSON comes last."""
    file = place.with_suffix(".json")
    if not file.is_file():
        with VideoWriter(place.with_suffix(".mp4"), fps) as writer:
            results = make(writer.add)
        write_json(results, file)
    read: dict = json.loads(file.read_text())
    return read


def _means(runs: list[dict]) -> dict:
    """Of all values but the curves, over the runs that have them."""
    names = {name for each in runs for name in each["at"]}
    at = {name: _mean_of([each["at"].get(name, {}) for each in runs]) for name in sorted(names)}
    plain = [{key: value for key, value in each.items() if key not in ("at", "curves")} for each in runs]
    return {"at": at, **_mean_of(plain)}


def _mean_of(rows: list[dict]) -> dict:
    keys = {key: None for each in rows for key in each}
    values = {key: [each[key] for each in rows if each.get(key) is not None] for key in keys}
    return {key: float(np.mean(found)) for key, found in values.items() if found}


def table(results: dict) -> str:
    """The means, to read: a line for each run and value, a column for each horizon."""
    settings, means = results["settings"], results["means"]
    horizons = [str(horizon) for horizon in horizons_of(max(settings["frames"], settings["loop"] or 0))]
    lines = [f"long videos of {settings['model']}: {settings['clips']} openings, {settings['frames']} frames"]
    for name in ("colour", *(key for key in means["recording"]["at"] if key != "colour")):
        lines += ["", row(name, [f"frame {horizon}" for horizon in horizons])]
        for run_name, entry in means.items():
            values = entry["at"].get(name, {})
            lines.append(row(f"  {run_name}", [number(values.get(horizon, math.nan), 3) for horizon in horizons]))
    lines += ["", row("", ["border_step", "closing_step", "closing_psnr"])]
    for run_name, entry in means.items():
        keys = "border_step", "closing_step", "closing_psnr"
        if any(key in entry for key in keys):
            lines.append(row(f"  {run_name}", [number(entry.get(key, math.nan)) for key in keys]))
    lines += [f"without {name}: {reason}" for name, reason in results["left_out"].items()]
    return "\n".join(lines)


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="nano", help="nano, a diffusers folder or a hub id (default: nano)")
    parser.add_argument("--bench", type=Path, help="folder of vgen bench build, whose clips give the first frames")
    parser.add_argument("--data", type=Path, default=Path("data/metaworld"), help="or a LeRobot v3 folder")
    parser.add_argument("--camera", default="first_person", help="of the data (default: first_person)")
    parser.add_argument("--split", default="test", help="of the data (default: test)")
    parser.add_argument("--stride", type=int, default=1, help="recorded frames per frame, as the model was trained")
    parser.add_argument("--clips", type=int, default=2, help="openings (default: 2)")
    parser.add_argument("--frames", type=int, default=1025, help="of each extension (default: 1025)")
    parser.add_argument("--loop", type=int, default=65, help="frames of each loop; 0: no loops (default: 65)")
    parser.add_argument("--segment", type=int, default=17, help="frames of a pass, 1 + 4k (default: 17)")
    parser.add_argument("--steps", type=int, help="of denoising (default: the model's own)")
    parser.add_argument("--guidance", type=float, help="over the text; 1 is none (default: the model's own)")
    parser.add_argument("--bf16", action="store_true", help="matrix products in bfloat16: about twice as fast")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    parser.add_argument("--encoders", type=Path, metavar="FOLDER", help="with a model of transformers in subject/")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="for the results; goes on there")
    return parser.parse_args()


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    args = parse_args()
    check_counts(args, "clips", "frames", "stride", "segment", "steps")
    if args.segment <= OVERLAP:
        raise InputError(f"--segment {args.segment} must be more than the {OVERLAP} given frames; nearest: 9")
    if args.loop < 0:
        raise InputError(f"--loop {args.loop} must be 0 or more; nearest: 0")
    results = run(args)
    write_json(results, args.out / RESULTS)
    print(table(results))


if __name__ == "__main__":
    exit_on_input_error(main)
