"""What do conditions cost? Joint condition attention, where they are computed at every step, beside independent
attention, where they are computed once and remembered: the same random weights, in one run, taking turns.

    python benchmarks/conditions_speed.py --out conditions.json
    python benchmarks/conditions_speed.py --shape nano --steps 20
    python benchmarks/conditions_speed.py --shape wan2.1-1.3b --conditions 0 20 40 77     (on a GPU)
    python benchmarks/conditions_speed.py --side 0.5 --conditions 20 77

A call is what is remembered, computed once, and --steps steps that cost the same each. So both are timed apart, the
steps --timed-steps at a time, and added up: the seconds of denoising one video with one text; text encoder and codec
are left out. The ratio is that to the same attention without conditions, the median over --repeats turns; each turn
goes through all cases, every second one backwards. Conditions are whole images spread evenly over the video; with
--side, patches whose sides are that share of the image's, and "pruned" is joint attention without the tokens of which
nothing is given (prune_conditions).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from bench_common.options import add_out, check_counts, check_free, make_parser
from bench_common.report import number, publish, row, versions

from vgen import checks
from vgen.backbone.known import Known, velocity_of
from vgen.backbone.precision import DTYPES
from vgen.backbone.segments import Segment, condition
from vgen.backbone.shapes import Strides
from vgen.backbone.transformer import VideoTransformer
from vgen.device import device_name
from vgen.errors import InputError, exit_on_input_error
from vgen.models import ModelInfo, read_config, resolve

WAYS: dict[str, dict[str, Any]] = {
    "joint": {},
    "pruned": {"prune_conditions": True},
    "independent": {"condition_attention": "independent"},
}
"""What is compared, by what differs in the model; pruning only where something is left out."""
CHANGED = {key for changes in WAYS.values() for key in changes}  # of a model's configuration
PACKAGES = ("torch", "diffusers")


@dataclass(frozen=True)
class Shape:
    """A transformer, and the video and text that it is given.

    Attributes:
        transformer: keywords of `VideoTransformer`.
        latent: F, h, w of the video.
        text: tokens of a sentence.
    """

    transformer: dict[str, Any]
    latent: tuple[int, int, int]
    text: int


def wan(heads: int, width: int, layers: int, ffn: int, text_dim: int = 4096) -> dict[str, Any]:
    """The transformer of a Wan 2.1."""
    sizes = {"num_attention_heads": heads, "attention_head_dim": width, "num_layers": layers, "ffn_dim": ffn}
    return {**sizes, "text_dim": text_dim, "in_channels": 16, "out_channels": 16, "patch_size": (1, 2, 2)}


def nano() -> Shape:
    """The shipped model's, with the video that it was trained on."""
    folder, info = resolve("nano"), ModelInfo.read("nano", parts=())
    config = dict(VideoTransformer.load_config(folder, subfolder="transformer"))
    strides = Strides.of(read_config(folder, "vae/config.json"), config)
    latent = strides.latent(info.frames, info.height, info.width)
    keywords = {key: value for key, value in config.items() if key[0] != "_" and key not in CHANGED}
    return Shape(keywords, (latent.frames, latent.height, latent.width), 64)


SHAPES = {
    "small": lambda: Shape(wan(6, 64, 6, 1536, 256), (20, 12, 20), 32),  # 77 frames, 60 tokens each
    "nano": nano,
    "wan2.1-1.3b": lambda: Shape(wan(12, 128, 30, 8960), (20, 48, 84), 512),  # 77 frames of 384x672, as in the paper
    "tiny": lambda: Shape(wan(2, 12, 2, 32, 16), (3, 4, 4), 8),  # which tells whether it runs
}


@dataclass(frozen=True)
class Turn:
    """The seconds of what is remembered and of a step, and the most memory that its tensors took on a GPU, in GB."""

    once: float
    step: float
    memory_gb: float | None

    def call(self, steps: int) -> float:
        """The seconds of a call of so many steps."""
        return self.once + steps * self.step


class Bench:
    """The transformers of a shape with the same random weights, and what they are given.

    Args:
        shape: of the transformer and of the video.
        dtype: of the weights.
        device: where all lies.
        side: of a patch, as a share of the image's; 1 is whole images.
    """

    def __init__(self, shape: Shape, dtype: torch.dtype, device: torch.device, side: float = 1.0) -> None:
        torch.manual_seed(0)
        self.device, self.side, (self.frames, *self._sides) = device, side, shape.latent
        self.ways = [name for name in WAYS if name != "pruned" or side < 1]
        with device:  # weights of billions take minutes on a CPU
            models = {name: VideoTransformer(**shape.transformer, **WAYS[name]) for name in self.ways}
        for model in models.values():
            model.load_state_dict(models["joint"].state_dict())
        self._models = {kind: model.to(device, dtype).eval() for kind, model in models.items()}
        config = models["joint"].config
        self._channels: int = config.in_channels
        self._text = torch.randn(1, shape.text, config.text_dim, device=device, dtype=dtype)
        self._noise = torch.randn(1, self._channels, *shape.latent, device=device)
        self.parameters = sum(parameter.numel() for parameter in models["joint"].parameters())

    def conditions(self, count: int) -> list[Segment]:
        """So many images, spread evenly over the video."""
        if not count:
            return []
        latent = torch.randn(1, self._channels, count, *self._sides, device=self.device)
        places = torch.linspace(0, self.frames - 1, count, dtype=torch.float64, device=self.device)[None]
        given = torch.zeros(1, count, *self._sides, device=self.device)
        height, width = (max(1, round(side * self.side)) for side in self._sides)
        given[..., :height, :width] = 1
        return [condition(latent, places, given=given)]

    @torch.no_grad()
    def turn(self, way: str, count: int, steps: int) -> Turn:
        """Times a case; after a step that does not count."""
        model, conditions = self._models[way], self.conditions(count)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        began = self._now()
        known = Known.of_text(model, self._text, conditions)
        once = self._now() - began if known.cache else 0.0
        velocity, level = velocity_of(model, [known]), torch.full((1,), 0.5, device=self.device)
        velocity(self._noise, level)
        began = self._now()
        for _ in range(steps):
            velocity(self._noise, level)
        return Turn(once, (self._now() - began) / steps, self._memory_gb())

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def _memory_gb(self) -> float | None:
        return torch.cuda.max_memory_allocated() / 1e9 if self.device.type == "cuda" else None


