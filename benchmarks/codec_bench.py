"""How well does a model's codec hold clips and pictures that it was not trained on? No completion can pass that.

    python benchmarks/codec_bench.py --model nano --pictures photographs --out codec.json
    python benchmarks/codec_bench.py --model runs/codec/model --data data/metaworld data/pictures --clips 32 --bf16

Of data sets, clips of a split are taken as by canvas_bench.py. Of pictures below a folder those kept for testing alone,
if any is among them, or else all: their middles in image mode, and in video mode a pan over each, by 2 pixels a frame
to the right. Three pictures of scikit-image stand beside, one by one, where it is installed. In image mode every frame
is encoded alone, in video mode a clip as a whole. PSNR, SSIM and ST-LPIPS (pip install 'vgen[metrics]') are means over
clips or pictures.

Below each stands the best linear code of as many numbers a block (Karhunen-Loève), which any codec should pass. It is
measured on training clips of the data sets, and on pans over the other pictures of the folders.
"""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from bench_common.options import add_out, check_counts, check_free, make_parser
from bench_common.report import number, plain_args, publish, row, versions
from canvas_suite.clips import choose_from, load
from canvas_suite.judges import perceptual
from canvas_suite.reconstruction import Reconstruction
from canvas_suite.sheets import contact_sheet
from canvas_suite.still_pictures import PAN_STEP, Pictures, for_training, held_out, read_pictures, samples
from torch import Tensor
from tqdm import tqdm

from vgen.backbone.codec import WanCodec, load_vae
from vgen.backbone.shapes import check_frames, check_size
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.data.lerobot.meta import read_info, splits_of
from vgen.errors import InputError, exit_on_input_error
from vgen.metrics import LinearCode, SampleMetric, psnr, ssim
from vgen.models import component_folder, resolve

logger = logging.getLogger(__name__)

MODES = ("image", "video")
LATENTS = {"image": 1, "video": None}  # whose variance is measured: of first frames alone, and of whole clips
TITLES = {"psnr": "PSNR", "ssim": "SSIM", "st_lpips": "ST-LPIPS"}
SHEET_PICTURES = 8
LINEAR_CLIPS = 96  # of each data set, of which the linear code is made
LINEAR = "  linear code"
TRAIN = "train"
SHARE = 0.998  # of the latents' variance: directions that hold the rest say next to nothing
HEAD, CELL = 28, 9
table_row = partial(row, head_width=HEAD, width=CELL)


@dataclass(frozen=True)
class Held:
    """What a codec is to hold: videos `[N, 3, T, H, W]` for either mode, a name each.

    Attributes:
        name: of the whole.
        names: of each of the N.
        truth: by mode; in image mode, every frame is encoded alone.
    """

    name: str
    names: list[str]
    truth: dict[str, Tensor]


def clips_of(data: Path, args: argparse.Namespace) -> Held:
    """Clips of a data set.

    Raises:
        InputError: the data are missing, or no episode is long enough.
    """
    dataset = LeRobotDataset(data, args.split)
    span = (args.frames - 1) * args.stride + 1
    places = choose_from(dataset, args.clips, span)
    if not places:
        raise InputError(f"no episode of {data}, split '{args.split}', has the {span} frames that --frames needs")
    camera = args.camera or _only_camera(dataset, data)
    videos = load(dataset, camera, places, args.frames, args.stride)
    names = [f"episode {place.episode}, frame {place.start}" for place in places]
    return Held(f"{data.resolve().name} ({args.split})", names, {"image": videos, "video": videos})


def _only_camera(dataset: LeRobotDataset, data: Path) -> str:
    cameras = list(dataset.cameras)
    if len(cameras) != 1:
        raise InputError(f"{data} has the cameras {', '.join(cameras)}; name one with --camera")
    return cameras[0]


def of_pictures(name: str, pictures: Pictures) -> Held:
    """Pictures, their middles in image mode and the pans in video mode."""
    return Held(name, pictures.names, {"image": pictures.stills, "video": pictures.pans})


