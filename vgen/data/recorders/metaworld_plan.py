"""What to record of Meta-World: the settings, and the list of episodes that follows from them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vgen.data.recorders.metaworld_tasks import SENTENCES, UNSEEN_TASKS
from vgen.errors import InputError, unknown_key

CAMERAS = ("first_person", "eye_in_hand", "third_person")
HELD_OUT_SEED = 10_000  # train seeds count from 0; test and unseen seeds from here


@dataclass(frozen=True)
class Recording:
    """What to record.

    out: the dataset folder to make.
    tasks: environment names; those of UNSEEN_TASKS go to the split `unseen`, the others to `train` and `test`.
    train_seeds, test_seeds, unseen_seeds: episodes per task in each split.
    size: height and width of the frames in pixels, even, 16 or more.
    cameras: names out of CAMERAS.
    workers: processes that record; the dataset does not depend on their number.
    max_steps: longest episode, in control steps at 80 Hz.
    """

    out: Path
    tasks: Sequence[str] = tuple(SENTENCES)
    train_seeds: int = 20
    test_seeds: int = 2
    unseen_seeds: int = 8
    size: int = 128
    cameras: Sequence[str] = CAMERAS
    workers: int = 1
    max_steps: int = 150


@dataclass(frozen=True)
class Shot:
    """One episode to record: its split, environment name and seed."""

    split: str
    task: str
    seed: int


def check(recording: Recording) -> None:
    """Refuse settings that cannot be recorded.

    Raises:
        InputError: an unknown task or camera, a number out of range, or nothing to record.
    """
    for names, known, where in (
        (recording.tasks, SENTENCES, "the Meta-World tasks"),
        (recording.cameras, CAMERAS, "the cameras"),
    ):
        for name in names:
            if name not in known:
                raise unknown_key(name, known, where)
        if len(set(names)) != len(names):
            raise InputError(f"{', '.join(names)} names one of {where} twice; name each once")
    if recording.size < 16 or recording.size % 2:
        nearest = max(16, recording.size + recording.size % 2)
        raise InputError(f"size={recording.size} is not an even number of 16 or more; nearest: {nearest}")
    for name, least in {"workers": 1, "max_steps": 1, "train_seeds": 0, "test_seeds": 0, "unseen_seeds": 0}.items():
        if getattr(recording, name) < least:
            raise InputError(f"{name}={getattr(recording, name)} is not {least} or more; nearest: {least}")
    if recording.train_seeds > HELD_OUT_SEED:
        raise InputError(f"train_seeds={recording.train_seeds} runs into the held-out seeds; nearest: {HELD_OUT_SEED}")
    if not list(shots(recording)):
        raise InputError("no episode to record: raise the number of seeds, or name more tasks")


def shots(recording: Recording) -> Iterator[Shot]:
    """All episodes, in the order of the dataset: split by split, task by task."""
    seen = [task for task in recording.tasks if task not in UNSEEN_TASKS]
    unseen = [task for task in recording.tasks if task in UNSEEN_TASKS]
    for split, tasks, first, count in (
        ("train", seen, 0, recording.train_seeds),
        ("test", seen, HELD_OUT_SEED, recording.test_seeds),
        ("unseen", unseen, HELD_OUT_SEED, recording.unseen_seeds),
    ):
        for task in tasks:
            for seed in range(first, first + count):
                yield Shot(split, task, seed)
