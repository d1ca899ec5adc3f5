"""What a rollout is asked: from where, driven by what, for how long; in Python, or in text on the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from os import PathLike, path
from pathlib import Path
from typing import Any

from vgen import checks
from vgen.errors import InputError, unknown_key
from vgen.media.patch import Patch
from vgen.models import EGO, STATE
from vgen.trajectory.edits import parse_edit

MODES = {"forward": (EGO,), "policy": (EGO, STATE), "inverse": (STATE,)}
"""Of each mode, the parts of a model that answer it, beside the backbone."""
MAX_FRAMES = 100_000
MAX_SEED = 2**63 - 1
STATE_COLUMN = "observation.state"
TRAJECTORY_FILES = ("trajectory", "trajectory_from")
START_OPTIONS = ("episode", "frame", "split", "camera")


@dataclass(frozen=True)
class Start:
    """What is seen: an image, a video, or an episode of a LeRobot v3 folder.

    Attributes:
        path: of the file or the folder.
        frame: the present one, counted in the file or the episode; what comes before it is history. None: the only one
            of an image, the last of a video, the first of an episode.
        episode: its number in the split; None for a file.
        split: of the data set.
        camera: of the data set; None where it has one alone.
    """

    path: str
    frame: int | None = None
    episode: int | None = None
    split: str = "train"
    camera: str | None = None

    def __post_init__(self) -> None:
        checks.media("start", self.path)
        for name in ("frame", "episode"):
            if getattr(self, name) is not None:
                checks.whole(name, getattr(self, name), 0, 10**9)


def parse_start(text: str) -> Start:
    """Reads `frame.png`, `clip.mp4`, `clip.mp4@16` or `FOLDER:episode=3[:frame=16][:split=test][:camera=NAME]`.

    Raises:
        InputError: the text does not have this form, or a value breaks its rule.
    """
    whole = re.fullmatch(r"(.+?)(?:@(\d{1,9}))?", text)
    if path.isfile(text):
        return Start(text)
    if whole and whole[2] and path.isfile(whole[1]):
        return Start(whole[1], int(whole[2]))
    head, *options = re.split(r":(?=\w+=)", text)
    place = re.fullmatch(r"(.+\.\w+)@(\d{1,9})", head)
    given: dict[str, Any] = {"path": place[1], "frame": int(place[2])} if place else {"path": head}
    for option in options:
        key, value = option.split("=", 1)
        if key not in START_OPTIONS:
            raise unknown_key(key, START_OPTIONS, "the options of a start")
        if key in given:
            raise InputError(f"start {checks.show(text)} gives {key} twice; keep one")
        if key in ("episode", "frame") and not re.fullmatch(r"\d{1,9}", value):
            raise InputError(
                f"{key}={checks.show(value)} of start {checks.show(text)} must be a whole number, 0 or more"
            )
        given[key] = int(value) if key in ("episode", "frame") else value
    start = Start(**given)
    if start.episode is None and options and path.isfile(start.path):
        rule = f"a file has no {', '.join(sorted(given.keys() - {'path'}))}; a frame of a clip is"
        raise InputError(f"start {checks.show(text)}: {rule} {checks.show(start.path)}@16")
    if start.episode is None and (options or Path(start.path).is_dir()):
        raise InputError(f"start {checks.show(text)} names no episode; write {checks.show(start.path)}:episode=0")
    return start


@dataclass(frozen=True)
class RolloutSpec:
    """What a rollout is asked.

    Attributes:
        start: what is seen; of `inverse`, the video to explain, from its frame on.
        mode: "forward": the video under a trajectory; "policy": trajectory, text and video; "inverse": the trajectory.
        text: what is done; None is what the episode says, or nothing.
        frames: of the future, without the start frame; None is all that the trajectory is enough for, which may be
            1000 at most; of a policy the horizon of its model, of `inverse` all there are.
        fps: of the video that is written; None is the model's rate.
        seed: of the noise.
        trajectory: a file; None is the episode's own. In `policy` it is the past, of `inverse` its start counts.
        trajectory_from: instead of a trajectory, a video in which the hands are tracked.
        at: seconds on the clock of the trajectory at which the start frame lies; None is its first row, of a policy's
            past its last.
        edits: of the trajectory, one after the other, as `parse_edit` reads them.
        layout: of the trajectory; None where file, data set or model leave no choice.
        column: of an episode, or of a parquet file.
        episode: of a parquet file, which episode.
        goals: patches ahead in time, their frames counted from the start frame.

    Raises:
        InputError: a value breaks its rule, or does not go with the mode.
    """

    start: Start
    mode: str = "forward"
    text: str | None = None
    frames: int | None = None
    fps: float | None = None
    seed: int = 0
    trajectory: str | PathLike[str] | None = None
    trajectory_from: str | PathLike[str] | None = None
    at: float | None = None
    edits: tuple[str, ...] = ()
    layout: str | None = None
    column: str = STATE_COLUMN
    episode: int | None = None
    goals: tuple[Patch, ...] = ()

    def __post_init__(self) -> None:
        checks.choice("mode", self.mode, MODES)
        for name in ("text", "layout", "column"):
            if getattr(self, name) is not None:
                checks.text(name, getattr(self, name))
        for name in TRAJECTORY_FILES:
            if getattr(self, name) is not None:
                checks.media(name, getattr(self, name))
        if self.episode is not None:
            checks.whole("episode", self.episode, 0, 10**9)
        if self.frames is not None:
            checks.whole("frames", self.frames, 1, MAX_FRAMES)
        if self.fps is not None:
            checks.real("fps", self.fps, 0.1, 1000)
        if self.at is not None:
            checks.real("at", self.at)
        checks.whole("seed", self.seed, 0, MAX_SEED)
        for edit in self.edits:
            parse_edit(checks.text("edit", edit))
        self._check_mode()

    @property
    def has_trajectory(self) -> bool:
        """Whether a trajectory is given, beside what the start has."""
        return self.trajectory is not None or self.trajectory_from is not None

    def to_dict(self, relative_to: str | PathLike[str]) -> dict[str, Any]:
        """The inverse of `from_dict`; paths relative to a folder."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        given["start"] = asdict(self.start) | {"path": _written(self.start.path, relative_to)}
        for name in TRAJECTORY_FILES:
            if given[name] is not None:
                given[name] = _written(given[name], relative_to)
        return given | {"edits": list(self.edits), "goals": [goal.to_dict(relative_to) for goal in self.goals]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], base: str | PathLike[str]) -> RolloutSpec:
        """A rollout from what `to_dict` made; relative paths start at `base`.

        Raises:
            InputError: a key is unknown, or a value breaks its rule.
        """
        given = checks.known_keys(data, tuple(field.name for field in fields(cls)), "the question")
        start = checks.known_keys(given.get("start"), tuple(field.name for field in fields(Start)), "the start")
        if "path" not in start:
            raise InputError("the start has no path; name the image, video or data set")
        given["start"] = Start(**start | {"path": path.join(base, checks.text("path", start["path"], utf8=False))})
        for name in TRAJECTORY_FILES:
            if name in given:
                given[name] = path.join(base, checks.text(name, given[name], utf8=False))
        goals = tuple(Patch.from_dict(goal, base) for goal in _listed("goals", given.pop("goals", ())))
        return cls(**given | {"edits": tuple(_listed("edits", given.pop("edits", ()))), "goals": goals})

    def _check_mode(self) -> None:
        if self.edits and self.mode != "forward":
            raise InputError(f"edit={self.edits[0]} changes a given trajectory; mode={self.mode} predicts it")
        if self.goals and self.mode == "inverse":
            raise InputError(f"goal={self.goals[0].name} is ahead of a start; mode=inverse makes no video")
        if self.trajectory is not None and self.trajectory_from is not None:
            both = f"trajectory={self.trajectory} and trajectory_from={self.trajectory_from}"
            raise InputError(f"{both} are two trajectories; give one of them")
        if self.at is not None and not self.has_trajectory:
            raise InputError(f"at={self.at:g} is on the clock of a trajectory file and none is given; leave it out")
        parquet = self.trajectory is not None and Path(self.trajectory).suffix == ".parquet"
        if self.episode is not None and not parquet:
            place = ""
            if self.start.episode is not None:
                place = f"; of a start, write {checks.show(self.start.path)}:episode={self.episode}"
            raise InputError(f"episode={self.episode} is of a trajectory in a parquet file and none is given{place}")
        if self.column != STATE_COLUMN and not parquet and self.start.episode is None:
            raise InputError(
                f"column={self.column} is of a data set or a parquet file and neither is given; leave it out"
            )
        if self.mode == "forward" and not self.has_trajectory and self.start.episode is None:
            raise InputError(
                "mode=forward has no trajectory; give --trajectory FILE, or --trajectory-from VIDEO of your hands, or "
                "start from an episode, which has its own"
            )


def _listed(name: str, values: object) -> Sequence[Any]:
    if not isinstance(values, list | tuple):
        raise InputError(f"{name}={checks.show(values)} must be a list")
    return values


def _written(file: str | PathLike[str], relative_to: str | PathLike[str]) -> str:
    return Path(path.relpath(file, relative_to)).as_posix()