def read_all(args: argparse.Namespace) -> list[Held]:
    """All that the codec is tried on.

    Raises:
        InputError: something that was named is missing, or two are called the same.
    """
    size = (args.size, args.size)
    held = [clips_of(data, args) for data in args.data]
    folders = [(folder.resolve().name, held_out(folder)) for folder in args.pictures]
    named = [*folders, *((name, {name: file}) for name, file in samples().items())]
    held += [of_pictures(name, read_pictures(files, size, args.frames)) for name, files in named]
    names = [each.name for each in held]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"two of --data and --pictures are called {twice[0]}; measure one after the other")
    return held


def read_training(args: argparse.Namespace) -> list[Tensor]:
    """Videos of training, for the linear code: of each data set, and of each folder's pictures but those held out.
    Nothing that is measured is among them, and what cannot be used is left out."""
    videos = []
    for data in args.data if args.split != TRAIN else []:
        if TRAIN not in splits_of(read_info(data), data):
            continue
        dataset = LeRobotDataset(data, TRAIN)
        places = choose_from(dataset, LINEAR_CLIPS, (args.frames - 1) * args.stride + 1)
        if places:
            camera = args.camera or _only_camera(dataset, data)
            videos.append(load(dataset, camera, places, args.frames, args.stride))
    for others in filter(None, map(for_training, args.pictures)):
        with suppress(InputError):  # none of them can be read, which is told file by file
            videos.append(read_pictures(others, (args.size, args.size), args.frames).pans)
    return videos


def linear_code(args: argparse.Namespace, config: Mapping[str, Any]) -> LinearCode | None:
    """The best linear code of as many numbers as a codec's latent has; None, in one line, where nothing of training is
    there."""
    videos = read_training(args)
    if not videos:
        logger.warning("without a linear code: neither --data nor --pictures has anything that is not measured itself")
        return None
    spatial, temporal = config["scale_factor_spatial"], config["scale_factor_temporal"]
    return LinearCode.fit(videos, min(config["z_dim"], 3 * spatial**2), spatial, temporal)


def by_codec(codec: Reconstruction, held: Held) -> dict[str, Tensor]:
    """What a codec makes of it, by mode."""
    return {
        "image": codec.reconstruct_images(held.truth["image"]),
        "video": codec.reconstruct_video(held.truth["video"]),
    }


def by_linear_code(code: LinearCode, held: Held) -> dict[str, Tensor]:
    """What a linear code makes of it, by mode."""
    frames = held.truth["image"].transpose(1, 2)
    images = code.decode(code.encode(frames.flatten(0, 1).unsqueeze(2)))[:, :, 0]
    made = {
        "image": images.unflatten(0, frames.shape[:2]).transpose(1, 2),
        "video": code.decode(code.encode(held.truth["video"])),
    }
    return {mode: video.clamp(-1, 1) for mode, video in made.items()}


def measure(made: dict[str, Tensor], held: Held, metrics: dict[str, SampleMetric]) -> dict[str, dict]:
    """Scores by mode: of each, and their means."""
    each = {
        mode: {name: metric(made[mode], held.truth[mode]).tolist() for name, metric in metrics.items()}
        for mode in MODES
    }
    means = {mode: {name: _mean(values) for name, values in scores.items()} for mode, scores in each.items()}
    return {"means": means, "each": each}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def run(args: argparse.Namespace) -> dict:
    """Everything that is measured, as one plain dict."""
    vae = load_vae(component_folder(resolve(args.model), "vae"))
    codec = WanCodec(vae.to("cuda" if torch.cuda.is_available() else "cpu"))
    reconstruction = Reconstruction(codec, args.batch, args.bf16)
    metrics: dict[str, SampleMetric] = {"psnr": psnr, "ssim": ssim} | perceptual(frame_step=1)
    measured = read_all(args)
    for held in measured:
        *_, frames, height, width = held.truth["video"].shape
        check_frames(frames, codec.temporal_stride)
        check_size(height, width, codec.spatial_stride)
    code = linear_code(args, vae.config)
    results, latents = {}, []
    for held in tqdm(measured, desc="codec"):
        latents += [reconstruction.encode(held.truth[mode][:, :, :frames]) for mode, frames in LATENTS.items()]
        made = by_codec(reconstruction, held)
        size = list(held.truth["video"].shape[-2:])
        results[held.name] = {"names": held.names, "size": size, **measure(made, held, metrics)}
        if code is not None:
            results[held.name]["linear"] = measure(by_linear_code(code, held), held, metrics)
        if args.contact_sheets:
            _draw(args.contact_sheets, held, made)
    return {
        "title": f"codec of {args.model}, {args.frames} frames in video mode",
        "settings": plain_args(args),
        "versions": versions(),
        "definitions": {"pan_step": PAN_STEP, "linear_numbers": None if code is None else code.numbers},
        "latents": {"numbers": codec.channels, "directions": directions(latents)},
        "held": results,
    }


