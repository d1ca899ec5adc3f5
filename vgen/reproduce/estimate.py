"""What a way to nano would do, take and need, before it is started."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vgen.reproduce.bench import kind_of, read_whole
from vgen.reproduce.data import INFO, check_packages, missing
from vgen.reproduce.on_paper import SIZE, Cost, Stage, stages_on_paper
from vgen.reproduce.profile import TRAINED
from vgen.reproduce.progress import Progress
from vgen.reproduce.stages import Way
from vgen.train.dry_run import GB, model_states, parameters

PEAK = 989e12  # bf16 operations of an H100 a second, dense
BUSY, BUSY_CODEC = 0.06, 0.02  # shares of it that an H100 reached in these steps, uncompiled: memory bounds both
LEAST = 0.03  # seconds of a step that Python needs to start its kernels, assumed
CLIP = 2e-3  # seconds in which a clip is read, encoded and kept, as measured there
FIXED = 2.0  # GB: the GPU's context, kernels and workspace


def plan(way: Way, only: str | None = None) -> Iterator[str]:
    """Lines of text: of every stage, or one, what it does, for how long, and what it takes and needs.

    Raises:
        InputError: a stage would be refused.
    """
    profile, progress = way.profile, Progress.read(way.out)
    shares, chosen = profile.shares, [only] if only else profile.stages
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
            yield from _training_lines(paper[stage], 60 * minutes, profile.ranks)
        elif stage == "bench":
            for name, options in profile.bench.chosen.items():
                yield f"  vgen bench {kind_of(name)} {options}"
    if profile.ranks == 1:
        measured = f"the backbone reached {BUSY:.0%} and the codec {BUSY_CODEC:.0%} there"
        yield f"seconds are those of one H100: of its {PEAK / 1e12:.0f} TFLOP/s in bf16 {measured};"
        yield f"a step takes {LEAST * 1e3:.0f} ms at least, in which Python starts its kernels, which is assumed;"
        yield f"operations and bytes are counted on paper, of {SIZE}x{SIZE} pixels"


def _training_lines(stage: Stage, seconds: float, ranks: int) -> Iterator[str]:
    config, trained = stage.config, sum(parameters(part)[0] for part in stage.objective.parts().values())
    frozen = sum(parameters(part)[1] for part in stage.objective.parts().values())
    operations = (stage.step.backbone + stage.step.codec) / 1e12
    yield f"  {trained / 1e6:.2f} M weights trained, {frozen / 1e6:.2f} M frozen; a step: {operations:.2f} TFLOP a rank"
    if stage.clips:
        room = f"{stage.latents / GB:.2f} GB on the disk"
        took = f", {CLIP * stage.clips:.0f} s" if ranks == 1 else ""
        yield f"  before the first step at most {stage.clips} clips are encoded: {room}{took}"
    if ranks > 1:
        return
    left = max(0.0, seconds - CLIP * stage.clips)
    step = max(LEAST, _seconds(stage.step))
    steps = min(config.steps, left / step)
    states = model_states(trained, frozen, 1, config.zero_stage, average=config.ema_decay > 0).total / GB
    kept = stage.step.kept / (2 if config.precision == "bf16" else 1) / GB
    yield f"  {step * 1e3:.0f} ms a step, {steps:.0f} steps"
    parts = f"weights, gradients, Adam and average {states:.1f}, activations {kept:.1f}, context {FIXED:.0f}"
    yield f"  memory {states + kept + FIXED:.1f} GB: {parts}"


def _seconds(cost: Cost) -> float:
    return cost.backbone / (BUSY * PEAK) + cost.codec / (BUSY_CODEC * PEAK)


def _data_lines(way: Way) -> Iterator[str]:
    lacking = missing(way.profile)
    for name, options in lacking.items():
        yield f"  {name} is not there: vgen record {shlex.join(options)}"
    if lacking and way.pack is not None:
        yield f"  what of these {way.pack} holds is unpacked instead"
    elif lacking:
        yield "  recording needs the extra record (pip install 'vgen[record]'), and takes minutes to hours"
    frames = {name: _frames(Path(way.profile.root) / name) for name in way.profile.data if name not in lacking}
    for name, count in frames.items():
        yield f"  {name}: {count} frames, {3 * SIZE**2 * count / GB:.1f} GB once they are decoded"


def _frames(folder: Path) -> int:
    info = folder / INFO
    return int((read_whole(info) or {}).get("total_frames", 0))
