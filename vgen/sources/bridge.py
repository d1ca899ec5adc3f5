"""BridgeData V2 (Walke et al. 2023, arXiv 2308.12952), raw: pickles and JPEG files in dated folders."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vgen.errors import InputError, unknown_key
from vgen.notices import warn_once
from vgen.sources.reading import widowx
from vgen.sources.reading.asked import of_all, only_layout, option, sample
from vgen.sources.reading.frames import numbered_frames
from vgen.sources.reading.unpickle import read_pickle
from vgen.sources.source import Episode, LeftOut, Reading, Source, Take

logger = logging.getLogger(__name__)

TAKE, GROUP, CAMERA = (re.compile(name) for name in (r"traj\d+", r"traj_group\d+", r"images\d+"))
DATE = "%Y-%m-%d_%H-%M-%S"
IN_TIME = datetime(2021, 7, 23)  # recordings before it show what happened a step before
CONFIDENCE = re.compile(r"confidence\D*(\d*\.?\d+)", re.IGNORECASE)
LATE = "actions moved to the frame a step later, and the first frame left out (recorded before 2021-07-23)"
UNEVEN = "steps that took less than half of 0.2 s or more than twice of it by the clock (kept)"
LATENCY = "Recordings before 2021-07-23 are late by a step: their actions are a row later, and their first row left out"


class BridgeSource(Source):
    """Takes are the folders INSTITUTION/SCENE/TASK/NN/DATE/raw/traj_groupN/trajN; a folder of any depth is given."""

    options: ClassVar[Mapping[str, str]] = widowx.OPTIONS

    def __init__(self, reading: Reading) -> None:
        only_layout(reading, "pose7", "bridge")
        self.columns, self.layouts = widowx.COLUMNS, widowx.LAYOUTS
        self.conventions, self.fps, self.robot_type = widowx.conventions(LATENCY), widowx.FPS, widowx.ROBOT
        self._folder, self._by = reading.folder, option(reading, "by", widowx.GROUPS)
        self._takes = [self._take(path) for path in sorted(_folders(reading.folder))]
        if not self._takes:
            raise InputError(f"{reading.folder} has no raw/traj_groupN/trajN; give a folder of BridgeData V2, unpacked")
        self.cameras: Sequence[str] = self._cameras(reading.cameras)
        self._opened = widowx.gripper_when_open(reading, self._measured())

    def takes(self) -> Sequence[Take]:
        """A take for each folder trajN, whatever it holds."""
        return self._takes

    def read(self, take: Take) -> Episode:
        """States, actions, language and frames; recordings that are late by a step are mended."""
        folder = self._folder / str(take.place)
        states, actions, clock = _rows(folder)
        first = 1 if _is_late(take.name) else 0
        if len(states) - first < 2:
            raise LeftOut(f"it is shorter than 2 frames: {len(states)}")
        frames = {camera: numbered_frames(folder / camera, "im_{}.jpg", len(states), first) for camera in self.cameras}
        if first:
            nothing = np.full((1, 7), np.nan)
            states, actions, clock = states[1:], np.concatenate([actions[:-2], nothing]), clock[1:]
        columns, mended = widowx.pose7_columns(states, actions, self._opened)
        sentence, confidence = _language(folder / "lang.txt")
        scene, task, date = _told(take.name)
        extra = {"scene": scene, "task": task, "date": date, "confidence": confidence}
        steps = np.diff(clock) * widowx.FPS
        mended |= {LATE: len(states) * first, UNEVEN: int(((steps < 0.5) | (steps > 2)).sum())}
        return Episode(columns, frames, sentence, extra, mended)

    def _take(self, path: Path) -> Take:
        name = path.relative_to(self._folder).as_posix()
        scene, task, date = _told(name)
        parts = {"scene": (scene,), "task": (scene, task), "session": (scene, task, date)}[self._by]
        return Take(name, "/".join(part for part in parts if part) or self._folder.name, name)

    def _cameras(self, wanted: Sequence[str]) -> Sequence[str]:
        """The cameras that are wanted, or those that all takes of a sample have.

        Raises:
            InputError: no take has one of them, or there is none that all have.
        """
        seen = [_cameras(self._folder / take.name) for take in sample(self._takes)]
        for camera in wanted:
            if not any((self._folder / take.name / camera).is_dir() for take in self._takes):
                raise unknown_key(camera, sorted(set().union(*seen)), f"the cameras of {self._folder}")
        return tuple(wanted) or of_all(seen, self._folder)

    def _measured(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for take in sample(self._takes):
            try:
                states, actions, _ = _rows(self._folder / take.name)
            except LeftOut:
                continue
            yield states, actions


def _folders(folder: Path) -> Iterator[Path]:
    """The folders trajN below a folder, without looking into them: each holds hundreds of images."""
    for place, inside, _ in os.walk(folder):
        if GROUP.fullmatch(Path(place).name):
            yield from (Path(place, name) for name in inside if TAKE.fullmatch(name))
            inside.clear()
        elif any("lmdb" in name for name in inside):
            warn_once(logger, f"{place}: folders of lmdb are not read, as the makers' converters do not")
            inside[:] = [name for name in inside if "lmdb" not in name]


def _told(name: str) -> tuple[str, str, str]:
    """Scene, task and date of a take by its path; "" where the path has none."""
    folders = name.split("/")[:-3]  # without raw/traj_groupN/trajN
    dated = next((i for i, folder in reversed(list(enumerate(folders))) if _date(folder)), None)
    scene, task = widowx.scene_and_task(folders[:dated])
    return scene, task, "" if dated is None else folders[dated]


def _date(folder: str) -> datetime | None:
    try:
        return datetime.strptime(folder, DATE)
    except ValueError:
        return None


def _is_late(name: str) -> bool:
    date = _date(_told(name)[2])
    if date is None:
        warn_once(logger, "takes without a date in their path are read as of after 2021-07-23, without a step to mend")
    return date is not None and date < IN_TIME


def _rows(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States [T, 7], actions [T, 7], of which the last is NaN, and the clock [T] in seconds, NaN where not told.

    Raises:
        LeftOut: a pickle is missing or damaged, or they do not fit together.
    """
    told = read_pickle(folder / "obs_dict.pkl")
    if not isinstance(told, dict) or "full_state" not in told:
        raise LeftOut("its pickle has no full_state: obs_dict.pkl")
    states = widowx.rows7(told["full_state"], "states")
    commands = read_pickle(folder / "policy_out.pkl")
    if isinstance(commands, list | tuple) and commands and isinstance(commands[0], dict):
        commands = [step.get("actions") if isinstance(step, dict) else None for step in commands]
    commands = widowx.rows7(commands, "actions")
    if len(commands) not in (len(states) - 1, len(states)):
        raise LeftOut(f"its actions and states do not fit: {len(commands)} actions, {len(states)} states")
    actions = np.full(states.shape, np.nan)
    actions[:-1] = commands[: len(states) - 1]
    return states, actions, _clock(told.get("time_stamp"), len(states))


def _clock(told: Any, count: int) -> np.ndarray:
    try:
        clock = np.asarray(told, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        clock = np.empty(0)
    return clock if len(clock) == count else np.full(count, np.nan)


def _cameras(folder: Path) -> set[str]:
    return {entry.name for entry in os.scandir(folder) if CAMERA.fullmatch(entry.name)}


def _language(path: Path) -> tuple[str, float]:
    """The first sentence, and the confidence that stands below it; "" and NaN where there is none."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    except FileNotFoundError:
        return "", float("nan")
    sentence = next((line for line in lines if line and "confidence" not in line.lower()), "")
    told = next((found for found in map(CONFIDENCE.search, lines) if found), None)
    return sentence, float(told[1]) if sentence and told else float("nan")
