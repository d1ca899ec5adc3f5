"""Where clips are cut from: the videos of a folder, or one camera of the episodes of a LeRobot data set."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from vgen import checks
from vgen.data.footage import even_frames, even_length, reason_of
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.data.lerobot.meta import CAMERA_PREFIX
from vgen.data.videos.captions import Captioned, list_videos
from vgen.errors import InputError
from vgen.files import file_sha256
from vgen.media.image import cover
from vgen.media.video import open_video

AT_ONCE = 16  # frames that are held as large as they were recorded
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recording:
    """A video that clips may be cut from.

    Attributes:
        name: Its name in the folder, or its episode.
        caption: What it shows; "" where nobody has said.
        facts: Its frames and its frames per second, which may take as long as reading the file; raises InputError.
        read_frames: uint8 `[K, H, W, 3]` of the numbered frames; raises InputError.
        file: The one that holds it.
    """

    name: str
    caption: str
    facts: Callable[[], tuple[int, float]]
    read_frames: Callable[[Sequence[int]], np.ndarray]
    file: Path

    @property
    def sha256(self) -> str:
        """Of its file. Raises: InputError."""
        return _sha256(self.file)

    def read(self, frames: Sequence[int], size: tuple[int, int]) -> np.ndarray:
        """Numbered frames, cropped to cover (H, W): uint8 `[K, H, W, 3]`. Raises: InputError."""
        parts = [frames[start : start + AT_ONCE] for start in range(0, len(frames), AT_ONCE)]
        return np.concatenate([cover(self.read_frames(part), size) for part in parts])


def find_recordings(
    videos: Path, captions: Path | None = None, camera: str | None = None, split: str | None = None
) -> list[Recording]:
    """All of a folder of videos, by name, or of a LeRobot data set, by number.

    Args:
        videos: the folder.
        captions: a CSV or JSONL file of a folder of videos; see `list_videos`.
        camera: of a data set; may be left out where it has one.
        split: of a data set; None: test.

    Raises:
        InputError: there is no such folder, no video in it, or an option does not belong to its kind.
    """
    if not videos.is_dir():
        raise InputError(f"--videos {checks.show(videos)} is no folder; name a folder of videos or a LeRobot data set")
    if (videos / "meta" / "info.json").is_file():
        if captions:
            raise InputError(f"--captions is of a folder of videos, and {videos} is a LeRobot data set; leave it out")
        return _of_dataset(LeRobotDataset(videos, split or "test"), camera)
    for name, value in (("--camera", camera), ("--split", split)):
        if value is not None:
            raise InputError(f"{name} is of a LeRobot data set, and {videos} is a folder of videos; leave it out")
    listed = list_videos(videos, captions)
    for video in listed:
        if video.fault:
            logger.warning("%s has no caption: %s", video.name, video.fault)
    return [_of_file(video) for video in listed]


def by_turns(recordings: Sequence[Recording], seed: int) -> list[Recording]:
    """The same in an order that is drawn, and in which captions take turns: the first of each, the second of each."""
    drawn = [recordings[place] for place in np.random.default_rng(seed).permutation(len(recordings))]
    seen: dict[str, int] = defaultdict(int)
    turns = []
    for recording in drawn:
        turns.append(seen[recording.caption])
        seen[recording.caption] += 1
    return [drawn[place] for place in np.argsort(turns, kind="stable")]


def _of_file(video: Captioned) -> Recording:
    def facts() -> tuple[int, float]:
        try:
            file = open_video(video.path)
        except InputError as error:
            raise InputError(reason_of(error, video.path)) from error
        return even_length(file), file.info.fps

    def read(frames: Sequence[int]) -> np.ndarray:
        file = open_video(video.path)
        return file.read(even_frames(file, frames))

    return Recording(video.name, video.caption, facts, read, video.path)


def _of_dataset(dataset: LeRobotDataset, camera: str | None) -> list[Recording]:
    names = [key.removeprefix(CAMERA_PREFIX) for key in dataset.cameras]
    if camera is None and len(names) != 1:
        raise InputError(f"{dataset.path} has {len(names)} cameras; choose one with --camera: {', '.join(names)}")
    return list(_episodes(dataset, dataset.camera(camera or names[0])))


def _episodes(dataset: LeRobotDataset, camera: str) -> Iterator[Recording]:
    for number in range(len(dataset)):
        index, length, task = dataset.summary(number)

        def facts(length: int = length) -> tuple[int, float]:
            return length, dataset.fps

        def read(frames: Sequence[int], number: int = number) -> np.ndarray:
            return dataset.frames(number, camera, frames)

        file = dataset.frame_file(number, camera)
        held = file if file.is_file() else dataset.data_file(number)  # of frames that lie decoded there is no video
        yield Recording(f"episode {index}", task, facts, read, held)


@lru_cache(maxsize=4096)
def _sha256(file: Path) -> str:
    """Of a file, which may hold many episodes."""
    return file_sha256(file)
