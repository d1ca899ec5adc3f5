"""What a run would do and need, before it is started: weights, data, memory and steps, by arithmetic alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from vgen.data.buckets import Bucket, parse_sizes
from vgen.data.clips import Clips
from vgen.data.opening import DataConfig, TrainingData, open_data
from vgen.errors import InputError
from vgen.train.config import TrainConfig
from vgen.train.memory import BF16, BUCKET, GB, MemoryUse, activations, codec_bytes, model_states, parameters
from vgen.train.objectives import Objective, objective_class
from vgen.train.objectives.base import check_stage
from vgen.train.objectives.outline import BodyOutline, Outline, Tokens
from vgen.train.optimizer import check_optimizer
from vgen.train.samples import Samples

OFFLOADS = (
    (0, "none"),
    (1, "none"),
    (1, "optimizer"),
    (2, "none"),
    (2, "optimizer"),
    (3, "none"),
    (3, "optimizer"),
    (3, "all"),
)


@dataclass(frozen=True)
class BucketCount:
    """One line of the bucket table; `clips` is None where the data are not there to be counted."""

    bucket: Bucket
    clips: int | None
    tokens: Tokens | None


@dataclass(frozen=True)
class BodyCount:
    """A body's buckets; `videos` and `problem` as of a dry run."""

    outline: BodyOutline
    buckets: list[BucketCount]
    videos: int
    problem: str


@dataclass(frozen=True)
class DryRun:
    """A run on paper. `drops`: reasons and counts; `problem`: why its data would be refused, or ""."""

    outline: Outline
    gpus: int
    clips_per_step: int
    buckets: list[BucketCount]
    videos: int
    held_out: int
    drops: Counter[str]
    problem: str
    bodies: list[BodyCount]

    @property
    def clips(self) -> int:
        """How many clips an epoch has."""
        return sum(line.clips or 0 for line in self.buckets)

    def check_data(self) -> None:
        """Refuses what the run would refuse of its data.

        Raises:
            InputError: as the run would raise it.
        """
        for problem in (self.problem, *(body.problem for body in self.bodies)):
            if problem:
                raise InputError(problem)

    @property
    def steps_per_epoch(self) -> float:
        """Optimiser steps in which every clip comes once."""
        return self.clips / self.clips_per_step

    @property
    def tokens_per_epoch(self) -> float:
        """That the backbone reads: targets and conditions."""
        return sum(
            line.clips * (line.tokens.target + line.tokens.given) for line in self.buckets if line.tokens and line.clips
        )


def dry_run(config: TrainConfig, gpus: int) -> DryRun:
    """Plans a run on so many GPUs. No weight is allocated, no clip decoded and nothing written; videos are opened to
    count their frames, where a cache does not tell them.

    Raises:
        InputError: the run would be refused, for another reason than its data, which the result tells.
    """
    if gpus < 1 or gpus % config.sequence_parallel_size:
        size = config.sequence_parallel_size
        near = max(1, round(gpus / size)) * size
        raise InputError(f"gpus={gpus} is not a multiple of sequence_parallel_size={size}; nearest: {near}")
    _check_resume(config, gpus)
    kind = objective_class(config.objective.name)
    check_stage(config.zero_stage, kind, config.objective.name)
    if kind.outline is Objective.outline:
        raise InputError(f"objective.name={config.objective.name} cannot be planned; leave out --dry-run")
    with torch.device("meta"):
        objective = kind(config.objective, config.seed)
    outline = objective.outline()
    check_optimizer(objective, config.optimizer)
    Samples(config.samples, objective, Path(config.run))
    step = outline.batch * config.accumulation * gpus // config.sequence_parallel_size
    bodies = [_count_body(outline, body) for body in outline.bodies]
    data, lines, problem = _counted(outline, outline)
    if data is None:
        return DryRun(outline, gpus, step, lines, 0, 0, Counter(), problem, bodies)
    drops = Counter(data.bad.found.values()) + data.assignment.reasons()
    return DryRun(outline, gpus, step, lines, data.bad.total, len(data.held_out.places), drops, "", bodies)


def _check_resume(config: TrainConfig, gpus: int) -> None:
    """Refuses what cannot go on from the checkpoints of its run."""
    if not (Path(config.run) / "checkpoints").is_dir():
        return
    from vgen.train.checkpoint.folder import described_checkpoint  # late: with DeepSpeed, which takes seconds
    from vgen.train.checkpoint.resume import check_resume
    from vgen.train.distributed import Ranks

    if checkpoint := described_checkpoint(Path(config.run)):
        check_resume(checkpoint, config, Ranks(0, gpus, torch.device("cpu"), config.sequence_parallel_size))


