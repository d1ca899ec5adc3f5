"""EgoDex (Hoque et al. 2025, arXiv 2505.11709): ARKit poses of hands and camera in HDF5, beside each video."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vgen.checks import show
from vgen.errors import InputError, unknown_key
from vgen.sources.reading.frames import VideoFrames
from vgen.sources.reading.hand_columns import (
    COLUMNS,
    CONVENTIONS,
    HANDS,
    LAYOUTS,
    hand_columns,
    into_camera,
    rigid,
    seen_counts,
)
from vgen.sources.source import Episode, LeftOut, Reading, Source, Take

CAMERA_NAME = "ego"
CONFIDENCE = "observation.confidence"
PARTS = {"test": "test", "extra": "train"} | {f"part{number}": "train" for number in range(1, 6)}
"""The folders of the makers' archives, and the split that each is."""
_CHAIN = ("Knuckle", "IntermediateBase", "IntermediateTip", "Tip")
_FINGERS = ("Thumb", "IndexFinger", "MiddleFinger", "RingFinger", "LittleFinger")
JOINTS = ("Hand", *(f"{finger}{joint}" for finger in _FINGERS for joint in _CHAIN))
"""ARKit's joints in MediaPipe's order, without the hand. Its metacarpals, which lie in the palm, have no keypoint."""
FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


class EgoDexSource(Source):
    """Takes are pairs N.hdf5 and N.mp4 in a folder of their task, below the folders of the archives or not."""

    options: ClassVar[Mapping[str, str]] = {
        "confidence": "a hand is seen where the mean of its joints' confidences is this or more (default 0.5)",
    }

    conventions: Mapping[str, str] = {
        **CONVENTIONS,
        CONFIDENCE: "mean of ARKit's confidences of the 21 joints of a hand, 0 to 1; NaN where the file has none",
    }

    def __init__(self, reading: Reading) -> None:
        self.columns: Mapping[str, Sequence[str]] = {**COLUMNS, CONFIDENCE: HANDS}
        self.layouts, self.cameras, self.fps, self.robot_type = LAYOUTS, (CAMERA_NAME,), 30, "human hands"
        self._folder, self._least = reading.folder, _share(reading.more.get("confidence", "0.5"))
        for camera in reading.cameras:
            if camera != CAMERA_NAME:
                raise unknown_key(camera, self.cameras, "the cameras of EgoDex")
        self._files = sorted(reading.folder.rglob("*.hdf5"))
        if not self._files:
            raise InputError(f"{reading.folder} has no TASK/N.hdf5; give the folder that EgoDex was unpacked in")

    def takes(self) -> Sequence[Take]:
        """A take for each HDF5 file, even if its video is missing. Every file is opened, for its session's name."""
        return [self._take(path) for path in self._files]

    def _take(self, path: Path) -> Take:
        inside = path.relative_to(self._folder)
        split = next((PARTS[part] for part in inside.parts if part in PARTS), PARTS.get(self._folder.name))
        try:
            with _opened(path) as file:
                session = _text(file.attrs, "session_name")
        except LeftOut:
            session = ""
        return Take(inside.with_suffix("").as_posix(), session or path.parent.name, str(path), split)

    def read(self, take: Take) -> Episode:
        """Poses, and frames of the video. Rows of low confidence are marked as not seen, camera axes are checked."""
        path = Path(str(take.place))
        with _opened(path) as file:
            camera = _poses(file, "camera")
            world = _points(file, len(camera))
            confidence = _confidence(file, len(camera))
            intrinsics = _intrinsics(file)
            sentence = _sentence(file.attrs, path.parent.name)
            extra = {"task": path.parent.name, "session": _text(file.attrs, "session_name")}
        frames = VideoFrames(path.with_suffix(".mp4"))
        if len(frames) != len(camera):
            raise LeftOut(f"its video and its poses differ in length: {len(frames)} frames, {len(camera)} poses")
        whole = rigid(camera)
        camera[~whole] = np.nan
        mended = Counter({"rows whose camera is not known": int((~whole).sum())})
        seen = np.isfinite(world).all(axis=(2, 3)) & (np.nan_to_num(confidence, nan=1) >= self._least).T
        points = into_camera(world, camera)
        if _looks_back(points, seen & whole):
            camera = camera @ FLIP
            points = into_camera(world, camera)
            mended["rows whose camera axes were turned from ARKit's (x right, y up, z back)"] = len(camera)
        columns = hand_columns(points, seen, camera, intrinsics)
        if not (columns["observation.keypoints"][:, -2:] > 0.5).any():
            raise LeftOut("no hand is seen in it")
        columns[CONFIDENCE] = confidence.astype(np.float32)
        return Episode(columns, {CAMERA_NAME: frames}, sentence, extra, {**+mended, **seen_counts(columns)})


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The HDF5 file; whatever is wrong with it leaves the take out."""
    import h5py  # of the extra "egodex"

    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise LeftOut(f"its poses cannot be read: {path.name}: {' '.join(str(error).split())}") from error


def _share(value: str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = np.nan
    if not 0 <= share <= 1:
        raise InputError(f"confidence={show(value)} is no share; give a number from 0 to 1, such as 0.5")
    return share


def _poses(file: Any, name: str) -> np.ndarray:
    poses = np.asarray(file[f"transforms/{name}"], dtype=np.float64)
    if poses.ndim != 3 or poses.shape[1:] != (4, 4):
        raise ValueError(f"transforms/{name} is {list(poses.shape)}, not [T, 4, 4]")
    return poses


def _points(file: Any, rows: int) -> np.ndarray:
    """Float64 [2, T, 21, 3], left then right hand, in the world of ARKit."""
    points = np.empty((2, rows, len(JOINTS), 3))
    for hand, name in enumerate(HANDS):
        for joint, part in enumerate(JOINTS):
            points[hand, :, joint] = _poses(file, f"{name}{part}")[:, :3, 3]
    return points


def _confidence(file: Any, rows: int) -> np.ndarray:
    """Float64 [T, 2], the mean over the joints of each hand; NaN where the file has none, as older ones do."""
    if "confidences" not in file:
        return np.full((rows, 2), np.nan)
    sums = np.zeros((rows, 2))
    for hand, name in enumerate(HANDS):
        for part in JOINTS:
            sums[:, hand] += np.nan_to_num(np.asarray(file[f"confidences/{name}{part}"], dtype=np.float64))
    return sums / len(JOINTS)


def _intrinsics(file: Any) -> np.ndarray:
    matrix = np.asarray(file["camera/intrinsic"], dtype=np.float64)
    if matrix.shape != (3, 3):
        raise ValueError(f"camera/intrinsic is {list(matrix.shape)}, not [3, 3]")
    return matrix[[0, 1, 0, 1], [0, 1, 2, 2]]


def _looks_back(points: np.ndarray, seen: np.ndarray) -> bool:
    """Whether most hands lie behind the camera, as they do where it has ARKit's axes: z is then to the back."""
    wrists = points[:, :, 0, 2][seen]
    return bool(wrists.size) and bool(np.median(wrists) < 0)


def _sentence(attributes: Any, task: str) -> str:
    """The description of what is done: of a task that can be undone, that of the direction; or the task's name."""
    second = _text(attributes, "llm_type") == "reversible" and _text(attributes, "which_llm_description") == "2"
    names = ("llm_description2", "description2") if second else ("llm_description", "description")
    return next((text for text in (_text(attributes, name) for name in names) if text), task.replace("_", " "))


def _text(attributes: Any, name: str) -> str:
    value = attributes.get(name, "")
    return (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).strip()
