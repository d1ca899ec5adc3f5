"""What to record of a simulator: the settings, and the list of episodes that follows from them."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from vgen.errors import InputError, unknown_key

HELD_OUT_SEED = 10_000  # train seeds count from 0; test and unseen seeds from here
MOST_BRANCHES = 8


@dataclass(frozen=True)
class Recording:
    """What to record; each simulator has its own subclass.

    out: the dataset folder to make.
    tasks: names of tasks; those of `unseen` go to the split `unseen`, the others to `train` and `test`.
    train_seeds, test_seeds, unseen_seeds: episodes per task in each split.
    looks: 0 records the training seeds in the simulator's own look; N in N looks each, drawn by the seed.
    varied_seeds: test episodes per training task in a drawn look each, in the split `varied`.
    size: height and width of the frames in pixels, even, 16 or more.
    cameras: names out of `all_cameras`.
    workers: processes that record; the dataset does not depend on their number.
    max_steps: longest episode, in control steps.
    counterfactuals: 0 records one episode per seed; K of 2 to 8 records a group of K episodes, which part in the
        middle: there the hand goes on along K different trajectories from the same state.
    overwrite: a data set that lies at `out` is replaced when the new one is complete.
    """

    simulator: ClassVar[str]
    all_tasks: ClassVar[Sequence[str]]
    unseen: ClassVar[Sequence[str]]
    all_cameras: ClassVar[Sequence[str]]
    fps: ClassVar[int]
    unbranched: ClassVar[Sequence[str]] = ()  # tasks in which the hand stays in its place: they have no other paths

    out: Path
    tasks: Sequence[str] = ()
    train_seeds: int = 20
    test_seeds: int = 2
    unseen_seeds: int = 8
    looks: int = 0
    varied_seeds: int = 0
    size: int = 128
    cameras: Sequence[str] = ()
    workers: int = 1
    max_steps: int = 150
    counterfactuals: int = 0
    overwrite: bool = False


@dataclass(frozen=True)
class EpisodeSeed:
    """One seed of a task to record: its split, the task's name, the seed, and its look, of which 0 is the plain one."""

    split: str
    task: str
    seed: int
    look: int = 0


def check(recording: Recording) -> None:
    """Refuse settings that cannot be recorded.

    Raises:
        InputError: an unknown task or camera, a number out of range, or nothing to record.
    """
    for names, known, where in (
        (recording.tasks, recording.all_tasks, f"the {recording.simulator} tasks"),
        (recording.cameras, recording.all_cameras, "the cameras"),
    ):
        for name in names:
            if name not in known:
                raise unknown_key(name, known, where)
        if len(set(names)) != len(names):
            raise InputError(f"{', '.join(names)} names one of {where} twice; name each once")
    _check_numbers(recording)
    if not list(episode_seeds(recording)):
        raise InputError("no episode to record: raise the number of seeds, or name more tasks")


def _check_numbers(recording: Recording) -> None:
    if recording.size < 16 or recording.size % 2:
        nearest = max(16, recording.size + recording.size % 2)
        raise InputError(f"size={recording.size} is not an even number of 16 or more; nearest: {nearest}")
    counts = dict.fromkeys(("train_seeds", "test_seeds", "unseen_seeds", "varied_seeds", "looks"), 0)
    for name, least in {"workers": 1, "max_steps": 1, **counts}.items():
        if getattr(recording, name) < least:
            raise InputError(f"{name}={getattr(recording, name)} is not {least} or more; nearest: {least}")
    if recording.train_seeds > HELD_OUT_SEED:
        raise InputError(f"train_seeds={recording.train_seeds} runs into the held-out seeds; nearest: {HELD_OUT_SEED}")
    branches = recording.counterfactuals
    if branches and not 2 <= branches <= MOST_BRANCHES:
        nearest = 0 if branches < 0 else min(max(branches, 2), MOST_BRANCHES)
        raise InputError(f"counterfactuals={branches} is not 0 or 2 to {MOST_BRANCHES}; nearest: {nearest}")
    still = [task for task in recording.tasks if task in recording.unbranched]
    if branches and still:
        raise InputError(f"counterfactuals={branches}: in {still[0]} the hand stays in its place; leave {still[0]} out")


def episode_seeds(recording: Recording) -> Iterator[EpisodeSeed]:
    """All seeds to record, in the order of the dataset: split by split, task by task."""
    seen = [task for task in recording.tasks if task not in recording.unseen]
    unseen = [task for task in recording.tasks if task in recording.unseen]
    varied = range(1, recording.looks + 1) if recording.looks else [0]
    for split, tasks, first, count, looks in (
        ("train", seen, 0, recording.train_seeds, varied),
        ("test", seen, HELD_OUT_SEED, recording.test_seeds, [0]),
        ("unseen", unseen, HELD_OUT_SEED, recording.unseen_seeds, [0]),
        ("varied", seen, HELD_OUT_SEED, recording.varied_seeds, [1]),
    ):
        for task in tasks:
            for seed in range(first, first + count):
                for look in looks:
                    yield EpisodeSeed(split, task, seed, look)


def add_arguments(parser: argparse.ArgumentParser, kind: type[Recording]) -> None:
    """Give a command the arguments that make a recording: one option per field of `kind`."""
    count: dict[str, Any] = {"type": int, "metavar": "N"}
    tasks, cameras = ", ".join(kind.all_tasks), ", ".join(kind.all_cameras)
    if len(kind.tasks) < len(kind.all_tasks):
        tasks = f"out of {tasks} (default: {', '.join(kind.tasks)})"
    else:
        tasks = f"default: all {len(kind.all_tasks)}" if len(kind.all_tasks) > 9 else f"default: {tasks}"
    steps = f"longest episode, at {kind.fps} steps/s"
    parser.add_argument("--out", type=Path, required=True, help="dataset folder to make")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a data set at --out, whole, once the new one is complete"
    )
    parser.add_argument("--tasks", nargs="+", default=list(kind.tasks), metavar="TASK", help=tasks)
    parser.add_argument("--train-seeds", **count, default=kind.train_seeds, help="training episodes per task")
    parser.add_argument("--test-seeds", **count, default=kind.test_seeds, help="test episodes per training task")
    if kind.unseen:
        about = "episodes per task kept from training"
        parser.add_argument("--unseen-seeds", **count, default=kind.unseen_seeds, help=about)
    about = (
        "record each training seed in N looks: camera, light and colours vary (default: 0, the simulator's own look)"
    )
    parser.add_argument("--looks", **count, default=kind.looks, help=about)
    about = "test episodes per training task in a varied look each, as the split `varied`"
    parser.add_argument("--varied-seeds", **count, default=kind.varied_seeds, help=about)
    parser.add_argument("--size", type=int, default=kind.size, help="height and width of the frames in pixels")
    parser.add_argument("--cameras", nargs="+", default=list(kind.cameras), metavar="CAMERA", help=cameras)
    parser.add_argument("--workers", **count, default=kind.workers, help="recording processes: one per core")
    parser.add_argument("--max-steps", **count, default=kind.max_steps, help=steps)
    about = "record each seed as a group of K episodes: one state, then K trajectories (4 is usual; default: 0, none)"
    parser.add_argument("--counterfactuals", type=int, default=0, metavar="K", help=about)
