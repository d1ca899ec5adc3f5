"""Does the training loop cost time? vgen's loop beside a plain PyTorch loop: the same model, batches, precision and
optimiser, in one process, taking turns.

    python benchmarks/train_speed.py --out speed.json
    python benchmarks/train_speed.py --recipe configs/train/nano_canvas.yaml objective.batch=8 --steps 40
    torchrun --nproc-per-node 8 benchmarks/train_speed.py --recipe ... (the plain loop is then DistributedDataParallel)

Without --recipe, nano is fine-tuned on clips of noise that are made in a temporary folder.

Measured: tokens per second of both and their ratio, the median over --repeats turns; the share of vgen's time that was
spent waiting for batches (with their latents in the cache); a checkpoint's time and size; and how long
`tools/train.py` takes from its start to its first step. Speed counts from the start of step --warmup to the start of
the last one, so it holds whole steps with all that the loops do between them. Only the ratio says anything where the
machine has other work at the same time.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import json
import logging
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_common.options import add_out, check_counts, check_free, make_parser
from bench_common.report import publish, versions
from diffusers.training_utils import EMAModel
from omegaconf import OmegaConf
from torch.nn.parallel import DistributedDataParallel

from vgen.backbone.precision import autocast
from vgen.data.cache.frames import EpisodeFrames, FrameCache
from vgen.errors import InputError, exit_on_input_error
from vgen.models import resolve
from vgen.train.batch import Batch
from vgen.train.config import TrainConfig, config_dict, load_config
from vgen.train.distributed import Ranks, start
from vgen.train.loop import Place, Trainer
from vgen.train.objectives import Objective, objective_class
from vgen.train.objectives.base import training_mode
from vgen.train.optimizer import build_optimizer, learning_rate_factor
from vgen.train.prefetch import ahead
from vgen.train.preparation import prepare

NEVER = 1e9  # minutes, or steps
TARGET_RATIO, TARGET_WAIT = 0.97, 0.03
PACKAGES = ("torch", "deepspeed", "diffusers")
PATIENCE = 900  # seconds for a first step
OF_RANKS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass
class Turn:
    """What one run of one loop took."""

    seconds: float
    tokens: int
    wait_share: float | None = None
    checkpoint_seconds: float | None = None
    checkpoint_mb: float | None = None


class Clock:
    """Watches a loop from outside, by the forward of its objective.

    Attributes:
        seconds: between the beginnings of steps `first` and `last`.
        tokens: of the steps between, on all ranks together.
        over: whether the last step has begun.
    """

    def __init__(self, objective: Objective, config: TrainConfig, ranks: Ranks, first: int, last: int) -> None:
        self._objective, self._accumulation, self._ranks = objective, config.accumulation, ranks
        self._first, self._last, self._forwards, self._began = first, last, 0, 0.0
        self.seconds, self.tokens, self.over = 0.0, 0, False
        objective.register_forward_pre_hook(self._forward)

    def _forward(self, _: Objective, arguments: tuple[Batch]) -> None:
        step, within = divmod(self._forwards, self._accumulation)
        self._forwards += 1
        if within == 0 and step == self._first:
            self._began = self._now()
        if within == 0 and step == self._last:
            self.seconds = self._now() - self._began
            self.over = True
        if self._first <= step < self._last:
            self.tokens += size(self._objective, arguments[0]) * self._ranks.data_world

    def _now(self) -> float:
        if self._ranks.device.type == "cuda":
            torch.cuda.synchronize()
        return time.monotonic()


class TimedTrainer(Trainer):
    """A trainer that a clock stops, as a SIGTERM would, and that says how long its checkpoint took."""

    def __init__(self, config: TrainConfig, objective: Objective, ranks: Ranks, clock: Clock) -> None:
        super().__init__(config, objective, ranks)
        self._clock = clock

    def _step(self, batches: Iterator[tuple[Place, Batch]]) -> None:
        super()._step(batches)
        self.stop.asked = self.stop.asked or self._clock.over

    def _checkpoint(self) -> None:
        began = time.monotonic()
        super()._checkpoint()
        self.checkpoint_seconds = time.monotonic() - began


def size(objective: Objective, batch: Batch) -> int:
    """Tokens of a batch, or samples for an objective that counts no tokens."""
    return objective.tokens(batch) or len(batch.names())


def build(config: TrainConfig, ranks: Ranks) -> Objective:
    """The recipe's objective, its caches ready."""
    objective = objective_class(config.objective.name)(config.objective, config.seed)
    prepare(objective, ranks)
    return objective.to(ranks.device)