def _count_body(outline: Outline, body: BodyOutline) -> BodyCount:
    data, lines, problem = _counted(body, outline)
    return BodyCount(body, lines, 0 if data is None else data.bad.total, problem)


def _counted(part: Outline | BodyOutline, outline: Outline) -> tuple[TrainingData | None, list[BucketCount], str]:
    """The data of a part of a run and its buckets; where they cannot be opened, None, the named buckets, and why."""
    try:
        data = open_data(part.data, outline.lengths, outline.multiple, outline.captions, write=False)
        if isinstance(part, BodyOutline):
            part.check(data)
    except InputError as error:
        named = _named_buckets(part.data, outline)
        return None, [BucketCount(bucket, None, _tokens(part, bucket)) for bucket in named], str(error)
    counts = _clip_counts(data.train, part.clips, outline.all_places)
    return data, [BucketCount(bucket, counts[bucket], _tokens(part, bucket)) for bucket in sorted(counts)], ""


def report(run: DryRun, config: TrainConfig) -> Iterator[str]:
    """What a dry run found, as lines of text."""
    yield from _component_lines(run)
    yield ""
    yield from _data_lines(run, config)
    yield ""
    yield from _memory_lines(run, config)


def _component_lines(run: DryRun) -> Iterator[str]:
    yield f"{'component':<16}{'trained':>12}{'frozen':>12}"
    for name, part in run.outline.parts.items():
        trained, frozen = parameters(part)
        yield f"{name:<16}{trained / 1e6:>10.2f} M{frozen / 1e6:>10.2f} M"
    for name, count in run.outline.cached.items():
        yield f"{name:<16}{'not loaded in training, its answers are cached':>50}: {count / 1e6:.2f} M"


def _data_lines(run: DryRun, config: TrainConfig) -> Iterator[str]:
    if run.problem:
        yield f"data: cannot be counted: {run.problem}"
    else:
        yield f"data: {run.videos} videos, {run.held_out} of them held out"
    yield f"{'bucket (HxWxT)':<20}{'clips':>10}{'steps/epoch':>14}{'tokens':>10}{'given, mean':>14}{'most':>8}"
    for line in run.buckets:
        clips = "?" if line.clips is None else str(line.clips)
        steps = "?" if line.clips is None else f"{line.clips / run.clips_per_step:.1f}"
        tokens = line.tokens and f"{line.tokens.target:>10}{line.tokens.given:>14.0f}{line.tokens.most_given:>8}"
        yield f"{line.bucket!s:<20}{clips:>10}{steps:>14}{tokens or ''}"
    for reason, count in run.drops.most_common():
        yield f"dropped: {count} {reason}"
    parts = f"{run.outline.batch} clips x {config.accumulation} accumulated x {run.gpus} GPUs"
    shared = f" / {config.sequence_parallel_size} that share a sample" if config.sequence_parallel_size > 1 else ""
    yield f"a step: {run.clips_per_step} clips ({parts}{shared})"
    if not run.problem:
        epochs = f"{config.steps / run.steps_per_epoch:.1f} epochs in {config.steps} steps"
        yield f"an epoch: {run.clips} clips, {run.steps_per_epoch:.1f} steps, {epochs}"
        if run.tokens_per_epoch:
            yield f"an epoch: {run.tokens_per_epoch / 1e6:.2f} M tokens"
    for body in run.bodies:
        yield from _body_lines(body)


def _body_lines(body: BodyCount) -> Iterator[str]:
    outline, name = body.outline, Path(body.outline.data.dataset or "").name
    found = f"cannot be counted: {body.problem}" if body.problem else f"{body.videos} episodes"
    share = f"{outline.share:.0%} of the batches of {outline.batch}"
    yield f"{outline.layout} of {name}, {share}, beside the canvas's: {found}"
    for line in body.buckets:
        clips = "?" if line.clips is None else line.clips
        assert line.tokens is not None, "a body's outline says its tokens"
        given = f"{line.tokens.given:.0f} given on average, {line.tokens.most_given} at most"
        yield f"  {line.bucket}: {clips} clips, {line.tokens.target} tokens, {given}"


