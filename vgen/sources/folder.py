"""A folder of videos with a trajectory beside each: NAME.mp4 and NAME.csv, NAME.npz or NAME.json."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from vgen.checks import show
from vgen.data.videos.captions import METADATA, Captioned, beside, list_videos
from vgen.data.videos.folders import find_files
from vgen.errors import InputError, unknown_key
from vgen.media.video import VIDEO_SUFFIXES, VideoInfo, open_video
from vgen.notices import warn_once
from vgen.sources.reading.csv_trajectory import layout_in, read_csv
from vgen.sources.reading.frames import VideoFrames, nearest
from vgen.sources.source import Episode, LeftOut, Reading, Source, Take
from vgen.trajectory.convert import resample
from vgen.trajectory.files import TrajectoryFile, read_trajectory
from vgen.trajectory.layouts import find_layout
from vgen.trajectory.trajectory import Trajectory
from vgen.trajectory.units import LENGTH_UNITS, TIME_UNITS, check_level

logger = logging.getLogger(__name__)

STATE, CAMERA = "observation.state", "view"
TRAJECTORIES = (".csv", ".json", ".npz")
SAME_RATE = 0.005  # share by which a steady video's rate may differ from the data set's: 29.97 is 30
LONG_GAP, GAP_STEPS = 0.25, 5  # seconds, and usual steps: over a longer gap nothing is known
TOO_LONG = 20  # times the video: what a trajectory cannot last in the same unit
FARTHEST, LARGEST_SHARE = 50.0, 2.0  # in metres, and in shares of the image: beyond lies another unit
OFF_LENGTH, OFF_SECONDS = 0.02, 0.25  # share of a video, and time, by which a trajectory may last longer or shorter
LOOKED_AT = 20  # takes, for what the source as a whole is

REPEATED = "frames shown again, as the video has fewer in a second"
RETIMED = "rows at a rate that is told as the nearest whole one"
UNCOVERED = "frames that the trajectory does not reach, cut off"
DRIFT = "takes whose trajectory and video differ in length by more than 2 %, as where clocks drift (told, not mended)"
GAPS = "rows in gaps of the trajectory, not valid"


class FolderSource(Source):
    """Videos in a folder and its subfolders, each with a file of the same name that holds its trajectory."""

    options: ClassVar = {"delay": "seconds by which the trajectories are late, taken from their times (default: 0)"}

    def __init__(self, reading: Reading) -> None:
        self._folder = reading.folder
        for camera in reading.cameras:
            if camera != CAMERA:
                raise unknown_key(camera, [CAMERA], "the cameras of a folder of videos")
        self._delay = _seconds(reading.more.get("delay", "0"))
        self._videos = _list(reading.folder)
        self._beside: dict[str, list[Path]] = {}
        for name, path in find_files(reading.folder, TRAJECTORIES).items():
            self._beside.setdefault(beside(name), []).append(path)
        self._tell_alone()
        layout = reading.layout or self._layout()
        self.fps = reading.fps or self._rate()
        self.columns, self.layouts = {STATE: find_layout(layout).names}, {STATE: layout}
        self.cameras, self.robot_type = [CAMERA], "hand"

    def takes(self) -> Sequence[Take]:
        """All videos. Their groups are those of a column `group` in metadata.csv, or their folders; each of those that
        lie in the folder itself is a group of its own."""
        takes: dict[str, Take] = {}
        paths: dict[str, Path] = {}
        for video in self._videos:
            name = video.name.rpartition(".")[0]
            if name in takes:
                both = f"{paths[name].name} and {video.path.name}"
                raise InputError(f"{self._folder}: two videos are called {name}: {both}; rename one")
            paths[name] = video.path
            takes[name] = Take(name, _group(video) or name, video)
        if len(takes) > 1 and not any(map(_group, self._videos)):
            warn_once(
                logger,
                f"{self._folder}: each video counts as a scene of its own; put those of one scene into a folder, or "
                "name their scene in a column group of metadata.csv",
            )
        return list(takes.values())

    def read(self, take: Take) -> Episode:
        """A video, and its trajectory at the times of its frames."""
        video = take.place
        assert isinstance(video, Captioned)
        if video.fault:
            raise LeftOut(f"its caption cannot be read: {video.fault}")
        every = VideoFrames(video.path)
        info = open_video(video.path).info
        trajectory = self._trajectory(video, every)
        numbers, times, mended = _rows(every, info, trajectory, self.fps)
        reached = trajectory.times[[0, -1]]
        rows = resample(trajectory, times.clip(*reached))
        gap = _in_gap(trajectory, times) & rows.valid
        values = np.where((rows.valid & ~gap)[:, None], rows.values, np.nan).astype(np.float32)
        return Episode(
            {STATE: values},
            {CAMERA: VideoFrames(video.path, numbers)},
            video.caption,
            mended=mended | {GAPS: int(gap.sum()), DRIFT: _off_length(trajectory, every)},
        )

    def _trajectory(self, video: Captioned, frames: VideoFrames) -> Trajectory:
        layout = self.layouts[STATE]
        path = self._trajectory_file(video)
        if path.suffix.lower() == ".csv":
            trajectory = read_csv(path, layout, frames.times)
        else:
            trajectory = read_trajectory(TrajectoryFile(path, layout))
        if trajectory.form != "absolute":
            raise LeftOut(f"its trajectory is of another form than the data set: {trajectory.form}, not absolute")
        if self._delay:
            trajectory = replace(trajectory, times=trajectory.times - self._delay)
        _check_times(trajectory, frames)
        _check_units(trajectory)
        return trajectory

    def _trajectory_file(self, video: Captioned) -> Path:
        found = self._beside.get(beside(video.name), [])
        stem = video.path.stem
        if not found:
            raise LeftOut(f"there is no trajectory beside it: no {' or '.join(stem + end for end in TRAJECTORIES)}")
        if len(found) > 1:
            raise LeftOut(f"there are several trajectories beside it: {', '.join(path.name for path in found)}")
        return found[0]

    def _tell_alone(self) -> None:
        """Says which files would be trajectories and have no video."""
        videos = set(map(beside, find_files(self._folder, VIDEO_SUFFIXES)))
        alone = [path.name for name, paths in self._beside.items() if name not in videos for path in paths]
        if alone := [name for name in alone if name not in METADATA]:
            told = ", ".join(map(show, alone[:3])) + (", …" if len(alone) > 3 else "")
            warn_once(logger, f"{self._folder}: not used, as no video of the same name lies beside: {told}")

    def _layout(self) -> str:
        """The layout of the first trajectory that can be read."""
        problem: Exception | None = None
        for video in self._videos[:LOOKED_AT]:
            try:
                path = self._trajectory_file(video)
                return layout_in(path) if path.suffix.lower() == ".csv" else read_trajectory(path).layout
            except (InputError, LeftOut) as error:
                problem = problem or error
        if isinstance(problem, InputError):
            raise problem
        first = self._videos[0].name
        raise InputError(f"{self._folder}: no layout is known, as of {first}: {problem}; name one with --layout")

    def _rate(self) -> int:
        """The rate of the first video that can be read, as a whole number."""
        problem: Exception | None = None
        for video in self._videos[:LOOKED_AT]:
            try:
                return max(1, round(open_video(video.path).info.fps))
            except InputError as error:
                problem = problem or error
        raise InputError(f"{self._folder}: none of the first {LOOKED_AT} videos can be read: {problem}")


def _list(folder: Path) -> list[Captioned]:
    """The videos of a folder with their captions.

    Raises:
        InputError: there is none.
    """
    tables = [folder / name for name in METADATA if (folder / name).is_file()]
    if not tables and not find_files(folder, VIDEO_SUFFIXES):
        kinds = Counter(path.suffix.lower() for path in folder.rglob("*") if path.is_file())
        held = ", ".join(f"{count} {kind or 'files without a suffix'}" for kind, count in kinds.most_common(3))
        rule = f"it needs {', '.join(sorted(VIDEO_SUFFIXES)[:4])} or another, with NAME.csv, .npz or .json beside NAME"
        raise InputError(f"{folder} holds no video ({held or 'nothing at all'}); {rule}")
    return list_videos(folder, tables[0] if tables else None, tell_tables=False)


def _group(video: Captioned) -> str:
    """The scene of a video, as metadata.csv or its folder says it; "" where neither does."""
    told = next((value for name, value in video.row.items() if str(name).strip().lower() == "group"), None)
    return (str(told).strip() if told else "") or video.name.rpartition("/")[0]


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not abs(seconds) <= 60:
        raise InputError(f"delay={show(text)} is not a number of seconds from -60 to 60, such as delay=0.12")
    return seconds


def _rows(
    frames: VideoFrames, info: VideoInfo, trajectory: Trajectory, fps: int
) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Which frames become rows, at which times the trajectory is told of, and what was done.

    A steady video of the wanted rate gives its frames one by one; of another one, those nearest to even times.

    Raises:
        LeftOut: the trajectory reaches none of them.
    """
    first, last = trajectory.times[[0, -1]]
    half = 0.5 / max(info.fps, fps)
    same = info.steady and abs(info.fps - fps) <= SAME_RATE * fps
    if same:
        numbers = np.flatnonzero((frames.times >= first - half) & (frames.times <= last + half))
        times = frames.times[numbers]
        retimed = len(numbers) if abs(info.fps - fps) > 1e-3 * fps / 2 else 0
        mended = {RETIMED: retimed, UNCOVERED: len(frames) - len(numbers)}
    else:
        start = math.ceil((max(first, 0.0) - half) * fps)
        count = math.floor((min(last + half, frames.times[-1] + half)) * fps) - start + 1
        times = (start + np.arange(max(count, 0))) / fps
        numbers = nearest(frames.times, times)
        reached = int(((frames.times >= first - half) & (frames.times <= last + half)).sum())
        mended = {REPEATED: len(numbers) - len(np.unique(numbers)), UNCOVERED: len(frames) - reached}
    if len(numbers) < 2:
        span = f"{first:.2f} to {last:.2f} s and 0 to {frames.end:.2f} s"
        raise LeftOut(f"its trajectory and its video have no time in common: {span}")
    return numbers, times, mended


