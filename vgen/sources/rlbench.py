"""RLBench (James et al. 2020, arXiv 1909.12271): pickles of demonstrations and PNG files, of five cameras."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
from scipy.spatial.transform import Rotation

from vgen.errors import InputError, unknown_key
from vgen.sources.reading.asked import of_all, only_layout, option, sample
from vgen.sources.reading.frames import numbered_frames
from vgen.sources.reading.unpickle import read_pickle
from vgen.sources.source import Episode, LeftOut, Reading, Source, Take
from vgen.trajectory.conventions import pose7_from_rlbench
from vgen.trajectory.layouts import find_layout

EPISODE, VARIATION = re.compile(r"episode\d+"), re.compile(r"variation(\d+)")
RGB = "_rgb"
PACKAGES = ("rlbench", "pyrep")
FPS = 20  # `_DT` of rlbench/task_environment.py: 0.05 s
STATE, POSE, INTRINSICS = "observation.state", "observation.camera_pose", "observation.intrinsics"
POSE_NAMES = ("x", "y", "z", "qw", "qx", "qy", "qz")
RIGID = 1e-3  # how far a matrix may be from a rotation
NO_POSE = "rows without a pose: its quaternion is of no length, or a value is not finite"
NO_CAMERA = "rows without the place of a camera"


class RLBenchSource(Source):
    """Takes are the folders TASK/variationN/episodes/episodeN (or TASK/all_variations/…) of the makers' generator."""

    options: ClassVar[Mapping[str, str]] = {
        "by": "what is kept together in one split: variation (of a task; default) or task",
    }

    def __init__(self, reading: Reading) -> None:
        only_layout(reading, "pose7", "rlbench")
        self._folder, self._by = reading.folder, option(reading, "by", ("variation", "task"))
        self._paths = sorted(_folders(reading.folder))
        if not self._paths:
            raise InputError(f"{reading.folder} has no TASK/variationN/episodes/episodeN; give the folder of the tasks")
        self.cameras: Sequence[str] = self._cameras(reading.cameras)
        self.layouts, self.fps, self.robot_type = {STATE: "pose7"}, FPS, "panda"
        self.columns: Mapping[str, Sequence[str]] = {STATE: find_layout("pose7").names} | {
            _key(name, camera, self.cameras): names
            for camera in self.cameras
            for name, names in ((POSE, POSE_NAMES), (INTRINSICS, ("fx", "fy", "cx", "cy")))
        }
        self.conventions = {STATE: "the frame is the world of the simulation, z up, and not the robot's base"} | {
            key: "camera to world in metres, quaternion with w first; camera axes x right, y down, z forward"
            for key in self.columns
            if key.startswith(POSE)
        }

    def takes(self) -> Sequence[Take]:
        """A take for each folder episodeN, whatever it holds."""
        return [self._take(path) for path in self._paths]

    def read(self, take: Take) -> Episode:
        """Poses, opening, cameras, words and frames."""
        folder = self._folder / str(take.place)
        observations = _observations(folder)
        values, lost = _pose7(observations)
        columns: dict[str, np.ndarray] = {STATE: values}
        mended = {NO_POSE: lost, NO_CAMERA: 0}
        for camera in self.cameras:
            pose, intrinsics = _camera(observations, camera)
            columns[_key(POSE, camera, self.cameras)] = pose
            columns[_key(INTRINSICS, camera, self.cameras)] = intrinsics
            mended[NO_CAMERA] += int((~np.isfinite(pose).all(axis=1)).sum())
        frames = {camera: numbered_frames(folder / (camera + RGB), "{}.png", len(values)) for camera in self.cameras}
        sentences = _descriptions(folder)
        extra = {
            "task": _task(folder),
            "variation": _variation(folder),
            "descriptions": "; ".join(sentences),
        }
        return Episode(columns, frames, "".join(sentences[:1]), extra, mended)

    def _take(self, path: Path) -> Take:
        name = path.relative_to(self._folder).as_posix()
        if self._by == "task":
            return Take(name, _task(path), name)
        try:
            variation = str(_variation(path))
        except LeftOut:  # which is said when it is read
            variation = "unknown"
        return Take(name, f"{_task(path)}/{variation}", name)

    def _cameras(self, wanted: Sequence[str]) -> Sequence[str]:
        """The cameras that are wanted, or those that all takes of a sample have.

        Raises:
            InputError: no take has one of them, or there is none that all have.
        """
        seen = [_cameras(path) for path in sample(self._paths)]
        for camera in wanted:
            if not any((path / (camera + RGB)).is_dir() for path in self._paths):
                raise unknown_key(camera, sorted(set().union(*seen)), f"the cameras of {self._folder}")
        return tuple(wanted) or of_all(seen, self._folder)


def _folders(folder: Path) -> Iterator[Path]:
    """The folders episodeN below a folder, without looking into them: each holds thousands of images."""
    for place, inside, _ in os.walk(folder):
        if Path(place).name == "episodes":
            yield from (Path(place, name) for name in inside if EPISODE.fullmatch(name))
            inside.clear()


