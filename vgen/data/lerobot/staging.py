"""Episodes on their way into a data set: several processes write them aside, each whole or not at all, so that work
that was broken off goes on where it stopped."""

import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from vgen.checks import show
from vgen.data.lerobot.meta import CAMERA_PREFIX
from vgen.data.lerobot.writer import LeRobotWriter
from vgen.errors import InputError
from vgen.files import locked, write_whole

COLUMNS, DESCRIPTION = "columns.npz", "episode.json"  # beside the videos of an episode that waits
SETTINGS, LOCK = "settings.json", "lock"


@contextmanager
def alone(staging: Path) -> Iterator[None]:
    """Makes the staging folder where there is none; while the block lasts, no other process works there. A folder in
    which nothing came to wait goes with it.

    Raises:
        InputError: another one does.
        OSError: it cannot be made.
    """
    staging.mkdir(parents=True, exist_ok=True)
    with locked(staging / LOCK, "process"):
        try:
            yield
        finally:
            if staging.is_dir() and os.listdir(staging) == [LOCK]:
                shutil.rmtree(staging)


def claim(staging: Path, settings: Mapping[str, object], what: str = "recording") -> None:
    """Goes on with a staging folder that was left by work with the same settings, or takes one that is new.

    Args:
        staging: the folder, which is there.
        settings: that what waits there depends on; values that JSON holds.
        what: is done there.

    Raises:
        InputError: it was left by work with others.
    """
    text, file = json.dumps(settings), staging / SETTINGS
    before = file.read_text() if file.exists() else text
    if before != text:
        raise InputError(
            f"{staging} holds an interrupted {what} with other settings{_difference(before, text)}; use those, or "
            "remove it"
        )
    write_whole(file, text)


def _difference(before: str, now: str) -> str:
    """The first setting that is another one."""
    with suppress(ValueError, AttributeError):
        old, new = json.loads(before), json.loads(now)
        name = next(name for name in [*old, *new] if old.get(name) != new.get(name))
        return f" ({name}: {show(old.get(name))}, now {show(new.get(name))})"
    return ""


@contextmanager
def worker_pool(workers: int, staging: Path) -> Iterator[ProcessPoolExecutor]:
    """Processes that work into `staging`, and end with this one.

    Raises:
        InputError: one of them was killed.
    """
    spawn = multiprocessing.get_context("spawn")  # a drawing context does not survive a fork
    try:
        with ProcessPoolExecutor(workers, mp_context=spawn, initializer=end_with_parent) as pool:
            yield pool
    except BrokenProcessPool as error:
        raise InputError(
            f"{staging}: a process was killed, as for want of memory; start again to go on from here"
        ) from error


def end_with_parent() -> None:
    """Makes a worker process end when the process that started it is gone. One that went on after a recording was
    killed would write into the folder of the recording that is started again."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def write_episode(
    folder: Path, columns: Mapping[str, np.ndarray], sentence: str, extra: Mapping[str, object] | None = None
) -> None:
    """Writes what an episode is beside its videos, which lie in `folder` as CAMERA.mp4.

    Args:
        folder: of the episode; what is written aside and renamed.
        columns: the arrays [T, D].
        sentence: that says what is done.
        extra: further columns of `meta/episodes`, values that JSON holds.
    """
    arrays: dict[str, np.ndarray] = dict(columns)
    np.savez(folder / COLUMNS, **arrays)  # type: ignore[arg-type]  # of a name that is numpy's own there is none
    (folder / DESCRIPTION).write_text(json.dumps({"sentence": sentence, "extra": dict(extra or {})}))


def add_episode(writer: LeRobotWriter, folder: Path, names: Sequence[str], cameras: Sequence[str]) -> int:
    """Adds an episode that waits in `folder` to a data set; returns its index.

    Args:
        writer: of the data set.
        folder: as `write_episode` was given it.
        names: of the columns.
        cameras: as their files are named.
    """
    with np.load(folder / COLUMNS) as stored:
        columns = {name: stored[name] for name in names}
    told = json.loads((folder / DESCRIPTION).read_text())
    videos = {CAMERA_PREFIX + camera: folder / f"{camera}.mp4" for camera in cameras}
    return writer.add_episode(columns, videos, told["sentence"], told["extra"])


def count_in(splits: dict[str, tuple[int, int]], split: str, index: int) -> None:
    """Makes the newest episode one of a split, whose episodes follow each other."""
    splits[split] = (splits.get(split, (index,))[0], index + 1)
