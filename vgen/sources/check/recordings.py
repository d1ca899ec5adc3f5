"""The episodes of a data set as a check reads them: every column as it lies there, right or wrong."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vgen.data.lerobot.columns import NUMBERS
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.data.lerobot.meta import INDEX_COLUMNS, declared_shape, read_info
from vgen.errors import InputError, unknown_key
from vgen.trajectory.layouts import LARGEST_ANGLE, Layout, find_layout
from vgen.trajectory.parquet import layout_of_feature
from vgen.trajectory.trajectory import Trajectory

logger = logging.getLogger(__name__)

COLUMN = "observation.state"
POSE, INTRINSICS = "observation.camera_pose", "observation.intrinsics"
FLAT = 1e-6  # length of the normal of a rot6d, below which it is no rotation


@dataclass(frozen=True)
class Place:
    """Where an episode is: its split and number in that, its number in the data set, its rows and what is said of
    it."""

    split: str
    number: int
    index: int
    length: int
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Recording:
    """An episode of T rows: its times, float64 [T], and its columns of numbers, float64 [T, D]."""

    place: Place
    seconds: np.ndarray
    columns: Mapping[str, np.ndarray]


class Recordings:
    """A LeRobot folder, of which one column is a trajectory.

    Args:
        folder: of the data set.
        column: the trajectory; None: `observation.state`, or the first column whose layout the data set says.
        layout: of that column; None: as the data set says.
        camera: whose frames are looked at; None: the first one's.

    Raises:
        InputError: it is no data set, or has no such column or camera, or does not say the layout.

    Attributes:
        places: of all episodes of all splits, in order.
        column, layout, camera: as they are then; the camera is None where there is none.
        measured: the columns of numbers that are no mere counts.
    """

    def __init__(self, folder: Path, column: str | None, layout: str | None, camera: str | None) -> None:
        self.folder, info = folder, read_info(folder)
        names = list(info.get("splits") or {"train": None})
        self._sets = {name: LeRobotDataset(folder, name) for name in names}
        self._first = next(iter(self._sets.values()))
        self.features: Mapping[str, Mapping[str, Any]] = info["features"]
        self.fps = self._first.fps
        self.column = _column(folder, self.features, column)
        feature = self.features[self.column]
        self.layout = find_layout(layout) if layout else find_layout(layout_of_feature(feature, self.column))
        cameras = self._first.cameras
        self.camera = self._first.camera(camera) if camera else next(iter(cameras), None)
        found: dict[int, Place] = {}
        for split, dataset in self._sets.items():
            for place in (_place(dataset, split, number) for number in range(len(dataset))):
                found.setdefault(place.index, place)
        self.places = [found[index] for index in sorted(found)]
        self.measured = [name for name, each in self.features.items() if _is_measured(name, each, self.column)]

    @property
    def owners(self) -> list[str]:
        """Whose each dimension of the trajectory is."""
        return [part.owner for part in self.layout.parts for _ in part.columns]

    @property
    def splits(self) -> dict[str, int]:
        """How many episodes each split has."""
        return {name: len(dataset) for name, dataset in self._sets.items()}

    def read(self, place: Place) -> Recording:
        """An episode's columns.

        Raises:
            InputError: they cannot be read.
        """
        episode = self._sets[place.split].episode(place.number)
        columns = {}
        for name in self.measured:
            if name in episode.columns:
                columns[name] = _numbers(name, episode.columns[name])
        if self.column not in columns:
            raise unknown_key(self.column, list(episode.columns), "the columns of its data file")
        width = columns[self.column].shape[1]
        if width != self.layout.width:
            raise InputError(f"{self.column} has {width} columns; layout {self.layout.name} has {self.layout.width}")
        even = np.arange(place.length) / self.fps
        told = episode.columns["timestamp"].reshape(-1) if "timestamp" in episode.columns else even
        return Recording(place, told.astype(np.float64), columns)

    def frames(self, place: Place, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Some frames of the camera, uint8 [T, H, W, 3].

        Raises:
            InputError: they cannot be read.
        """
        assert self.camera is not None, "there is one"
        return self._sets[place.split].frames(place.number, self.camera, rows)

    def trajectory(self, recording: Recording) -> Trajectory:
        """The rows that can be of the layout; others are not valid."""
        values = recording.columns[self.column]
        times = np.arange(len(values)) / self.fps
        return Trajectory(values, times, sound_rows(values, self.layout), self.layout.name)

    def choose(self, asked: Sequence[str], usual: int) -> list[Place]:
        """Episodes to look at.

        Args:
            asked: one whole number: so many, evenly spread; otherwise names of takes, numbers or FIRST:STOP.
            usual: how many, where nothing is asked.

        Raises:
            InputError: there is no such episode.
        """
        if not asked or (len(asked) == 1 and asked[0].isdecimal()):
            count = int(asked[0]) if asked else usual
            if count < 1:
                raise InputError(f"--episodes {count} must be 1 or more, or names of episodes; nearest: 1")
            picked = np.linspace(0, len(self.places) - 1, min(count, len(self.places))).round().astype(int)
            return [self.places[number] for number in picked]
        return [place for each in asked for place in self._named(each)]

    def _named(self, name: str) -> list[Place]:
        by_name = {told: place for place in reversed(self.places) for told in place.names}
        by_index = {place.index: place for place in self.places}
        if name in by_name:
            return [by_name[name]]
        first, colon, stop = name.partition(":")
        if colon and first.isdecimal() and stop.isdecimal():
            found = [by_index[index] for index in range(int(first), int(stop)) if index in by_index]
        else:
            found = [by_index[int(name)]] if name.isdecimal() and int(name) in by_index else []
        if not found:
            last = self.places[-1].index
            hint = f"numbers go to {last}; a name is one of a take, such as {next(iter(by_name), 'none here has')}"
            raise InputError(f"--episodes {name} is no episode of {self.folder}; {hint}")
        return found