def directions(latents: Sequence[Tensor], share: float = SHARE) -> int:
    """How many directions hold a share of the variance of latents [B, C, F, h, w], each of which counts as much."""
    points = [latent.double().transpose(0, 1).flatten(1) for latent in latents]
    mean = torch.stack([each.mean(1) for each in points]).mean(0)
    spread = torch.stack([(each - mean[:, None]) @ (each - mean[:, None]).T / each.shape[1] for each in points]).mean(0)
    held = torch.linalg.eigvalsh(spread).flip(0).clamp(min=0).cumsum(0)
    return int((held < share * held[-1]).sum()) + 1


def table(results: dict) -> str:
    """The results as text: a line for each data set, folder or picture."""
    entries = results["held"]
    metrics = [name for name in TITLES if all(name in entry["means"]["image"] for entry in entries.values())]
    modes = "".join(f"{mode + ' mode':^{CELL * len(metrics)}}" for mode in MODES)
    lines = [
        results["title"],
        "",
        " " * (HEAD + 2 * CELL) + modes.rstrip(),
        table_row("", ["n", "size", *([TITLES[name] for name in metrics] * len(MODES))]),
    ]
    for name, entry in entries.items():
        lines.append(
            table_row(name, [str(len(entry["names"])), "{}x{}".format(*entry["size"]), *_cells(entry, metrics)])
        )
        if "linear" in entry:
            lines.append(table_row(LINEAR, ["", "", *_cells(entry["linear"], metrics)]))
    used = "{directions} of {numbers} directions of the latents".format(**results["latents"])
    lines += ["", f"{used} hold {SHARE:.1%} of their variance"]
    return "\n".join(lines)


def _cells(scores: dict, metrics: list[str]) -> list[str]:
    return [number(scores["means"][mode][m], 2 if m == "psnr" else 3) for mode in MODES for m in metrics]


def _draw(folder: Path, held: Held, made: dict[str, Tensor]) -> None:
    """A sheet of the first few and of what either mode makes of them, in video mode their last frames."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = {}
    for mode in MODES:
        for title, videos in (("truth", held.truth[mode]), (f"{mode} mode", made[mode])):
            rows[f"{mode}: {title}"] = videos[:SHEET_PICTURES, :, -1].transpose(0, 1)
    contact_sheet(rows, held.name).save(folder / f"{held.name}.png")


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="nano", help="nano, a diffusers folder or a hub id (default: nano)")
    parser.add_argument("--data", type=Path, nargs="*", default=[], metavar="DIR", help="LeRobot v3 folders")
    parser.add_argument("--split", default="test", help="of the data (default: test)")
    parser.add_argument("--camera", help="of the data; needed where there are several")
    parser.add_argument("--clips", type=int, default=32, help="of each data set (default: 32)")
    parser.add_argument("--frames", type=int, default=17, help="of a clip and of a pan, 1 + 4k (default: 17)")
    parser.add_argument("--stride", type=int, default=1, help="recorded frames per frame, as the model was trained")
    parser.add_argument("--pictures", type=Path, nargs="*", default=[], metavar="DIR", help="folders of pictures")
    parser.add_argument("--size", type=int, default=128, help="pixels that pictures are cropped to (default: 128)")
    parser.add_argument("--batch", type=int, default=16, help="clips at once; changes the speed and nothing else")
    parser.add_argument("--bf16", action="store_true", help="matrix products in bfloat16: about twice as fast")
    parser.add_argument("--contact-sheets", type=Path, metavar="DIR", help="folder for pictures of the results")
    add_out(parser)
    return parser.parse_args()


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    args = parse_args()
    check_counts(args, "clips", "frames", "stride", "size", "batch")
    check_free(args)
    results = run(args)
    publish(results, table(results), args.out)


if __name__ == "__main__":
    exit_on_input_error(main)
