"""What a way to nano would do, take and need, before it is started."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vgen.reproduce.bench import kind_of, read_whole
from vgen.reproduce.data import INFO, check_packages, missing, needed
from vgen.reproduce.on_paper import SIZE, Stage, stages_on_paper
from vgen.reproduce.profile import TRAINED
from vgen.reproduce.progress import Progress
from vgen.reproduce.stages import Way
from vgen.train.memory import GB, model_states, parameters

PEAK = 989e12  # bf16 operations of an H100 a second, dense


@dataclass(frozen=True)
class Machine:
    """What was measured of a machine in these trainings, uncompiled.

    Attributes:
        backbone, codec: operations a second that either reached, of a rank.
        least: seconds of a step that Python needs to start its kernels.
        clip: seconds in which a clip is read, encoded and kept, by all ranks together.
        fixed: GB that a rank needs beside weights and activations.
        told: in a line or two, whose figures these are.
    """

    backbone: float
    codec: float
    least: float
    clip: float
    fixed: float
    told: Sequence[str]


H100 = Machine(0.018 * PEAK, 0.02 * PEAK, 0.03, 2e-3, 2.0, (
    f"seconds are those of one H100: of its {PEAK / 1e12:.0f} TFLOP/s in bf16",
    "the backbone of nano reached 1.8% and the codec 2%: the GPU waited for Python;",
    "a step takes 30 ms at least, in which Python starts its kernels, which is assumed;",
))  # fmt: skip
CORES = Machine(120e9, 120e9, 0.0, 0.033, 1.5, (
    "seconds are those of cores of an AMD EPYC with AVX-512 in bf16, one for each rank: 0.12 TFLOP/s each;",
    "clips of other sizes and lengths take more memory than is counted here;",
))  # fmt: skip


def plan(way: Way, only: str | None = None) -> Iterator[str]:
    """Lines of text: of every stage, or one, what it does, for how long, and what it takes and needs.

    Raises:
        InputError: a stage would be refused.
    """
    profile, progress = way.profile, Progress.read(way.out)
    shares, chosen = profile.shares, [only] if only else profile.stages
    machine = H100 if profile.machine == "gpu" else CORES
    with tempfile.TemporaryDirectory() as scratch:
        paper = stages_on_paper(profile, Path(scratch))
        check_packages([stage.config for stage in paper.values()])
    yield f"{profile.minutes:g} minutes for all stages but the data; into {way.out}"
    for stage in chosen:
        done = ", done" if progress.of(stage).done else ""
        if stage == "data":
            yield f"data: before the {profile.minutes:g} minutes{done}"
            yield from _data_lines(way)
            continue
        minutes = profile.minutes * shares[stage] / sum(shares.values())
        yield f"{stage}: {minutes:.1f} minutes{done}"
        if stage in TRAINED:
            yield from _training_lines(paper[stage], 60 * minutes, profile.ranks, machine)
        elif stage == "bench":
            for name, options in profile.bench.chosen.items():
                yield f"  vgen bench {kind_of(name)} {options}"
    yield from machine.told
    yield f"operations and bytes are counted on paper, of {SIZE}x{SIZE} pixels"


def _training_lines(stage: Stage, seconds: float, ranks: int, machine: Machine) -> Iterator[str]:
    config, trained = stage.config, sum(parameters(part)[0] for part in stage.objective.parts().values())
    frozen = sum(parameters(part)[1] for part in stage.objective.parts().values())
    operations = (stage.step.backbone + stage.step.codec) / 1e12
    yield f"  {trained / 1e6:.2f} M weights trained, {frozen / 1e6:.2f} M frozen; a step: {operations:.2f} TFLOP a rank"
    if stage.clips:
        taken = f"{stage.latents / GB:.2f} GB on the disk, {machine.clip * stage.clips:.0f} s"
        yield f"  before the first step at most {stage.clips} clips are encoded: {taken}"
    if stage.open_sets:
        yield f"  before it all clips of {stage.open_sets} data sets are encoded, which are not counted here"
    left = max(0.0, seconds - machine.clip * stage.clips)
    step = max(machine.least, stage.step.backbone / machine.backbone + stage.step.codec / machine.codec)
    steps = min(config.steps, left / step)
    states = model_states(trained, frozen, ranks, config.zero_stage, average=config.ema_decay > 0).total / GB
    kept = stage.step.kept / (2 if config.precision == "bf16" else 1) / GB
    yield f"  {step * 1e3:.0f} ms a step, {steps:.0f} steps"
    parts = f"weights, gradients, Adam and average {states:.1f}, activations {kept:.1f}, other {machine.fixed:g}"
    yield f"  memory{' of each rank' if ranks > 1 else ''} {states + kept + machine.fixed:.1f} GB: {parts}"


def _data_lines(way: Way) -> Iterator[str]:
    lacking = missing(way.profile)
    for name, options in lacking.items():
        yield f"  {name} is not there: vgen record {shlex.join(options)}"
    if lacking and way.pack is not None:
        yield f"  what of these {way.pack} holds is unpacked instead"
    elif lacking:
        yield "  recording needs the extra record (pip install 'vgen[record]'), and takes minutes to hours"
    there = [name for name in needed(way.profile) if name not in lacking]
    frames = {name: _frames(Path(way.profile.root) / name) for name in there}
    for name, count in frames.items():
        yield f"  {name}: {count} frames, {3 * SIZE**2 * count / GB:.1f} GB once they are decoded"


def _frames(folder: Path) -> int:
    info = folder / INFO
    return int((read_whole(info) or {}).get("total_frames", 0))
