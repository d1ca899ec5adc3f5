"""Records Meta-World's shipped experts as a LeRobot v3.0 dataset.

Cameras: `first_person` looks down at the table from where the robot's head is, `eye_in_hand` moves with the gripper,
`third_person` stands at the side. First and third person have a vertical field of view of 45 degrees, eye in hand 90.
Goals are not drawn.
"""

import json
import logging
import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vgen.data.lerobot import CAMERA_PREFIX
from vgen.data.lerobot_writer import LeRobotWriter, check_free, disk_errors
from vgen.data.recorders.metaworld_env import (
    ACTION_NAMES,
    FPS,
    POSE_NAMES,
    STATE_NAMES,
    SawyerXYZEnv,
    Studio,
    make_env,
    roll_out,
)
from vgen.data.recorders.metaworld_plan import Recording, Shot, check, shots
from vgen.data.recorders.metaworld_tasks import SENTENCES
from vgen.data.video import write_video
from vgen.errors import InputError

logger = logging.getLogger(__name__)

NAMES = {"observation.state": STATE_NAMES, "action": ACTION_NAMES, "observation.camera_pose": POSE_NAMES}


@dataclass(frozen=True)
class _Job:
    """The episodes of one task, which share an environment, and where to put them."""

    recording: Recording
    staging: Path
    shots: list[Shot]


def record(recording: Recording) -> Path:
    """Record a dataset; a recording that was broken off goes on where it stopped.

    Finished episodes wait in `<out>.recording`, and the dataset appears at `out` when it is whole. An episode whose
    expert never succeeds is left out, with a warning.

    Returns:
        The dataset folder.

    Raises:
        InputError: settings that `check` refuses, an existing `out`, an interrupted recording with other settings, no
            expert that succeeds, or a disk error.
    """
    check(recording)
    check_free(recording.out)
    staging = recording.out.with_name(recording.out.name + ".recording")
    with disk_errors(staging):
        _claim(staging, recording)
        _film_all(recording, staging)
        _assemble(recording, staging)
        shutil.rmtree(staging)
    return recording.out


def _claim(staging: Path, recording: Recording) -> None:
    """Make the staging folder, or go on with one that was left by a recording with the same pictures."""
    settings = json.dumps(
        {"size": recording.size, "cameras": list(recording.cameras), "max_steps": recording.max_steps}
    )
    file = staging / "settings.json"
    if file.exists() and file.read_text() != settings:
        raise InputError(f"{staging} holds an interrupted recording with other settings; use those, or remove it")
    staging.mkdir(parents=True, exist_ok=True)
    file.write_text(settings)


def _film_all(recording: Recording, staging: Path) -> None:
    by_task = {task: _Job(recording, staging, []) for task in recording.tasks}
    for shot in shots(recording):
        if not _folder(staging, shot).exists():
            by_task[shot.task].shots.append(shot)
    jobs = [job for job in by_task.values() if job.shots]
    spawn = multiprocessing.get_context("spawn")  # a drawing context does not survive a fork
    try:
        with ProcessPoolExecutor(recording.workers, mp_context=spawn) as pool:
            list(tqdm(pool.map(_film_task, jobs), total=len(jobs), desc="tasks"))
    except BrokenProcessPool as error:
        raise InputError(f"{staging}: a recording process was killed; start again to go on from here") from error


def _film_task(job: _Job) -> None:
    """Record the episodes of one task, in a worker process."""
    env = make_env(job.shots[0].task)
    studio = Studio(env, job.recording.size)
    try:
        for shot in job.shots:
            _film_shot(job, shot, env, studio)
    finally:
        studio.close()


def _film_shot(job: _Job, shot: Shot, env: SawyerXYZEnv, studio: Studio) -> None:
    """Write one episode aside and move it in place; an episode without success leaves an empty folder."""
    folder = _folder(job.staging, shot)
    aside = folder.with_name(f"{folder.name}.{os.getpid()}")
    aside.mkdir(exist_ok=True)
    rollout = roll_out(env, shot.task, shot.seed, job.recording.max_steps)
    if rollout is not None:
        for camera in job.recording.cameras:
            write_video(aside / f"{camera}.mp4", studio.film(rollout, camera), FPS)
        pose = studio.pose(rollout, "first_person")
        columns = {"observation.state": rollout.state, "action": rollout.action, "observation.camera_pose": pose}
        np.savez(aside / "columns.npz", noise=rollout.noise, **columns)
    aside.rename(folder)


def _assemble(recording: Recording, staging: Path) -> None:
    cameras = [CAMERA_PREFIX + camera for camera in recording.cameras]
    writer = LeRobotWriter(recording.out, FPS, NAMES, cameras, robot_type="sawyer")
    splits: dict[str, tuple[int, int]] = {}
    for shot in tqdm(list(shots(recording)), desc="episodes"):
        folder = _folder(staging, shot)
        if not (folder / "columns.npz").exists():
            logger.warning("%s, seed %d: the expert did not succeed; left out", shot.task, shot.seed)
            continue
        with np.load(folder / "columns.npz") as stored:
            columns = {name: stored[name] for name in NAMES}
            extra = {"env": shot.task, "seed": shot.seed, "success": True, "noise": float(stored["noise"])}
        videos = {CAMERA_PREFIX + camera: folder / f"{camera}.mp4" for camera in recording.cameras}
        index = writer.add_episode(columns, videos, SENTENCES[shot.task], extra)
        splits[shot.split] = (splits.get(shot.split, (index,))[0], index + 1)
    writer.finish(splits)


def _folder(staging: Path, shot: Shot) -> Path:
    return staging / f"{shot.task}-{shot.seed}"