def sound_rows(values: np.ndarray, layout: Layout) -> np.ndarray:
    """Which rows [A, D] can be of a layout, bool [A]: finite, with angles in radians and with rotations."""
    sound: np.ndarray = np.isfinite(values).all(1)
    for part, where in layout.slices():
        if part.euler:
            sound &= (np.abs(np.nan_to_num(values[:, where])) <= LARGEST_ANGLE).all(1)
        elif part.type in ("rotation", "pose"):
            six = np.nan_to_num(values[:, where])[:, -6:]
            sound &= np.linalg.norm(np.cross(six[:, :3], six[:, 3:]), axis=1) > FLAT
    return sound


def _place(dataset: LeRobotDataset, split: str, number: int) -> Place:
    index, length, _ = dataset.summary(number)
    extra = dataset.extra(number)
    names = tuple(str(value) for value in extra.values() if isinstance(value, str) and value)
    return Place(split, number, index, length, names)


def _column(folder: Path, features: Mapping[str, Mapping[str, Any]], column: str | None) -> str:
    if column is not None:
        if column not in features:
            raise unknown_key(column, features, f"the columns of {folder}")
        return column
    if COLUMN in features:
        return COLUMN
    for name, feature in features.items():
        try:
            layout_of_feature(feature, name)
        except InputError:
            continue
        return name
    raise InputError(f"{folder} has no {COLUMN} and says the layout of no column; name one: {', '.join(features)}")


def _is_measured(name: str, feature: Mapping[str, Any], column: str) -> bool:
    if name == column:
        return True
    plain = len(declared_shape(feature) or (1, 1)) == 1
    return plain and str(feature.get("dtype")).startswith("float") and name not in INDEX_COLUMNS


def _numbers(name: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in NUMBERS:
        raise InputError(f"{name} holds no numbers, such as float32")
    return values.astype(np.float64).reshape(len(values), -1)