def vgen_turn(config: TrainConfig, ranks: Ranks, first: int, last: int) -> Turn:
    """vgen's own loop, from its beginning to a checkpoint after step `last`."""
    objective = build(config, ranks)
    clock = Clock(objective, config, ranks, first, last)
    trainer = TimedTrainer(config, objective, ranks, clock)
    trainer.run()
    if not clock.over:
        sys.exit("stopped by a signal, before anything was measured")
    run = Path(config.run)
    trainer.engine.destroy()
    turn = Turn(clock.seconds, clock.tokens, checkpoint_seconds=trainer.checkpoint_seconds)
    if ranks.first:
        records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        waits = [record["wait_share"] for record in records if record["kind"] == "train" and record["step"] > first]
        files = [path.stat().st_size for path in (run / "checkpoints").rglob("*") if path.is_file()]
        turn = replace(turn, wait_share=statistics.mean(waits), checkpoint_mb=sum(files) / 1e6)
        shutil.rmtree(run)
    return turn


def plain_turn(config: TrainConfig, ranks: Ranks, first: int, last: int) -> Turn:
    """What a script for this one recipe would do."""
    objective = build(config, ranks)
    clock = Clock(objective, config, ranks, first, last)
    training_mode(objective)
    model = DistributedDataParallel(objective) if ranks.world > 1 else objective
    optimizer = build_optimizer(objective, config.optimizer)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, step / config.steps, config.schedule)
    )
    trained = [p for p in objective.parameters() if p.requires_grad]
    average = EMAModel(trained, config.ema_decay, use_ema_warmup=True, foreach=True) if config.ema_decay else None
    batches = prepared(objective, config, ranks)
    while not clock.over:
        for _ in range(config.accumulation):
            batch = next(batches).to(ranks.device)
            with autocast(ranks.device.type, config.precision == "bf16"):
                loss, _ = model(batch)
            (loss.mean() / config.accumulation).backward()
        if config.gradient_clip:
            torch.nn.utils.clip_grad_norm_(trained, config.gradient_clip)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if average:
            average.step(trained)
    batches.close()
    return Turn(clock.seconds, clock.tokens)


def prepared(objective: Objective, config: TrainConfig, ranks: Ranks) -> Iterator[Batch]:
    """The recipe's batches, made ahead as the trainer makes them."""
    parts = ranks.parts(config.accumulation)

    def make(index: int) -> Batch:
        step, micro = divmod(index, config.accumulation)
        batch: Batch = objective.batch(step, ranks.part(micro), parts, step / config.steps)
        return batch

    for _, batch in ahead(make, itertools.count(), config.prefetch):
        yield batch


def start_up(config: TrainConfig, folder: Path) -> float:
    """Seconds from the start of tools/train.py to its first logged step; then it is told to stop."""
    recipe, log = folder / "start_up.yaml", folder / "start_up" / "log.jsonl"
    settings = {**config_dict(config), "run": str(log.parent), "log_every": 1}
    OmegaConf.save(OmegaConf.create(settings), recipe)
    environment = {key: value for key, value in os.environ.items() if key not in OF_RANKS}
    command = [sys.executable, str(Path(__file__).parents[1] / "tools" / "train.py"), str(recipe)]
    began = time.monotonic()
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(process.kill)
        while not (log.exists() and log.read_text().strip()):
            if process.poll() is not None or time.monotonic() - began > PATIENCE:
                process.kill()
                raise RuntimeError(f"{' '.join(command)} did not get to a step: {process.communicate()[1][-2000:]}")
            time.sleep(0.02)
        seconds = time.monotonic() - began
        process.send_signal(signal.SIGTERM)
        process.communicate()
    return seconds


def make_recipe(folder: Path) -> Path:
    """A recipe that fine-tunes nano on 16 clips of noise, all of them below `folder`."""

    def noise(episode: int) -> EpisodeFrames:
        pixels = np.random.default_rng(episode).integers(0, 256, (17, 128, 128, 3), dtype=np.uint8)
        return EpisodeFrames(pixels, f"noise number {episode}")

    FrameCache.write(folder / "cache", range(18), [17] * 18, noise, (128, 128), 10.0)
    objective = {
        "name": "canvas",
        "pretrained": resolve("nano"),
        "data": {"cache": str(folder / "cache")},
        "latents": str(folder / "latents"),
        "latent_workers": 1,
        "frames": 17,
        "batch": 8,
        "clips": 16,
        "validation_clips": 1,
        "attention": "native",
    }
    path = folder / "recipe.yaml"
    OmegaConf.save(OmegaConf.create({"run": "run", "steps": 1, "objective": objective}), path)
    return path