def _off_length(trajectory: Trajectory, frames: VideoFrames) -> bool:
    """Whether a trajectory that begins with its video lasts plainly longer or shorter."""
    off = abs(trajectory.times[-1] - frames.times[-1])
    return bool(off > max(OFF_SECONDS, OFF_LENGTH * frames.end) and trajectory.times[0] <= OFF_SECONDS)


def _in_gap(trajectory: Trajectory, times: np.ndarray) -> np.ndarray:
    """Whether some times lie between two rows that are far apart, bool [K]."""
    steps = np.diff(trajectory.times)
    if not steps.size:
        return np.zeros(len(times), bool)
    after = np.searchsorted(trajectory.times, times).clip(1, len(steps))
    within = np.minimum(times - trajectory.times[after - 1], trajectory.times[after] - times) > 1e-6
    inside: np.ndarray = within & (steps[after - 1] > max(LONG_GAP, GAP_STEPS * float(np.median(steps))))
    return inside


def _check_times(trajectory: Trajectory, frames: VideoFrames) -> None:
    """Refuses times that are no seconds of the video.

    Raises:
        LeftOut: they are in another unit, or numbers of frames.
    """
    first, last = trajectory.times[[0, -1]]
    span, steps = last - first, np.diff(trajectory.times)
    if span > TOO_LONG * frames.end:
        unit = min(TIME_UNITS, key=lambda name: abs(math.log(span / frames.end / TIME_UNITS[name])))
        told = f"they last {span:.6g} and the video {frames.end:.2f} s"
        counted = (steps == 1).all() and last < len(frames)
        rule = "if they are numbers of frames, call their column frame" if counted else f"are they {unit}?"
        raise LeftOut(f"the times of its trajectory are no seconds: {told}; {rule}")
    if len(steps) > 1 and (steps == 1).all() and last == len(frames) - 1 and len(frames) > 2 * frames.end:
        raise LeftOut(f"the times of its trajectory are numbers of frames: 0 to {last:g}; call their column frame")


def _check_units(trajectory: Trajectory) -> None:
    """Refuses values that cannot be in the unit of their column.

    Raises:
        LeftOut, InputError: they are not.
    """
    rows = trajectory.values[trajectory.valid]
    if not rows.size:
        raise LeftOut("no row of its trajectory is valid")
    for part, where in trajectory.spec.slices():
        values = rows[:, where]
        if part.type in ("level", "flag"):
            check_level(part.columns[0], values)
        for column, most in zip(part.columns, np.abs(values).max(0), strict=True):
            if column.unit == "m" and most > FARTHEST:
                rule = f"divide by what a metre has of its unit ({', '.join(LENGTH_UNITS)})"
                raise LeftOut(f"its trajectory is not in metres: {column.name} reaches {most:.4g}; {rule}")
            if column.unit.startswith("share") and most > LARGEST_SHARE:
                rule = "divide by the height or the width of the image"
                raise LeftOut(
                    f"its boxes are in pixels, not in shares of the image: {column.name} is {most:.4g}; {rule}"
                )
