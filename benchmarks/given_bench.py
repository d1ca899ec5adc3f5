"""What it does how much is given, in which form and how firmly: one model on one bench, a table a question.

    vgen bench given --bench BENCH --model nano --out given.json
    vgen bench given --bench BENCH --model runs/canvas/export --counts 1,5,20,77 --clips 8

Four questions, asked of the true clips of a bench (vgen bench build):

number    whole frames, 1 to all, spread evenly over the clip (--counts): what one more brings, and what it costs
form      the first frames as one clip, or each as an image of its own: a clip has a quarter of the tokens
strength  the first and the last frame, held to less and less firmly (--strengths; 1 is clean)
keep      inpainting by the clip's own mask, where the bench has one: given pixels as the model makes them, or put back

Each answer is a mean over the clips. new is the PSNR of the frames of which nothing is given, or of the pixels where
part of a frame is, given that of what is given, both in dB against the truth; new_baseline is new of the better of a
copy of the nearest given frame and a blend in time. tokens are those of the conditions, seconds those of denoising.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from bench_common.options import add_out, check_counts, check_free, make_parser
from bench_common.report import number, plain_args, publish, row, versions
from bench_measures.completed import batch_of_one
from bench_run.completion import given_of
from bench_sets.bench import Bench, Case
from torch import Tensor
from tqdm import tqdm

from vgen import checks
from vgen.backbone import encoding
from vgen.backbone.precision import autocast
from vgen.canvas.paradigms import choose_paradigm
from vgen.canvas.paradigms.positions import Positions
from vgen.canvas.pipeline import CanvasPipeline
from vgen.canvas.placed import PlacedCanvas, place
from vgen.canvas.spec import Canvas, Patch
from vgen.errors import InputError, exit_on_input_error
from vgen.media.patch import Mode
from vgen.media.sheet import spread
from vgen.metrics import StLpips, copy_nearest, linear_blend, psnr
from vgen.models import ModelInfo

QUESTIONS = ("number", "form", "strength", "keep")
SHOWN = ("new", "given", "new_baseline", "st_lpips", "tokens", "seconds")
PERCEPTUAL_STEP = 3  # frames from one that ST-LPIPS looks at to the next


@dataclass(frozen=True)
class Ask:
    """A clip, of which something is given.

    Attributes:
        question: one of `QUESTIONS`.
        answer: the line of the table that it counts for.
        canvas: what is given, and how.
        truth: uint8 [T, H, W, 3].
    """

    question: str
    answer: str
    canvas: Canvas
    truth: np.ndarray


def clips_of(bench: Bench, count: int) -> list[Case]:
    """The inpainting of each clip, or where there is none another case of it that has a truth; one a clip.

    Raises:
        InputError: no case has a true video.
    """
    found: dict[str, Case] = {}
    for case in bench.cases:
        if case.truth_file is not None and (case.kind == "inpainting" or case.truth_file not in found):
            found[case.truth_file] = case
    if not found:
        raise InputError(f"{bench.folder} has no case with a true video; build it of one clip or more")
    return list(found.values())[:count]


def asked(case: Case, counts: Sequence[int], strengths: Sequence[float], seed: int) -> Iterator[Ask]:
    """All that is asked of one clip."""
    own, truth = case.canvas(), case.truth()
    assert truth is not None, "as `clips_of` has it"
    empty = replace(own, patches=(), seed=own.seed + seed)
    frames = len(truth)

    def images(places: Sequence[int], strength: float = 1.0) -> Canvas:
        return empty.add(*(Patch(truth[place].copy(), float(place), strength=strength) for place in places))

    def run_of(length: int, mode: Mode) -> Canvas:
        return empty.add(Patch(truth[:length].copy(), mode=mode))

    for count in counts:
        yield Ask("number", f"{count} frame{'s' * (count > 1)}", images(spread(frames, count)), truth)
    for length in lengths_of(frames):
        yield Ask("form", f"{length} frames, images", run_of(length, "frames"), truth)
        yield Ask("form", f"{length} frames, a clip", run_of(length, "clip"), truth)
    for strength in strengths:
        yield Ask("strength", f"strength {strength:g}", images([0, frames - 1], strength), truth)
    if case.kind == "inpainting":
        for keep in ("model", "exact"):
            yield Ask("keep", f"keep={keep}", replace(own, keep=keep, seed=empty.seed), truth)  # type: ignore[arg-type]


def lengths_of(frames: int) -> list[int]:
    """How many first frames are given in both forms: 5 and, where something is left to make, 9."""
    return [length for length in (5, 9) if length < frames]


def answered(pipe: CanvasPipeline, ask: Ask, options: dict, perceptual: StLpips | None) -> dict[str, float]:
    """What one question comes to, by the names of `SHOWN`."""
    placed = place(ask.canvas, pipe.temporal_stride, pipe.size_multiple)
    output = pipe(placed, **options)
    given, length = given_of(placed), ask.canvas.frames
    known = (given.pixels, given.masks, given.frames, length)
    made, true = batch_of_one(output.video), batch_of_one(ask.truth)
    new = hidden(placed, true.shape)
    baselines = [decibels(video, true, new) for video in (copy_nearest(*known), linear_blend(*known))]
    values = {
        "new": decibels(made, true, new),
        "given": decibels(made, true, ~new),
        "new_baseline": max(baselines),
        "tokens": condition_tokens(pipe, placed),
        "seconds": output.timings["denoise"],
    }
    return values if perceptual is None else values | {"st_lpips": perceptual(made, true).item()}


def hidden(placed: PlacedCanvas, shape: Sequence[int]) -> Tensor:
    """bool, of a video of shape [1, 3, T, H, W] the values of which nothing is given."""
    given, found = given_of(placed), torch.ones(*shape, dtype=torch.bool)
    for frame, mask in zip(given.frames[0].tolist(), given.masks[0], strict=True):
        found[0, :, frame] = (mask < 0.5).expand(3, -1, -1)
    return found


def decibels(made: Tensor, true: Tensor, where: Tensor) -> float:
    """PSNR over some values of videos in [-1, 1]; nan where there are none."""
    if not where.any():
        return float("nan")
    return psnr(made[where].view(1, 1, 1, 1, -1), true[where].view(1, 1, 1, 1, -1)).item()


def condition_tokens(pipe: CanvasPipeline, placed: PlacedCanvas) -> int:
    """How many tokens stand beside the target, by the way in which the model is told, and pruned where it prunes."""
    canvas = placed.canvas
    shape = pipe.latent_shape(1, canvas.frames, canvas.height, canvas.width)
    way = choose_paradigm(pipe.transformer.config.paradigm)
    given = encoding.given_of(placed.conditions, canvas.seed, padding=pipe.transformer.config.condition_padding)
    conditioning = way.conditioning(pipe.codec, given, shape)
    return pipe.transformer.count_tokens(conditioning.segments)


def run(args: argparse.Namespace) -> dict:
    """All answers, each the mean over clips, as one plain dict."""
    bench = Bench.read(args.bench)
    counts = args.counts or default_counts(bench.frames)
    if most := [count for count in counts if count > bench.frames]:
        raise InputError(f"--counts {most[0]} must be at most the {bench.frames} frames of a clip of {args.bench}")
    pipe = CanvasPipeline.from_pretrained(args.model).to("cuda" if torch.cuda.is_available() else "cpu")
    pipe.register_to_config(default_prompt="")  # captions are read as they are
    pipe.set_progress_bar_config(disable=True)
    info = ModelInfo.of(pipe)
    options = {"num_inference_steps": args.steps or info.steps, "guidance_scale": info.guidance}
    if args.guidance is not None:
        options["guidance_scale"] = args.guidance
    perceptual, left_out = _perceptual()
    strengths = args.strengths
    if not isinstance(choose_paradigm(paradigm := pipe.transformer.config.paradigm), Positions):
        left_out["strengths below 1"] = f"the model is told by {paradigm}, in which no patch is a condition of its own"
        strengths = [strength for strength in strengths if strength == 1]
    found: dict[str, dict[str, list[dict]]] = {question: {} for question in args.questions}
    cases = clips_of(bench, args.clips)
    with autocast(pipe.device.type, args.bf16):  # the first call pays for what comes once in a process
        pipe(place(cases[0].canvas(), pipe.temporal_stride, pipe.size_multiple), **options | {"num_inference_steps": 1})
    for case in tqdm(cases, desc="clips", leave=False):
        for ask in asked(case, counts, strengths, args.seed):
            if ask.question in found:
                with autocast(pipe.device.type, args.bf16):
                    values = answered(pipe, ask, options, perceptual)
                found[ask.question].setdefault(ask.answer, []).append(values)
    means = {question: {key: _mean(rows) for key, rows in answers.items()} for question, answers in found.items()}
    about = {"bench_sha256": bench.sha256, "clips": len(cases), **options}
    return {"settings": plain_args(args) | about, "versions": versions(), "left_out": left_out, "answers": means}


def default_counts(frames: int) -> list[int]:
    """1, 2, 3, 5, 9, 17 ... as far as there are frames, and all of them."""
    counts = [1, 2, *(1 + 2**n for n in range(1, 12))]
    return sorted({count for count in counts if count < frames} | {frames})


def _perceptual() -> tuple[StLpips | None, dict[str, str]]:
    try:
        return StLpips(PERCEPTUAL_STEP), {}
    except InputError as error:
        return None, {"st_lpips": str(error)}


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([each[key] for each in rows])) for key in rows[0]}


def table(results: dict) -> str:
    """The answers, to read."""
    settings = results["settings"]
    about = f"{settings['clips']} clips, {settings['num_inference_steps']} steps"
    lines = [f"what is given, {settings['model']}: {about}, guidance {settings['guidance_scale']:g}"]
    for question, answers in results["answers"].items():
        shown = [name for name in SHOWN if any(name in values for values in answers.values())]
        lines += ["", row(question, shown)]
        for answer, values in answers.items():
            lines.append(row(f"  {answer}", [number(values[name], 0 if name == "tokens" else 3) for name in shown]))
    lines += [f"without {name}: {reason}" for name, reason in results["left_out"].items()]
    return "\n".join(lines)


def numbers(name: str, text: str | None, parse: type[int] | type[float], rule: str) -> list:
    """Values between commas, each above 0 and of a kind.

    Raises:
        InputError: one is not; it names the rule.
    """
    values = []
    for part in text.split(",") if text else []:
        try:
            value = parse(part)
        except ValueError:
            value = parse(0)
        if not value > 0 or (parse is float and value > 1):
            raise InputError(f"--{name} {checks.show(part)}: {rule}")
        values.append(value)
    return list(dict.fromkeys(values))


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = make_parser(__doc__)
    parser.add_argument("--bench", type=Path, required=True, help="folder that vgen bench build has written")
    parser.add_argument("--model", default="nano", help="nano, a diffusers folder or a hub id (default: nano)")
    parser.add_argument(
        "--questions", default=",".join(QUESTIONS), metavar="NAMES", help="between commas (default: all)"
    )
    parser.add_argument("--counts", metavar="N,N", help="of frames that are given (default: 1,2,3,5,9 ... all)")
    parser.add_argument("--strengths", default="1,0.9,0.75,0.5,0.25", metavar="S,S", help="(default: %(default)s)")
    parser.add_argument("--clips", type=int, default=16, help="of the bench, the first so many (default: 16)")
    parser.add_argument("--steps", type=int, help="of denoising (default: the model's own)")
    parser.add_argument("--guidance", type=float, help="over the text; 1 is none (default: the model's own)")
    parser.add_argument("--bf16", action="store_true", help="matrix products in bfloat16: about twice as fast")
    parser.add_argument("--seed", type=int, default=0, help="added to the seed of every case (default: 0)")
    add_out(parser)
    return parser.parse_args(arguments)


def main() -> None:
    """Asks, and prints the tables."""
    logging.basicConfig(level=logging.WARNING)
    args = parse_args()
    check_counts(args, "clips", "steps")
    args.questions = [checks.choice("--questions", name, QUESTIONS) for name in args.questions.split(",")]
    args.counts = numbers("counts", args.counts, int, "each must be a whole number of 1 or more, as 1,5,20,77")
    args.strengths = numbers("strengths", args.strengths, float, "each must be above 0 and at most 1, as 1,0.5")
    checks.whole("--seed", args.seed, 0, 10**9)
    check_free(args)
    results = run(args)
    publish(results, table(results), args.out)


if __name__ == "__main__":
    exit_on_input_error(main)