def read_recipe(args: argparse.Namespace, folder: Path) -> TrainConfig:
    """The recipe, without an end, and with nothing but steps: no validation, checkpoints or samples in between.

    Raises:
        InputError: it is wrong, or asks for what a plain loop cannot do.
    """
    path = args.recipe or make_recipe(folder)
    config = load_config(path, args.overrides)
    if config.sequence_parallel_size > 1:
        raise InputError(
            f"sequence_parallel_size={config.sequence_parallel_size} has no plain loop beside it; nearest: 1"
        )
    minutes = {"max_minutes": None, "validate_minutes": NEVER, "checkpoint_minutes": NEVER}
    samples = replace(config.samples, specs=[])
    quiet = {"samples": samples, "trackers": [], "log_every": args.warmup}  # the first record is of the warm-up alone
    return replace(config, run=str(folder / "run"), steps=int(NEVER), **minutes, **quiet)


def measure(config: TrainConfig, ranks: Ranks, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Both loops in turns, the first of a pair alternating."""
    turns: dict[str, list[Turn]] = {"vgen": [], "plain": []}
    loops = {"vgen": vgen_turn, "plain": plain_turn}
    for number in range(args.repeats):
        for name in sorted(loops, reverse=number % 2 == 0):
            own = replace(config, run=str(folder / f"run{number}"))
            turns[name].append(loops[name](own, ranks, args.warmup, args.steps - 1))
            gc.collect()
    ratios = [plain.seconds / own.seconds for own, plain in zip(turns["vgen"], turns["plain"], strict=True)]
    speeds = {name: [turn.tokens / turn.seconds for turn in all_turns] for name, all_turns in turns.items()}
    own = turns["vgen"]
    counts_tokens = objective_class(config.objective.name).tokens is not Objective.tokens
    return {
        "unit": "tokens" if counts_tokens else "samples",
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "per_s": {name: statistics.median(values) for name, values in speeds.items()},
        "per_s_of_turns": speeds,
        "wait_share": statistics.median(turn.wait_share for turn in own) if ranks.first else None,
        "checkpoint_s": statistics.median(turn.checkpoint_seconds for turn in own),
        "checkpoint_mb": own[0].checkpoint_mb,
    }


def report(results: dict[str, Any]) -> str:
    """The results as lines to read."""
    speed, ratio, wait = results["per_s"], results["ratio"], results["wait_share"]
    low, high = min(results["ratios"]), max(results["ratios"])
    lines = [
        f"vgen {speed['vgen']:.4g} {results['unit']}/s, a plain loop {speed['plain']:.4g} {results['unit']}/s",
        f"ratio {ratio:.3f} ({low:.3f} to {high:.3f}); target: at least {TARGET_RATIO}",
        f"waiting for data {100 * wait:.2f} % of the time; target: under {100 * TARGET_WAIT:.0f} %",
        f"a checkpoint of {results['checkpoint_mb']:.1f} MB takes {results['checkpoint_s']:.2f} s",
    ]
    if results["start_up_s"] is not None:
        lines.append(f"from the start to the first step {results['start_up_s']:.1f} s")
    return "\n".join(lines)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values that replace the recipe's")
    parser.add_argument("--recipe", type=Path, help="a YAML file, as in configs/train; default: nano on noise")
    parser.add_argument("--steps", type=int, default=25, help="of each turn (default: %(default)s)")
    parser.add_argument("--warmup", type=int, default=5, help="steps that do not count (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each loop (default: %(default)s)")
    add_out(parser)
    args = parser.parse_intermixed_args(argv)
    if args.warmup < 1 or args.steps < 2 * args.warmup + 1:
        raise InputError(f"--warmup {args.warmup} of --steps {args.steps} leaves too little; use --warmup 1 --steps 3")
    check_counts(args, "repeats")
    check_free(args)
    return args


def main(argv: list[str] | None = None) -> None:
    """Measures, prints and writes."""
    args = parse(argv)
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="train_speed") as name:
        folder = Path(name)
        config = read_recipe(args, folder)
        ranks = start(config.threads)
        results = measure(config, ranks, args, folder)
        results["start_up_s"] = start_up(config, folder) if ranks.world == 1 else None
    if not ranks.first:
        return
    about = {"ranks": ranks.world, "device": str(ranks.device), "machine": platform.machine()}
    shape = {"steps": args.steps, "warmup": args.warmup, "repeats": args.repeats}
    record = {**results, "settings": shape, "recipe": config_dict(config), "about": about | versions(PACKAGES)}
    publish(record, report(results), args.out)


if __name__ == "__main__":
    exit_on_input_error(main)
