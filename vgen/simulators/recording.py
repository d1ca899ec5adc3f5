"""Records a simulator as a LeRobot v3.0 dataset, in several processes, and goes on where it was broken off."""

import json
import logging
import multiprocessing
import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from tqdm import tqdm

from vgen.data.lerobot.dataset import CAMERA_PREFIX
from vgen.data.lerobot.writer import LeRobotWriter, disk_errors
from vgen.errors import InputError
from vgen.media.writing import CRF, write_video
from vgen.results import DATASET, check_folder
from vgen.simulators.settings import Recording, Shot, check, shots

logger = logging.getLogger(__name__)

LOSSLESS = 0  # of counterfactuals: what comes after a frame must leave no trace in it
SHOTS_PER_JOB = 20  # share an environment, whose making takes seconds


@dataclass(frozen=True)
class Take:
    """One episode of T frames that was played.

    columns: float32 [T, D] by feature key; action k leads from row k to row k + 1.
    physics: [T, S], the simulator's state at each row, from which its frame is drawn.
    sentence: what is done.
    extra: what else `meta/episodes` says of it; plain values, of the same keys in every episode of a recording.
    """

    columns: Mapping[str, np.ndarray]
    physics: np.ndarray
    sentence: str
    extra: Mapping[str, object]


class Stage(Protocol):
    """One task of a simulator with its cameras, `Stage(task, size)`: a process has one at a time.

    Attributes:
        names: the columns' feature keys, and what each dimension is called.
        layouts: which trajectory layout the columns of a feature key have.
        robot_type: of the dataset.
    """

    names: ClassVar[Mapping[str, Sequence[str]]]
    layouts: ClassVar[Mapping[str, str]]
    robot_type: ClassVar[str]

    def __init__(self, task: str, size: int) -> None: ...

    def play(self, seed: int, max_steps: int, counterfactuals: int) -> list[Take]:
        """One take, or all branches of a group, the expert's first; empty where the task did not succeed."""

    def film(self, take: Take, camera: str) -> np.ndarray:
        """The frames of a take that was played since the last reset: uint8 [T, size, size, 3]."""

    def close(self) -> None:
        """Free what draws."""


@dataclass(frozen=True)
class _Job:
    """Seeds of one task, which share an environment, and where to put their episodes."""

    recording: Recording
    stage: type[Stage]
    staging: Path
    shots: list[Shot]


def record(recording: Recording, stage: type[Stage]) -> Path:
    """Record a dataset; a recording that was broken off goes on where it stopped.

    Finished episodes wait in `<out>.recording`, and the dataset appears at `out` when it is whole. A seed whose
    scripted policy never succeeds is left out, with a warning.

    Returns:
        The dataset folder.

    Raises:
        InputError: settings that `check` refuses, an `out` that holds something, an interrupted recording with other
            settings, no policy that succeeds, or a disk error.
    """
    check(recording)
    check_folder(recording.out, DATASET, recording.overwrite)
    staging = recording.out.with_name(recording.out.name + ".recording")
    with disk_errors(staging):
        _claim(staging, recording)
        _film_all(recording, stage, staging)
        _assemble(recording, stage, staging)
        shutil.rmtree(staging)
    return recording.out


def _claim(staging: Path, recording: Recording) -> None:
    """Make the staging folder, or go on with one that was left by a recording with the same pictures."""
    names = ("size", "cameras", "max_steps", "counterfactuals")
    settings = json.dumps({name: getattr(recording, name) for name in names})
    file = staging / "settings.json"
    if file.exists() and file.read_text() != settings:
        raise InputError(f"{staging} holds an interrupted recording with other settings; use those, or remove it")
    staging.mkdir(parents=True, exist_ok=True)
    file.write_text(settings)


def _film_all(recording: Recording, stage: type[Stage], staging: Path) -> None:
    by_task: dict[str, list[Shot]] = {}
    for shot in shots(recording):
        if not _folder(staging, shot).exists():
            by_task.setdefault(shot.task, []).append(shot)
    jobs = [
        _Job(recording, stage, staging, todo[start : start + SHOTS_PER_JOB])
        for todo in by_task.values()
        for start in range(0, len(todo), SHOTS_PER_JOB)
    ]
    spawn = multiprocessing.get_context("spawn")  # a drawing context does not survive a fork
    try:
        with ProcessPoolExecutor(recording.workers, mp_context=spawn, initializer=end_with_parent) as pool:
            list(tqdm(pool.map(_film_shots, jobs), total=len(jobs), desc=f"up to {SHOTS_PER_JOB} episodes each"))
    except BrokenProcessPool as error:
        raise InputError(f"{staging}: a recording process was killed; start again to go on from here") from error


def end_with_parent() -> None:
    """In a worker process: it ends when the process that started it is gone. One that went on after a recording was
    killed would write into the folder of the recording that is started again."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _film_shots(job: _Job) -> None:
    """Record the episodes of one job, in a worker process."""
    stage = job.stage(job.shots[0].task, job.recording.size)
    try:
        for shot in job.shots:
            _film_shot(job, shot, stage)
    finally:
        stage.close()


def _film_shot(job: _Job, shot: Shot, stage: Stage) -> None:
    """Write the episodes of one seed aside and move them in place; without success, that is an empty folder."""
    folder = _folder(job.staging, shot)
    aside = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    recording = job.recording
    for number, take in enumerate(stage.play(shot.seed, recording.max_steps, recording.counterfactuals)):
        place = aside / str(number)
        place.mkdir()
        for camera in recording.cameras:
            crf = LOSSLESS if recording.counterfactuals else CRF
            write_video(place / f"{camera}.mp4", stage.film(take, camera), recording.fps, crf)
        np.savez(place / "columns.npz", **take.columns)
        (place / "take.json").write_text(json.dumps({"sentence": take.sentence, "extra": dict(take.extra)}))
    aside.rename(folder)


def _assemble(recording: Recording, stage: type[Stage], staging: Path) -> None:
    cameras = [CAMERA_PREFIX + camera for camera in recording.cameras]
    writer = LeRobotWriter(
        recording.out,
        recording.fps,
        stage.names,
        cameras,
        robot_type=stage.robot_type,
        layouts=stage.layouts,
        overwrite=recording.overwrite,
    )
    splits: dict[str, tuple[int, int]] = {}
    for shot in tqdm(list(shots(recording)), desc="writing"):
        places = sorted(_folder(staging, shot).iterdir())
        if not places:
            logger.warning("%s, seed %d: the expert did not succeed; left out", shot.task, shot.seed)
        for place in places:
            with np.load(place / "columns.npz") as stored:
                columns = {name: stored[name] for name in stage.names}
            take = json.loads((place / "take.json").read_text())
            videos = {CAMERA_PREFIX + camera: place / f"{camera}.mp4" for camera in recording.cameras}
            index = writer.add_episode(columns, videos, take["sentence"], take["extra"])
            splits[shot.split] = (splits.get(shot.split, (index,))[0], index + 1)
    writer.finish(splits)


def _folder(staging: Path, shot: Shot) -> Path:
    return staging / f"{shot.task}-{shot.seed}"