def measure(bench: Bench, counts: Sequence[int], args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each number of conditions: {"conditions", way: {"seconds", "ratio", "ratios", ...}}."""
    cases = [(way, count) for count in counts for way in bench.ways]
    turns: dict[tuple[str, int], list[Turn]] = {case: [] for case in cases}
    for way in bench.ways:
        bench.turn(way, counts[-1], 1)  # the first one pays for what comes once in a process
    for number_of_turn in range(args.repeats):
        for case in cases[:: -1 if number_of_turn % 2 else 1]:
            turns[case].append(bench.turn(*case, args.timed_steps))
    return [
        {"conditions": count, **{way: compare(turns[way, count], turns[way, 0], args.steps) for way in bench.ways}}
        for count in counts
    ]


def compare(turns: Sequence[Turn], without: Sequence[Turn], steps: int) -> dict[str, Any]:
    """What a case takes, and its ratio to the one without conditions."""
    ratios = [turn.call(steps) / none.call(steps) for turn, none in zip(turns, without, strict=True)]
    memory = [turn.memory_gb for turn in turns if turn.memory_gb is not None]
    return {
        "seconds": statistics.median(turn.call(steps) for turn in turns),
        "once_s": statistics.median(turn.once for turn in turns),
        "step_s": statistics.median(turn.step for turn in turns),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "memory_gb": max(memory) if memory else None,
    }


def report(rows: Sequence[dict[str, Any]], steps: int) -> str:
    """The results as a table to read."""
    ways = [way for way in WAYS if way in rows[0]]
    on_gpu = rows[0]["joint"]["memory_gb"] is not None
    named = {"independent": "remembered"}
    heads = [name for way in ways for name in [f"{named.get(way, way)} s", "ratio", *["GB"] * on_gpu]]
    lines = [row(f"{steps} steps, conditions", heads)]
    for each in rows:
        cells = []
        for way in ways:
            values = each[way]
            cells += [number(values["seconds"]), number(values["ratio"])]
            cells += [number(values["memory_gb"])] if on_gpu else []
        lines.append(row(str(each["conditions"]), cells))
    return "\n".join(lines)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--shape", default="small", help=f"one of {', '.join(SHAPES)} (default: %(default)s)")
    parser.add_argument(
        "--conditions", type=int, nargs="+", default=[1, 20, 40, 77], help="how many (default: 1 20 40 77)"
    )
    parser.add_argument("--side", type=float, default=1.0, help="of patches, as a share of the image's (default: 1)")
    parser.add_argument("--steps", type=int, default=50, help="of denoising (default: %(default)s)")
    parser.add_argument("--timed-steps", type=int, default=2, help="of each turn (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each case (default: %(default)s)")
    parser.add_argument("--dtype", default="auto", help="fp32, bf16 or fp16; auto: bf16 on a GPU, fp32 on a CPU")
    add_out(parser)
    args = parser.parse_args(argv)
    checks.choice("--shape", args.shape, tuple(SHAPES))
    checks.choice("--dtype", args.dtype, ("auto", *DTYPES))
    for count in args.conditions:
        checks.whole("--conditions", count, 0, 10**4)
    if not 0 < checks.real("--side", args.side) <= 1:
        raise InputError(f"--side {args.side:g} must be above 0 and at most 1; nearest: {1 if args.side > 1 else 0.1}")
    check_counts(args, "steps", "timed_steps", "repeats")
    check_free(args)
    return args


def main(argv: list[str] | None = None) -> None:
    """Measures, prints and writes."""
    args = parse(argv)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = ("bf16" if device.type == "cuda" else "fp32") if args.dtype == "auto" else args.dtype
    shape = SHAPES[args.shape]()
    bench = Bench(shape, DTYPES[dtype], device, args.side)
    rows = measure(bench, sorted({0, *args.conditions}), args)
    about = {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "dtype": dtype,
        "parameters": bench.parameters,
    }
    settings = {
        "shape": args.shape,
        "side": args.side,
        "steps": args.steps,
        "timed_steps": args.timed_steps,
        "repeats": args.repeats,
    }
    record = {"rows": rows, "settings": settings, "shape": asdict(shape), "about": about | versions(PACKAGES)}
    publish(record, report(rows, args.steps), args.out)


if __name__ == "__main__":
    exit_on_input_error(main)
