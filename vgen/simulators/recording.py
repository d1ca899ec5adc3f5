"""Records a simulator as a LeRobot v3.0 dataset, in several processes, and goes on where it was broken off."""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vgen.data.lerobot.meta import CAMERA_PREFIX
from vgen.data.lerobot.staging import add_episode, alone, claim, count_in, worker_pool, write_episode
from vgen.data.lerobot.writer import LeRobotWriter, disk_errors
from vgen.files import named, replaced_folder
from vgen.media.writing import CRF, write_video
from vgen.results import DATASET, check_folder
from vgen.simulators.recorder import TaskRecorder
from vgen.simulators.settings import EpisodeSeed, Recording, check, episode_seeds

logger = logging.getLogger(__name__)

LOSSLESS = 0  # of counterfactuals: what comes after a frame must leave no trace in it
SETTINGS = ("size", "cameras", "max_steps", "counterfactuals")  # what the pictures of a recording depend on
SEEDS_PER_JOB = 20  # share an environment, whose making takes seconds


@dataclass(frozen=True)
class _Job:
    """Seeds of one task, which share an environment, and where to put their episodes."""

    recording: Recording
    recorder: type[TaskRecorder[Any]]
    staging: Path
    seeds: list[EpisodeSeed]


def record(recording: Recording, recorder: type[TaskRecorder[Any]]) -> Path:
    """Record a dataset; a recording that was broken off goes on where it stopped.

    Finished episodes wait in `<out>.recording`, and the dataset appears at `out` when it is whole. A seed whose
    scripted policy never succeeds is left out, with a warning.

    Returns:
        The dataset folder.

    Raises:
        InputError: settings that `check` refuses, an `out` that holds something, an interrupted recording with other
            settings, no policy that succeeds, or a folder that cannot be written to.
        TryAgain: the disk is full.
    """
    check(recording)
    check_folder(recording.out, DATASET, recording.overwrite)
    out = named(recording.out)
    staging = out.with_name(out.name + ".recording")
    with disk_errors(staging), alone(staging):
        settings = {name: getattr(recording, name) for name in SETTINGS}
        claim(staging, settings | {"columns": list(recorder.names)})
        _record_all(recording, recorder, staging)
        _assemble(recording, recorder, staging)
        shutil.rmtree(staging)
    return recording.out


def _record_all(recording: Recording, recorder: type[TaskRecorder[Any]], staging: Path) -> None:
    by_task: dict[str, list[EpisodeSeed]] = {}
    for seed in episode_seeds(recording):
        if not _folder(staging, seed).exists():
            by_task.setdefault(seed.task, []).append(seed)
    jobs = [
        _Job(recording, recorder, staging, todo[start : start + SEEDS_PER_JOB])
        for todo in by_task.values()
        for start in range(0, len(todo), SEEDS_PER_JOB)
    ]
    with worker_pool(recording.workers, staging) as pool:
        list(tqdm(pool.map(_record_seeds, jobs), total=len(jobs), desc=f"up to {SEEDS_PER_JOB} episodes each"))


def _record_seeds(job: _Job) -> None:
    """Record the episodes of one job, in a worker process."""
    recorder = job.recorder(job.seeds[0].task, job.recording.size)
    try:
        for seed in job.seeds:
            _record_seed(job, seed, recorder)
    finally:
        recorder.close()


def _record_seed(job: _Job, seed: EpisodeSeed, recorder: TaskRecorder[Any]) -> None:
    """Write the episodes of one seed, whole or not at all; without success, that is an empty folder."""
    recording = job.recording
    with replaced_folder(_folder(job.staging, seed)) as part:
        part.mkdir()
        episodes = recorder.simulate(
            seed.seed, recording.max_steps, recording.counterfactuals, seed.look, recording.cameras
        )
        for number, episode in enumerate(episodes):
            place = part / str(number)
            place.mkdir()
            for camera in recording.cameras:
                crf = LOSSLESS if recording.counterfactuals else CRF
                write_video(place / f"{camera}.mp4", recorder.render(episode, camera), recording.fps, crf)
            write_episode(place, episode.columns, episode.sentence, episode.extra)


def _assemble(recording: Recording, recorder: type[TaskRecorder[Any]], staging: Path) -> None:
    cameras = [CAMERA_PREFIX + camera for camera in recording.cameras]
    writer = LeRobotWriter(
        recording.out,
        recording.fps,
        recorder.names,
        cameras,
        robot_type=recorder.robot_type,
        layouts=recorder.layouts,
        overwrite=recording.overwrite,
    )
    splits: dict[str, tuple[int, int]] = {}
    for seed in tqdm(list(episode_seeds(recording)), desc="writing"):
        places = sorted(_folder(staging, seed).iterdir())
        if not places:
            logger.warning("%s, seed %d: the expert did not succeed; left out", seed.task, seed.seed)
        for place in places:
            count_in(splits, seed.split, add_episode(writer, place, list(recorder.names), recording.cameras))
    writer.finish(splits)


def _folder(staging: Path, seed: EpisodeSeed) -> Path:
    return staging / (f"{seed.task}-{seed.seed}" + (f"-look{seed.look}" if seed.look else ""))
