"""How long does a picture stay what it is that is given alone, as frame 0, and what has the prompt to do with it?

    python benchmarks/still_bench.py --pictures data/photographs
    python benchmarks/still_bench.py --pictures data/photographs --training 16 --prompt "a photo, nothing moves"

PSNR of the first, the middle and the last frame to the given picture, one line for each prompt; without --prompt those
are the model's own, which it reads where nobody says one, and none. Above them the codec, in image mode: no frame comes
closer. Of pictures below a folder those kept for testing alone are taken, if any is among them, or else all; with
--training some of the others, evenly, on which a prompt may be chosen (`objective.default_prompt`).
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np
import torch
from bench_common.options import add_out, check_counts, check_free, make_parser
from bench_common.report import number, plain_args, publish, row, versions
from canvas_suite.reconstruction import Reconstruction
from canvas_suite.still_pictures import for_training, held_out, read_pictures
from torch import Tensor
from tqdm import tqdm

from vgen import Canvas, CanvasPipeline, Patch
from vgen.backbone.shapes import check_frames, check_size
from vgen.errors import InputError, exit_on_input_error
from vgen.media.pixels import to_uint8, to_unit
from vgen.media.sheet import spread
from vgen.metrics import psnr

HEAD, CELL = 48, 10
NONE = '"", nothing is said'


def chosen(folders: list[Path], training: int | None) -> dict[str, Path]:
    """The pictures of folders that are tried.

    Raises:
        InputError: a folder is none, or holds no picture of the kind that is asked for.
    """
    named: dict[str, Path] = {}
    for folder in folders:
        named |= held_out(folder) if training is None else for_training(folder)
    if not named:
        raise InputError("no picture is left beside those kept for testing; leave out --training")
    names = list(named)
    count = len(names) if training is None else min(training, len(names))
    return {names[index]: named[names[index]] for index in spread(len(names), count)}


def shown_frames(frames: int) -> list[int]:
    """Which frames are compared: the first, the middle and the last."""
    return sorted({0, frames // 2, frames - 1})


def closeness(videos: Tensor, stills: Tensor, shown: list[int]) -> list[list[float]]:
    """PSNR in dB of frames of each video [N, 3, T, H, W] to its picture [N, 3, 1, H, W]."""
    return [psnr(videos[:, :, frame : frame + 1], stills).tolist() for frame in shown]


def run(args: argparse.Namespace) -> dict:
    """Everything that is measured, as one plain dict."""
    pipe = CanvasPipeline.from_pretrained(args.model).to("cuda" if torch.cuda.is_available() else "cpu")
    pipe.set_progress_bar_config(disable=True)
    check_frames(args.frames, pipe.temporal_stride)
    check_size(args.size, args.size, pipe.size_multiple)
    pictures = read_pictures(chosen(args.pictures, args.training), (args.size, args.size), 1)
    shown = shown_frames(args.frames)
    codec = Reconstruction(pipe.codec, 16, bf16=False).reconstruct_images(pictures.stills)
    ceiling = closeness(codec, pictures.stills, [0])[0]
    prompts = list(dict.fromkeys(args.prompt or [pipe.config.default_prompt, ""]))
    pipe.register_to_config(default_prompt="")  # each is read as it is
    results = {}
    for prompt in prompts:
        videos = complete(pipe, pictures.stills, prompt, args)
        results[f'"{prompt}"' if prompt else NONE] = closeness(videos, pictures.stills, shown)
    return {
        "title": (
            f"pictures given alone to {args.model}: {len(pictures.names)} of {args.size}x{args.size}, as frame 0 of "
            f"{args.frames};\nPSNR to the given one, dB"
        ),
        "settings": plain_args(args),
        "versions": versions(),
        "names": pictures.names,
        "frames": shown,
        "codec": ceiling,
        "prompts": results,
    }


def complete(pipe: CanvasPipeline, stills: Tensor, prompt: str, args: argparse.Namespace) -> Tensor:
    """A video of each picture, [N, 3, T, H, W]."""
    videos = []
    for still in tqdm(stills, desc="pictures"):
        patch = Patch(to_uint8(still[:, 0].permute(1, 2, 0)).numpy())
        canvas = Canvas(args.frames, args.size, args.size, prompt, fps=args.fps, seed=args.seed, patches=(patch,))
        output = pipe(canvas, num_inference_steps=args.steps, guidance_scale=args.guidance)
        videos.append(to_unit(output.video).permute(3, 0, 1, 2))
    return torch.stack(videos)


def table(results: dict) -> str:
    """The results as text: a line for the codec, and one for each prompt."""
    frames = results["frames"]
    head = [*(f"frame {frame}" for frame in frames), "least"]
    rows = {"codec": [results["codec"]], **results["prompts"]}
    lines = [results["title"], "", _row("", head)]
    for name, by_frame in rows.items():
        means = [number(float(np.mean(values)), 1) for values in by_frame]
        means += [""] * (len(frames) - len(means))
        lines.append(_row(name, [*means, number(min(by_frame[-1]), 1)]))
    return "\n".join(lines)


def _row(name: str, cells: list[str]) -> str:
    return row(name, cells, HEAD, CELL)


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="nano", help="nano, a diffusers folder or a hub id (default: nano)")
    parser.add_argument("--pictures", type=Path, nargs="+", required=True, metavar="DIR", help="folders of pictures")
    parser.add_argument("--training", type=int, metavar="N", help="N of the pictures that are not kept for testing")
    parser.add_argument("--prompt", action="append", help="may be repeated; default: the model's own, and none")
    parser.add_argument("--frames", type=int, default=17, help="of a video, 1 + 4k (default: 17)")
    parser.add_argument("--size", type=int, default=128, help="pixels that pictures are cropped to (default: 128)")
    parser.add_argument("--fps", type=float, default=16, help="of a video (default: 16)")
    parser.add_argument("--steps", type=int, help="of denoising (default: the model's own)")
    parser.add_argument("--guidance", type=float, help="over the text; 1 is none (default: the model's own)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    add_out(parser)
    return parser.parse_args()


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    args = parse_args()
    check_counts(args, "frames", "size", "training")
    check_free(args)
    results = run(args)
    publish(results, table(results), args.out)


if __name__ == "__main__":
    exit_on_input_error(main)
