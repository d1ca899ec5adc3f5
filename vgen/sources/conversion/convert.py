"""Converts a source to a LeRobot v3.0 data set, in several processes, and goes on where it was broken off."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path

from tqdm import tqdm

from vgen.checks import whole
from vgen.data.lerobot.meta import CAMERA_PREFIX
from vgen.data.lerobot.staging import add_episode, alone, claim, count_in, worker_pool
from vgen.data.lerobot.writer import LeRobotWriter, disk_errors
from vgen.errors import InputError
from vgen.results import DATASET, check_folder
from vgen.sources import open_source
from vgen.sources.conversion.placement import INTRINSICS
from vgen.sources.conversion.report import FILE, Report, added, left_out_of, reasons
from vgen.sources.conversion.splits import check_names, split_of, split_order
from vgen.sources.conversion.takes import Outcome, Plan, convert_take
from vgen.sources.source import Reading, Source, Take
from vgen.trajectory.layouts import find_layout

logger = logging.getLogger(__name__)

LEAST_SIDE = 16
MOST_WORKERS = 1024


@dataclass(frozen=True)
class Conversion:
    """What is converted, and to what.

    Attributes:
        source: name of a source.
        reading: how it is read.
        out: the data set's folder.
        size: (H, W) of the frames, even: they are scaled until they cover it, and cut around their middle; None: as
            they are.
        workers: processes; the data set does not depend on their number.
        shard: (i, n): every n-th take from the i-th on, into a data set of its own; they are joined later.
        splits: the share of the groups that goes into each split; the rest is `train`.
        overwrite: a data set that lies at `out` is replaced when the new one is complete.
    """

    source: str
    reading: Reading
    out: Path
    size: tuple[int, int] | None = None
    workers: int = 1
    shard: tuple[int, int] = (1, 1)
    splits: Mapping[str, float] = field(default_factory=lambda: {"test": 0.1})
    overwrite: bool = False


def convert(conversion: Conversion) -> Report:
    """Converts a source. Takes that are done wait in `<out>.converting`, and the data set appears at `out` when it is
    whole; a conversion that was broken off goes on where it stopped.

    Raises:
        InputError: settings or a source that cannot be used, no take that can be converted, an `out` that holds
            something, an interrupted conversion with other settings, or a folder that cannot be written to.
        TryAgain: the disk is full.
    """
    _check(conversion)
    check_folder(conversion.out, DATASET, conversion.overwrite)
    source = open_source(conversion.source, conversion.reading)
    takes = check_names(source.takes())
    splits = split_of(takes, conversion.splits)
    chosen = _of_shard(takes, conversion.shard)
    staging = conversion.out.with_name(conversion.out.name + ".converting")
    plan = Plan(conversion.source, conversion.reading, conversion.size, _fps(source, conversion.reading), staging)
    settings = _settings(conversion, source, plan.fps)
    with disk_errors(staging), alone(staging):
        claim(staging, {name: said for name, said in settings.items() if name != "splits"}, "conversion")
        outcomes = _of_one_size(_convert_all(plan, chosen, conversion.workers))
        written = [outcome for outcome in outcomes if not outcome.left_out]
        if not written:
            shutil.rmtree(staging)
            told = "; ".join(reasons(left_out_of(outcomes))[:2])
            raise InputError(f"no take of {conversion.reading.folder} can be used, of {len(outcomes)}: {told}")
        order = sorted(
            (take for take, outcome in zip(chosen, outcomes, strict=True) if not outcome.left_out),
            key=lambda take: (split_order(splits[take.name]), take.name),
        )
        report = _report(settings, conversion.shard, len(takes), plan.fps, outcomes, order, splits)
        _assemble(conversion, source, plan, order, splits, report)
        shutil.rmtree(staging)
    _warn(report, {splits[take.name] for take in chosen})
    return report


def _warn(report: Report, wanted: Iterable[str]) -> None:
    """Logs what is likely not meant."""
    if report.many_left_out:
        takes = sum(report.episodes.values()) + len(report.left_out)
        logger.warning("%d of %d takes were left out; see %s", len(report.left_out), takes, FILE)
    if lost := sorted(set(wanted) - set(report.episodes)):
        logger.warning("no take of %s is left", " and ".join(lost))


def _check(conversion: Conversion) -> None:
    whole("workers", conversion.workers, 1, MOST_WORKERS)
    if conversion.reading.fps is not None:
        whole("fps", conversion.reading.fps, 1, 1000)
    for side in conversion.size or ():
        whole("size", side, LEAST_SIDE, 8192)
        if side % 2:
            raise InputError(f"size={side} is not even, as h264 needs; nearest: {side + 1}")


def _settings(conversion: Conversion, source: Source, fps: int) -> dict[str, object]:
    """What the data set depends on, in values that JSON holds."""
    reading = conversion.reading
    return {
        "source": conversion.source,
        "folder": reading.folder.name if conversion.shard[1] > 1 else str(reading.folder),
        "cameras": list(source.cameras),
        "layouts": dict(source.layouts),
        "fps": fps,
        "size": list(conversion.size) if conversion.size else None,
        "options": dict(reading.more),
        "splits": dict(conversion.splits),
    }


def _fps(source: Source, reading: Reading) -> int:
    """The rate of what is written.

    Raises:
        InputError: it is no whole part of the source's.
    """
    wanted = reading.fps or source.fps
    if source.fps % wanted:
        parts = [rate for rate in range(1, source.fps + 1) if source.fps % rate == 0]
        nearest = min(parts, key=lambda rate: abs(rate - wanted))
        raise InputError(f"fps={wanted} is no whole part of the source's {source.fps}; nearest: {nearest}")
    return wanted


def _of_shard(takes: Sequence[Take], shard: tuple[int, int]) -> list[Take]:
    number, count = shard
    if count > len(takes):
        raise InputError(f"shard={number}/{count}: the source has {len(takes)} takes; nearest: N of {len(takes)}")
    return list(takes[number - 1 :: count])


def _convert_all(plan: Plan, takes: Sequence[Take], workers: int) -> list[Outcome]:
    """The outcomes of the takes, in their order."""
    work, outcomes = partial(convert_take, plan), []
    frames = 0
    with tqdm(total=len(takes), desc="takes", unit="take") as bar:
        for outcome in _in_processes(plan, work, takes, workers):
            outcomes.append(outcome)
            frames += outcome.rows * len(outcome.sizes)
            bar.set_postfix_str(f"{frames} frames", refresh=False)
            bar.update()
    return outcomes


def _in_processes(plan: Plan, work: partial[Outcome], takes: Sequence[Take], workers: int) -> Iterator[Outcome]:
    if workers == 1:
        yield from map(work, takes)
        return
    with worker_pool(workers, plan.staging) as pool:
        yield from pool.map(work, takes)


def _of_one_size(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes with those takes left out whose frames are not of the size that most have: a data set has one."""
    whole_ones = [outcome for outcome in outcomes if not outcome.left_out]
    most = Counter(tuple(outcome.sizes.items()) for outcome in whole_ones).most_common(1)
    usual = dict(most[0][0]) if most else {}

    def checked(outcome: Outcome) -> Outcome:
        other = next((camera for camera, size in outcome.sizes.items() if size != usual[camera]), None)
        if other is None:
            return outcome
        given, wanted = ("{}x{}".format(*sizes[other]) for sizes in (outcome.sizes, usual))
        reason = f"its frames are of another size than most, and --size was not given: {given}, most are {wanted}"
        return replace(outcome, left_out=reason)

    return [checked(outcome) for outcome in outcomes]