def _cameras(folder: Path) -> set[str]:
    return {entry.name.removesuffix(RGB) for entry in os.scandir(folder) if entry.name.endswith(RGB)}


def _key(name: str, camera: str, cameras: Sequence[str]) -> str:
    """A column's key: of the first camera without its name."""
    return name if camera == cameras[0] else f"{name}.{camera}"


def _task(folder: Path) -> str:
    return folder.absolute().parts[-4:][0]


def _variation(folder: Path) -> int:
    """The number of a take's variation, by its folder's name or, below all_variations, by its pickle; -1: not told.

    Raises:
        LeftOut: the pickle is damaged.
    """
    named = VARIATION.fullmatch(folder.parent.parent.name)
    path = folder / "variation_number.pkl"
    if named or not path.is_file():
        return int(named[1]) if named else -1
    number = read_pickle(path)
    if not isinstance(number, int | np.integer):
        raise LeftOut(f"its pickle has no number: {path.name}")
    return int(number)


def _descriptions(folder: Path) -> list[str]:
    """What is done, in several ways; those of the episode, or those of its variation."""
    for path in (folder / "variation_descriptions.pkl", folder.parent.parent / "variation_descriptions.pkl"):
        if path.is_file():
            told = read_pickle(path)
            if not isinstance(told, list | tuple) or not all(isinstance(text, str) for text in told):
                raise LeftOut(f"its pickle has no list of sentences: {path.name}")
            return [text.strip() for text in told if text.strip()]
    return []


def _observations(folder: Path) -> list[SimpleNamespace]:
    """The observations of a demonstration.

    Raises:
        LeftOut: the pickle is missing or damaged, or holds something else.
    """
    demo = read_pickle(folder / "low_dim_obs.pkl", PACKAGES)
    observations = getattr(demo, "_observations", demo)
    if not isinstance(observations, list) or not all(isinstance(each, SimpleNamespace) for each in observations):
        raise LeftOut("its pickle has no demonstration: low_dim_obs.pkl")
    if len(observations) < 2:
        raise LeftOut(f"it is shorter than 2 frames: {len(observations)}")
    return observations


def _pose7(observations: Sequence[SimpleNamespace]) -> tuple[np.ndarray, int]:
    """Layout `pose7`, float32 [T, 7], and how many rows are not known, and NaN."""
    poses = _stacked([getattr(each, "gripper_pose", None) for each in observations], (7,))
    opening = _stacked([getattr(each, "gripper_open", None) for each in observations], ())
    with np.errstate(invalid="ignore"):
        known = np.isfinite(poses).all(axis=1) & np.isfinite(opening) & (np.linalg.norm(poses[:, 3:], axis=1) > 1e-6)
    if not known.any():
        raise LeftOut("its observations have no gripper_pose and gripper_open")
    values = np.full((len(poses), 7), np.nan, np.float32)
    values[known] = pose7_from_rlbench(poses[known], opening[known], np.flatnonzero(known) / FPS).values
    return values, int((~known).sum())


def _camera(observations: Sequence[SimpleNamespace], camera: str) -> tuple[np.ndarray, np.ndarray]:
    """Pose [T, 7] and intrinsics [T, 4] of a camera, float32; NaN where they are not told.

    PyRep's cameras have x to the left and y up, and negative focal lengths (`vision_sensor.py`); their pixels begin at
    the edge of the first one, not in its middle.
    """
    told = [getattr(each, "misc", None) for each in observations]
    misc = [each if isinstance(each, dict) else {} for each in told]
    motion = _stacked([each.get(f"{camera}_camera_extrinsics") for each in misc], (4, 4))
    matrix = _stacked([each.get(f"{camera}_camera_intrinsics") for each in misc], (3, 3))
    focal = matrix[:, [0, 1], [0, 1]]
    turn = motion[:, :3, :3] * np.concatenate([np.sign(focal), np.ones((len(focal), 1))], axis=1)[:, None]
    with np.errstate(invalid="ignore"):
        square = np.abs(turn @ turn.swapaxes(1, 2) - np.eye(3)).max(axis=(1, 2)) < RIGID
        known = square & (np.linalg.det(turn) > 0) & np.isfinite(motion).all(axis=(1, 2))
    pose, intrinsics = np.full((len(turn), 7), np.nan, np.float32), np.full((len(turn), 4), np.nan, np.float32)
    quaternion = Rotation.from_matrix(turn[known]).as_quat(canonical=True, scalar_first=True)
    pose[known] = np.concatenate([motion[known, :3, 3], quaternion], axis=1)
    intrinsics[known] = np.concatenate([np.abs(focal), matrix[:, :2, 2] - 0.5], axis=1)[known]
    return pose, intrinsics


def _stacked(values: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray:
    """Float64 [T, *shape]; NaN where a value is of another shape, or none."""
    rows = np.full((len(values), *shape), np.nan)
    for row, value in zip(rows.reshape(len(values), -1), values, strict=True):
        if isinstance(value, np.ndarray | np.number | float | int) and np.shape(value) == shape:
            row[:] = np.asarray(value, dtype=np.float64).ravel()
    return rows