def _memory_lines(run: DryRun, config: TrainConfig) -> Iterator[str]:
    names = ("weights", "gradients", "optimiser", "average", "total", "CPU")
    yield f"memory per GPU of {run.gpus}, in GB of 1e9 bytes"
    yield f"{'ZeRO':<6}{'offload':<11}{''.join(f'{name:>11}' for name in names)}"
    for stage, offload in OFFLOADS:
        s = _memory_use(run, config, stage, offload)
        cells = (s.weights, s.gradients, s.optimizer, s.average, s.total, s.host)
        yield f"{stage:<6}{offload:<11}{''.join(f'{cell / GB:>11.2f}' for cell in cells)}"
    stage, offload = config.zero_stage, offload_of(config)
    together = {f"ZeRO {stage}, offload {offload}": _memory_use(run, config, stage, offload).total}
    together["exchange of gradients"] = 0 if stage == 0 else BF16 * BUCKET
    trained, _ = _counts(run.outline)
    together["bf16 copies of weights"] = BF16 * trained if config.precision == "bf16" and stage < 3 else 0
    if run.outline.backbone is not None and run.buckets:
        batches = list(_longest(run))
        named = " and ".join(f"{batch} x {tokens} tokens of {bucket}" for batch, tokens, bucket in batches)
        kept = [
            sum(
                activations(run.outline, batch, tokens, config.sequence_parallel_size, checkpointing)
                for batch, tokens, _ in batches
            )
            for checkpointing in (False, True)
        ]
        yield f"activations of {named}: {kept[0] / GB:.2f} without activation checkpointing, {kept[1] / GB:.2f} with it"
        together["activations"] = kept[run.outline.checkpointing]
        together["codec at work"] = max(codec_bytes(run.outline, line.bucket) for line in run.buckets)
    yield "this recipe: " + ", ".join(f"{name} {size / GB:.2f}" for name, size in together.items())
    missing = "" if "activations" in together else ", without activations, which are not estimated here"
    yield f"             together {sum(together.values()) / GB:.2f}{missing}"


def _longest(run: DryRun) -> Iterator[tuple[int, int, Bucket]]:
    """The batches that a step may hold at once at most: their samples, and the tokens and bucket of the longest one."""
    own = [(run.outline.batch, line) for line in run.buckets]
    bodies = [(body.outline.batch, line) for body in run.bodies for line in body.buckets]
    for lines in (own, bodies):
        sizes = [(batch, line.tokens.most, line.bucket) for batch, line in lines if line.tokens]
        if sizes:
            yield max(sizes, key=lambda size: size[1])


def offload_of(config: TrainConfig) -> str:
    """What the DeepSpeed JSON of a recipe puts on the CPU: none, optimizer, or all (weights too).

    Raises:
        InputError: it cannot be read.
    """
    if config.deepspeed is None:
        return "none"
    try:
        zero = json.loads(Path(config.deepspeed).read_text()).get("zero_optimization", {})
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"deepspeed={config.deepspeed} is not a readable JSON file: {error}") from error
    on_cpu = [part for part in ("optimizer", "param") if zero.get(f"offload_{part}", {}).get("device") == "cpu"]
    return "all" if len(on_cpu) == 2 else "optimizer" if on_cpu == ["optimizer"] else "none"


def _memory_use(run: DryRun, config: TrainConfig, stage: int, offload: str) -> MemoryUse:
    modules = [module for part in run.outline.parts.values() for module in part.modules()]
    largest = max(sum(p.numel() for p in module.parameters(recurse=False)) for module in modules)
    average = config.ema_decay > 0
    return model_states(*_counts(run.outline), run.gpus, stage, offload, largest, average=average)


def _counts(outline: Outline) -> tuple[int, int]:
    counts = [parameters(part) for part in outline.parts.values()]
    return sum(trained for trained, _ in counts), sum(frozen for _, frozen in counts)


def _tokens(part: Outline | BodyOutline, bucket: Bucket) -> Tokens | None:
    return part.tokens(bucket) if part.tokens else None


def _named_buckets(data: DataConfig, outline: Outline) -> list[Bucket]:
    sizes = parse_sizes(data.sizes, outline.multiple)
    return [Bucket(*size, length) for size in sizes for length in outline.lengths]


def _clip_counts(clips: Clips, count: int | None, all_places: bool) -> Counter[Bucket]:
    if all_places:
        return Counter({bucket: len(numbers) for bucket, numbers in clips.by_bucket().items()})
    numbers = clips.windows() if count is None else clips.spread(count)
    return Counter(clips.bucket(number) for number in numbers)
