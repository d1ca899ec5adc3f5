"""BridgeData V2 as its makers release it in RLDS: TFRecord files of `bridge_dataset`, read without TensorFlow."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np

from vgen.errors import InputError, unknown_key
from vgen.notices import warn_once
from vgen.sources.reading import widowx
from vgen.sources.reading.asked import SAMPLE, of_all, only_layout, option, sample
from vgen.sources.reading.frames import ImageFrames
from vgen.sources.reading.tfrecord import Damaged, Example, Records, check_record, find_records, mapped
from vgen.sources.source import Episode, LeftOut, Reading, Source, Take

logger = logging.getLogger(__name__)

FILE = re.compile(r".+-(?P<split>[^-]+)\.tfrecord-(?P<number>\d{5,})-of-(?P<count>\d{5,})")
STATES, ACTIONS, WORDS = "steps/observation/state", "steps/action", "steps/language_instruction"
IMAGES, METADATA = "steps/observation/", "episode_metadata/"
CAMERA = re.compile(re.escape(IMAGES) + r"(image_\d+)")
LATENCY = "The makers' converter has mended what was late by a step"


@dataclass(frozen=True)
class _Place:
    """A record: the file by its name below the folder, start and length of the data; or why it cannot be found."""

    file: str
    number: int
    start: int = 0
    length: int = 0
    reason: str = ""


class BridgeRldsSource(Source):
    """Takes are the records of files NAME-SPLIT.tfrecord-NNNNN-of-NNNNN. Splits are the makers', where two are there;
    otherwise takes are grouped by the scene that `episode_metadata/file_path` tells."""

    options: ClassVar[Mapping[str, str]] = widowx.OPTIONS

    def __init__(self, reading: Reading) -> None:
        only_layout(reading, "pose7", "bridge_rlds")
        self.columns, self.layouts = widowx.COLUMNS, widowx.LAYOUTS
        self.conventions, self.fps, self.robot_type = widowx.conventions(LATENCY), widowx.FPS, widowx.ROBOT
        self._folder, self._by = reading.folder, option(reading, "by", widowx.GROUPS)
        self._files = sorted(path for path in reading.folder.rglob("*.tfrecord-*") if FILE.fullmatch(path.name))
        if not self._files:
            raise InputError(
                f"{reading.folder} has no NAME-SPLIT.tfrecord-00000-of-NNNNN; give the folder of bridge_dataset"
            )
        _warn_of_missing(self._files)
        seen = [told for told in map(self._glanced, self._sample()) if told]
        self.cameras: Sequence[str] = self._chosen(reading.cameras, seen)
        self._opened = widowx.gripper_when_open(reading, _measured(seen))

    def takes(self) -> Sequence[Take]:
        """A take for each record; those that a damaged file has lost too, as far as `dataset_info.json` counts them."""
        makers = len({_named(path)["split"] for path in self._files}) > 1
        counts = _counts(self._files)
        takes = []
        for path in self._files:
            split, number = _named(path)["split"], int(_named(path)["number"])
            for place in self._places(path, counts.get((path.parent, split, number))):
                group = split if makers else self._group(place)
                takes.append(Take(f"{place.file}/{place.number:05d}", group, place, split if makers else None))
        return takes

    def read(self, take: Take) -> Episode:
        """States, actions, language and frames, after the record's checksum."""
        assert isinstance(take.place, _Place)
        told = _Told(self._example(take.place, check=True))
        states, actions = told.rows(STATES), told.rows(ACTIONS)
        if len(states) != len(actions):
            raise LeftOut(f"its actions and states do not fit: {len(actions)} actions, {len(states)} states")
        frames = {camera: _frames(told, camera, len(states)) for camera in self.cameras}
        columns, mended = widowx.pose7_columns(states, actions, self._opened)
        scene, task, date = told.where()
        extra = {"scene": scene, "task": task, "date": date, "file_path": told.path()}
        return Episode(columns, frames, told.sentence(), extra, mended)

    def _sample(self) -> list[_Place]:
        """Some records of some files."""
        files = sample(self._files)
        places = [self._places(path, None) for path in files]
        return [place for of_file in places for place in sample(of_file, -(-SAMPLE // len(files)))]

    def _places(self, path: Path, expected: int | None) -> list[_Place]:
        """The records of a file, and those that are lost: where the file is damaged, there is one at least."""
        name = path.relative_to(self._folder).as_posix()
        try:
            records = find_records(_opened(path))
        except OSError as error:
            records = Records([], f"the file cannot be read ({error.strerror})")
        found = [_Place(name, number, start, length) for number, (start, length) in enumerate(records.spans)]
        lost = max(len(found) + bool(records.reason), expected or 0)
        reason = records.reason or "the file has fewer than dataset_info.json counts"
        return found + [_Place(name, number, reason=reason) for number in range(len(found), lost)]

    def _group(self, place: _Place) -> str:
        """What a record is kept together with; one that cannot be read is alone with its file."""
        told = self._glanced(place)
        where = told.where() if told else ("", "", "")
        return "/".join(part for part in where[: 1 + widowx.GROUPS.index(self._by)] if part) or place.file

    def _glanced(self, place: _Place) -> _Told | None:
        """A record before its checksum is checked, if it can be read so far."""
        try:
            told = _Told(self._example(place))
            told.where(), told.cameras()
            return told
        except LeftOut:
            return None

    def _example(self, place: _Place, check: bool = False) -> Example:
        if place.reason:
            raise LeftOut(f"its record is lost, as {place.reason}: record {place.number} of {place.file}")
        try:
            data = _opened(self._folder / place.file)
            if check:
                check_record(data, place.start, place.length)
            return Example(data[place.start : place.start + place.length])
        except (Damaged, OSError, ValueError) as error:
            raise LeftOut(f"its record is damaged: record {place.number} of {place.file}, {error}") from error

    def _chosen(self, wanted: Sequence[str], seen: Sequence[_Told]) -> Sequence[str]:
        """The cameras that are wanted, or those that all takes of a sample have.

        Raises:
            InputError: there is none of that name, or none that all have.
        """
        known = sorted(set().union(*(told.features() for told in seen)))
        for camera in wanted:
            if camera not in known:
                raise unknown_key(camera, known, f"the cameras of {self._folder}")
        return tuple(wanted) or of_all([told.cameras() for told in seen], self._folder)


class _Told:
    """What an example says, where something else than damage of its bytes may be wrong with it."""

    def __init__(self, example: Example) -> None:
        self._example = example

    def rows(self, name: str) -> np.ndarray:
        """Rows of 7 numbers, float64 [T, 7]."""
        values = self._floats(name)
        return widowx.rows7(values.reshape(-1, 7) if len(values) % 7 == 0 else values, name)

    def images(self, camera: str) -> list[memoryview]:
        """The files of a camera's images."""
        return self._texts(IMAGES + camera)

    def features(self) -> list[str]:
        """Of cameras, whether they show something or not."""
        return [match[1] for match in map(CAMERA.fullmatch, self._example.names()) if match]

    def cameras(self) -> set[str]:
        """The cameras that show something. Those that were not there are blank: a file that repeats in all steps; and
        `has_image_N` is not always right, so it decides only where the images do not."""
        found = set()
        for camera in self.features():
            images = self.images(camera)
            if images and (self._said(METADATA + "has_" + camera) or images[0] != images[-1]):
                found.add(camera)
        return found

    def sentence(self) -> str:
        """The first of the steps that is not empty."""
        texts = self._texts(WORDS) if WORDS in self._example else []
        return next((text for text in (bytes(t).decode("utf-8", "replace").strip() for t in texts) if text), "")

    def path(self) -> str:
        """Where the makers had the recording."""
        paths = self._texts(METADATA + "file_path") if METADATA + "file_path" in self._example else []
        return bytes(paths[0]).decode("utf-8", "replace") if paths else ""

    def where(self) -> tuple[str, str, str]:
        """Scene, task and date by that path: …/SCENE/TASK/NN/[DATE/]SPLIT/out.npy. Scenes have two names at most."""
        folders = [part for part in PurePosixPath(self.path()).parts[:-2] if part != "/"]
        date = folders.pop() if folders and re.match(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d$", folders[-1]) else ""
        scene, task = widowx.scene_and_task(folders)
        return "/".join(scene.split("/")[-2:]), task, date

    def _said(self, name: str) -> bool:
        try:
            return name in self._example and any(self._example.integers(name))
        except Damaged as error:
            raise LeftOut(f"its record is damaged: {error}") from error

    def _texts(self, name: str) -> list[memoryview]:
        try:
            return self._example.texts(name)
        except Damaged as error:
            raise LeftOut(f"its record is damaged: {error}") from error

    def _floats(self, name: str) -> np.ndarray:
        try:
            return self._example.floats(name)
        except Damaged as error:
            raise LeftOut(f"its record is damaged: {error}") from error


def _measured(seen: Sequence[_Told]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """States and actions of the takes that have them."""
    for told in seen:
        try:
            states, actions = told.rows(STATES), told.rows(ACTIONS)
        except LeftOut:
            continue
        if len(states) == len(actions):
            yield states, actions


def _frames(told: _Told, camera: str, count: int) -> ImageFrames:
    if camera not in told.cameras():
        raise LeftOut(f"it has not all cameras: no {camera}")
    images = told.images(camera)
    if len(images) != count:
        raise LeftOut(f"it has not as many frames as states: {len(images)} of {camera}, {count} states")
    return ImageFrames([bytes(image) for image in images])


@lru_cache(maxsize=4)
def _opened(path: Path) -> memoryview:
    return mapped(path)


def _named(path: Path) -> re.Match[str]:
    found = FILE.fullmatch(path.name)
    assert found is not None, "only files of such names are read"
    return found


def _counts(files: Sequence[Path]) -> dict[tuple[Path, str, int], int]:
    """How many records each file has, by folder, split and number, as `dataset_info.json` says it."""
    counts: dict[tuple[Path, str, int], int] = {}
    for folder in {path.parent for path in files}:
        try:
            told: Any = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
            for split in told["splits"]:
                lengths = map(int, split["shardLengths"])
                counts |= {(folder, split["name"], number): length for number, length in enumerate(lengths)}
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            warn_once(logger, f"{folder / 'dataset_info.json'} cannot be read ({error}); lost records are not counted")
    return counts


def _warn_of_missing(files: Sequence[Path]) -> None:
    """Says once for each split how many of its files are there, where some are not."""
    for split in sorted({_named(path)["split"] for path in files}):
        there = [path for path in files if _named(path)["split"] == split]
        count = int(_named(there[0])["count"])
        if len(there) < count:
            warn_once(logger, f"{len(there)} of the {count} files of split {split} are there, and are read")
