"""LeRobot v3.0 datasets: parquet columns, mp4 videos of many episodes each, and a `meta` folder.

Layout: https://github.com/huggingface/lerobot, "LeRobotDataset v3.0". Row k of an episode holds frame k and the
action that leads from frame k to frame k + 1. The frame of a row is the one that its video file shows at
`from_timestamp` of the episode + `timestamp` of the row, as in lerobot.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vgen.checks import show
from vgen.data.lerobot.meta import (
    CAMERA_PREFIX,
    Row,
    choose_split,
    declared_shape,
    file_of,
    number,
    read_episodes,
    read_info,
    read_tasks,
)
from vgen.data.lerobot.pictures import read_picture
from vgen.data.lerobot.rows import Columns, EpisodeRows, open_data_file
from vgen.errors import InputError, unknown_key
from vgen.media.video import open_video
from vgen.notices import warn_once

if TYPE_CHECKING:
    from vgen.data.cache.frames import FrameCache

logger = logging.getLogger(__name__)

DECODED = "decoded"  # folder of a frame cache for each camera whose frames lie in the data set itself
REACH = 0.5  # of a frame: how far from a row's time its frame may be
SLACK = 1e-3  # of a frame: rounding of times that are kept in float32
OFF_RATE = 0.05  # share by which the rows' own rate may differ from what info.json says before that is told


@dataclass(frozen=True)
class Episode:
    """One episode of T frames.

    index: its number in the whole dataset.
    length: T.
    fps: frames per second.
    task: the sentence that says what is done.
    columns: per-frame arrays, [T] or [T, ...] as the dataset declares them, each read when it is asked for.
    extra: what `meta/episodes` says of it beyond the standard (such as its seed).
    """

    index: int
    length: int
    fps: float
    task: str
    columns: Columns
    extra: dict[str, Any]


class LeRobotDataset:
    """Reads one split of a LeRobot v3.0 folder.

    Args:
        path: the dataset folder.
        split: a name in the `splits` of `meta/info.json`.
        indexes: a folder in which the indexes of its videos are kept for the next time; None: in memory alone.

    Raises:
        InputError: not a v3.0 dataset, no such split, or no rate.

    Attributes:
        info: the parsed `meta/info.json`.
        fps: frames per second.
        cameras: feature keys of the videos and of the pictures that are kept in the columns.
    """

    def __init__(self, path: str | Path, split: str = "train", indexes: str | Path | None = None) -> None:
        self.path, self._indexes = Path(path), indexes
        self.info = read_info(self.path)
        self._features: dict[str, dict[str, Any]] = self.info["features"]
        self._pictures = [key for key, feature in self._features.items() if feature.get("dtype") == "image"]
        videos = [key for key, feature in self._features.items() if feature.get("dtype") == "video"]
        self.cameras = [key for key in self._features if key in (*videos, *self._pictures)]
        self._episodes = choose_split(self.info, split, read_episodes(self.path), self.path)
        self.fps = self._rate()
        self._decoded: dict[str, FrameCache | None] = {}

    def __len__(self) -> int:
        return len(self._episodes)

    def episode(self, i: int) -> Episode:
        """Episode i of the split. A column that is broken is refused when it is asked for.

        Raises:
            InputError: i is outside the split, its data file is missing or corrupt, or its rows are not all there.
        """
        row, rows = self._row(i), self._rows(i)
        shapes = {name: declared_shape(feature) for name, feature in self._features.items()}
        columns = Columns(rows, shapes, self._pictures)
        return Episode(row["episode_index"], row["length"], self.fps, self._task(i), columns, self.extra(i))

    def summary(self, i: int) -> tuple[int, int, str]:
        """The number in the whole dataset, the length and the task ("" for none) of episode i of the split, without its
        columns.

        Raises:
            InputError: i is outside the split.
        """
        row = self._row(i)
        return row["episode_index"], row["length"], self._task(i)

    def extra(self, i: int) -> dict[str, Any]:
        """What `meta/episodes` says of episode i of the split beyond the standard.

        Raises:
            InputError: i is outside the split.
        """
        return {key: value for key, value in self._row(i).items() if not _is_standard(key)}

    def camera(self, name: str) -> str:
        """The feature key of a camera, which may be called by what follows "observation.images." in it.

        Raises:
            InputError: no such camera.
        """
        for key in (name, CAMERA_PREFIX + name):
            if key in self.cameras:
                return key
        names = [key.removeprefix(CAMERA_PREFIX) for key in self.cameras]
        raise unknown_key(name.removeprefix(CAMERA_PREFIX), names, f"the cameras of {self.path}")

    def frame_file(self, i: int, camera: str) -> Path:
        """The file that holds the frames of episode i of the split: a video, or a data file with pictures.

        Raises:
            InputError: no such episode or camera, or the data set does not say which file.
        """
        key = self.camera(camera)
        return self.data_file(i) if key in self._pictures else file_of(self.path, self.info, self._row(i), key)

    def start(self, i: int, camera: str) -> float | None:
        """Where episode i of the split begins in the video that holds its frames, in seconds; None of pictures, and
        where the data set does not say.

        Raises:
            InputError: no such episode or camera.
        """
        found = self._row(i).get(f"videos/{self.camera(camera)}/from_timestamp")
        return found if isinstance(found, float) else None

    def data_file(self, i: int) -> Path:
        """The file that holds the columns of episode i of the split.

        Raises:
            InputError: i is outside the split, or the data set does not say which file.
        """
        return file_of(self.path, self.info, self._row(i))

    def frames(self, i: int, camera: str, indices: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """Decode frames of episode i of the split. Safe for several threads.

        Args:
            i: number of the episode in the split.
            camera: a feature key, or what follows "observation.images." in it.
            indices: frame numbers in the episode, in any order; None for all.

        Returns:
            uint8 [T, H, W, 3], RGB.

        Raises:
            InputError: no such episode, camera or frame, a missing or corrupt video, or one that shows no frame within
                half a frame of a row's time.
        """
        row, key = self._row(i), self.camera(camera)
        wanted = np.arange(row["length"]) if indices is None else np.asarray(indices, dtype=np.int64)
        outside = wanted[(wanted < 0) | (wanted >= row["length"])]
        if outside.size:
            last = row["length"] - 1
            raise InputError(f"frame {outside[0]} is not in episode {i} of {self.path}; it has frames 0 to {last}")
        if (decoded := self.decoded(key)) is not None:
            return decoded.read(row["episode_index"], wanted.tolist())
        if key in self._pictures:
            return self._read_pictures(i, key, wanted)
        path = self.frame_file(i, key)
        video = open_video(path, self._indexes)
        return video.read(self._frame_numbers(i, key, wanted, path, video.times))

    def decoded(self, camera: str) -> FrameCache | None:
        """All frames of a camera, of all splits, where they lie decoded in the data set, as `vgen data unpack` makes
        it; otherwise None.

        Raises:
            InputError: no such camera, or they are damaged.
        """
        key = self.camera(camera)
        if key not in self._decoded:
            from vgen.data.cache.frames import LISTING, FrameCache  # late, as that knows data sets

            folder = self.path / DECODED / key.removeprefix(CAMERA_PREFIX)
            self._decoded[key] = FrameCache(folder) if (folder / LISTING).is_file() else None
        return self._decoded[key]

    def _frame_numbers(self, i: int, key: str, wanted: np.ndarray, path: Path, times: np.ndarray) -> np.ndarray:
        """The frames of a file, each shown at its time, that belong to some rows of an episode."""
        start = number(self.path, self._row(i), f"videos/{key}/from_timestamp")
        rows = self._rows(i)
        seconds = start + rows.seconds(self.fps)[wanted]
        after = np.searchsorted(times, seconds).clip(0, len(times) - 1)
        before = np.maximum(after - 1, 0)
        nearest: np.ndarray = np.where(seconds - times[before] <= times[after] - seconds, before, after)
        far = np.flatnonzero(np.abs(times[nearest] - seconds) > (REACH + SLACK) / self.fps)
        if far.size:
            place = far[0]
            raise InputError(
                f"{path}: shows no frame for row {wanted[place]} of episode {rows.number}: that is at "
                f"{seconds[place]:.4f} s, and the nearest frame at {times[nearest[place]]:.4f} s, more than half a "
                f"frame ({REACH / self.fps:.4f} s) away"
            )
        return nearest

    def _read_pictures(self, i: int, key: str, wanted: np.ndarray) -> np.ndarray:
        rows = self._rows(i)
        what = f"{rows.file.path}: episode {rows.number}, column {key}"
        kept = rows.pictures(key, wanted)
        pictures = [read_picture(one, self.path, f"{what}, row {k}") for k, one in zip(wanted, kept, strict=True)]
        sizes = sorted({picture.shape[:2] for picture in pictures})
        if len(sizes) != 1:
            told = ", ".join(f"{height}x{width}" for height, width in sizes) or "none: no frames are asked for"
            raise InputError(f"{what} must hold pictures of one size; it has {told}")
        return np.stack(pictures)

    def _row(self, i: int) -> Row:
        if not 0 <= i < len(self):
            raise InputError(f"episode {i} is not in the split of {self.path}; it has episodes 0 to {len(self) - 1}")
        return self._episodes[i]

    def _rows(self, i: int) -> EpisodeRows:
        row = self._row(i)
        return open_data_file(self.data_file(i)).episode(row["episode_index"], row["length"])

    def _task(self, i: int) -> str:
        """What is done in an episode; "" where the data set does not say."""
        told = self._row(i).get("tasks")
        task = told[0] if isinstance(told, list) and told else told
        if isinstance(task, str) and task:
            return task
        tasks = read_tasks(self.path)
        index = self._rows(i).task_index() if tasks else None
        return "" if index is None else tasks.get(index, "")

    def _rate(self) -> float:
        """Frames per second, as said; where that is no rate, as the first episode has it."""
        said, measured = self.info.get("fps"), self._measured_rate()
        info = f"{self.path}/meta/info.json: fps={show(said)}"
        if isinstance(said, int | float) and not isinstance(said, bool) and math.isfinite(said) and said > 0:
            if measured and abs(measured / said - 1) > OFF_RATE:
                warn_once(
                    logger, f"{info}, and the rows of its first episode are {measured:g} per second; {said:g} is taken"
                )
            return float(said)
        if measured is None:
            raise InputError(f"{info} must be a number above 0, and no timestamp of its first episode tells the rate")
        warn_once(logger, f"{info} is no rate; {measured:g} is taken, as the timestamps of its first episode have it")
        return measured

    def _measured_rate(self) -> float | None:
        try:
            return self._rows(0).rate()
        except InputError:  # told when its rows are asked for
            return None


def _is_standard(key: str) -> bool:
    known = ("episode_index", "tasks", "length", "dataset_from_index", "dataset_to_index")
    return key in known or key.startswith(("data/", "videos/", "meta/", "stats/"))