def _report(
    settings: Mapping[str, object],
    shard: tuple[int, int],
    takes: int,
    fps: int,
    outcomes: Sequence[Outcome],
    order: Sequence[Take],
    splits: Mapping[str, str],
) -> Report:
    written = [outcome for outcome in outcomes if not outcome.left_out]
    by_split = {split: list(of_it) for split, of_it in groupby(order, lambda take: splits[take.name])}
    return Report(
        settings,
        takes,
        shard,
        episodes={split: len(of_it) for split, of_it in by_split.items()},
        groups={split: len({take.group for take in of_it}) for split, of_it in by_split.items()},
        frames=sum(outcome.rows for outcome in written),
        fps=fps,
        invalid=added(outcome.invalid for outcome in written),
        mended=added(outcome.mended for outcome in written),
        left_out=left_out_of(outcomes),
    )


def _assemble(
    conversion: Conversion,
    source: Source,
    plan: Plan,
    order: Sequence[Take],
    splits: Mapping[str, str],
    report: Report,
) -> None:
    writer = LeRobotWriter(
        conversion.out,
        plan.fps,
        source.columns,
        [CAMERA_PREFIX + camera for camera in source.cameras],
        robot_type=source.robot_type,
        layouts=source.layouts,
        overwrite=conversion.overwrite,
        conventions=_conventions(source, plan.fps),
    )
    ranges: dict[str, tuple[int, int]] = {}
    for take in tqdm(order, desc="writing", unit="take"):
        index = add_episode(writer, plan.folder(take), list(source.columns), source.cameras)
        count_in(ranges, splits[take.name], index)
    writer.finish(ranges, {FILE: report.text()})


def _conventions(source: Source, fps: int) -> dict[str, str]:
    """Units, frames of reference and signs of each column, in words: those of its layout, then the source's own."""
    told = {}
    for key in source.columns:
        parts: list[str] = []
        if key in source.layouts:
            columns = find_layout(source.layouts[key]).columns
            parts += dict.fromkeys(f"{c.meaning}: {c.unit}, {c.frame}, {c.sign}" for c in columns)
        if key.startswith(INTRINSICS):
            parts.append("fx, fy, cx, cy in pixels of the frames as written, the middle of the first at (0, 0)")
        if key.startswith("action") and source.fps != fps:
            parts.append(f"of one step at {source.fps}/s, of which every {source.fps // fps}. row is kept")
        if source.conventions.get(key):
            parts.append(source.conventions[key])
        if parts:
            told[key] = "; ".join(parts)
    return told
