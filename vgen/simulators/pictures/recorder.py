"""Records pictures in motion as a LeRobot v3.0 data set, in several processes, and goes on where it was broken off."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from vgen.checks import show
from vgen.data.lerobot.meta import CAMERA_PREFIX
from vgen.data.lerobot.staging import add_episode, alone, claim, count_in, worker_pool, write_episode
from vgen.data.lerobot.writer import LeRobotWriter, disk_errors
from vgen.errors import InputError
from vgen.files import named, replaced_folder
from vgen.media.writing import write_video
from vgen.results import DATASET, check_folder
from vgen.simulators.pictures.clips import NAMES, make_clip
from vgen.simulators.pictures.opencv import cv2
from vgen.simulators.pictures.photographs import Pictures, prepare
from vgen.simulators.pictures.scenery import Scenery
from vgen.simulators.pictures.settings import PicturesRecording, check

VIEW = "view"
CAMERA = CAMERA_PREFIX + VIEW
CLIPS_PER_JOB = 10
SETTINGS = ("size", "frames", "fps", "seed", "photos")  # what the pictures of a recording depend on


@dataclass(frozen=True)
class _Job:
    """Clips of one split, and where to put them."""

    recording: PicturesRecording
    pictures: Pictures
    staging: Path
    numbers: Sequence[int]


def record(recording: PicturesRecording) -> Path:
    """Record a data set; a recording that was broken off goes on where it stopped.

    Finished clips wait in `<out>.recording`, and the data set appears at `out` when it is whole.

    Returns:
        The data set's folder.

    Raises:
        InputError: settings that `check` refuses, a folder without photographs, an `out` that holds something, an
            interrupted recording with other settings, or a folder that cannot be written to.
        TryAgain: the disk is full.
    """
    check(recording)
    check_folder(recording.out, DATASET, recording.overwrite)
    out = named(recording.out)
    staging = out.with_name(out.name + ".recording")
    with disk_errors(staging), alone(staging):
        _record_all(recording, staging)
        _assemble(recording, staging)
        shutil.rmtree(staging)
    return recording.out


def _record_all(recording: PicturesRecording, staging: Path) -> None:
    with worker_pool(recording.workers, staging) as pool:
        pictures = _pictures(recording, pool)
        claim(staging, {name: str(getattr(recording, name)) for name in SETTINGS})
        jobs = []
        for split, of_split in pictures.items():
            todo = [n for part, n in recording.numbers() if part == split and not _folder(staging, n).exists()]
            starts = range(0, len(todo), CLIPS_PER_JOB)
            jobs += [_Job(recording, of_split, staging, todo[start : start + CLIPS_PER_JOB]) for start in starts]
        list(tqdm(pool.map(_record_clips, jobs), total=len(jobs), desc=f"up to {CLIPS_PER_JOB} clips each"))


def _pictures(recording: PicturesRecording, pool: Executor) -> dict[str, Pictures]:
    """The photographs and objects of each split that is recorded.

    Raises:
        InputError: a split has none.
    """
    splits = dict.fromkeys(split for split, _ in recording.numbers())
    if recording.photos is None:
        return {split: Pictures([], []) for split in splits}
    found = prepare(recording.photos, recording.cache, pool)
    chosen = {split: found.of(held_out=split == "test") for split in splits}
    for split, of_split in chosen.items():
        if not of_split.photographs and (found.photographs or not of_split.objects):
            usable = len(found.photographs) + len(found.objects)
            where = f"photos={show(recording.photos)} has {usable} pictures that can be used"
            raise InputError(f"{where}, none of them for the split {split}; name a folder with more, or leave it out")
    return chosen


def _record_clips(job: _Job) -> None:
    """Record the clips of one job, in a worker process, each whole or not at all."""
    recording = job.recording
    cv2.setNumThreads(1)  # there is a process per core
    scenery = Scenery(job.pictures.photographs, recording.height_width, job.pictures.objects)
    for number in job.numbers:
        clip = make_clip(scenery, recording.seed, number, recording.frames)
        with replaced_folder(_folder(job.staging, number)) as part:
            part.mkdir()
            write_video(part / f"{VIEW}.mp4", clip.frames, recording.fps)
            write_episode(part, clip.columns, clip.caption, clip.about)


def _assemble(recording: PicturesRecording, staging: Path) -> None:
    writer = LeRobotWriter(recording.out, recording.fps, NAMES, [CAMERA], overwrite=recording.overwrite)
    splits: dict[str, tuple[int, int]] = {}
    for split, number in tqdm(list(recording.numbers()), desc="writing"):
        count_in(splits, split, add_episode(writer, _folder(staging, number), list(NAMES), [VIEW]))
    writer.finish(splits)


def _folder(staging: Path, number: int) -> Path:
    return staging / f"clip-{number}"
