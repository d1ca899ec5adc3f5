"""The folder of results: a case is in it whole or not at all, whenever the run is killed.

settings.json            what decides on the results
videos/NAME.mp4          what the model made, to look at
features/NAME.npz        what FVD and KVD compare, by method
cases/NAME.json          values and curves: written last, so that a case that has it is done
seconds.jsonl            how long each case took
place.json               where the bench lay: what may differ between two runs of the same results
results.json index.html  of all cases, when all are done
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from bench_common.report import as_json, write_json

from vgen.checks import show
from vgen.errors import InputError
from vgen.files import PART, append, locked, whole_file, writing
from vgen.media.writing import write_video
from vgen.results import Kind, check_folder

SETTINGS, RESULTS, PAGE, SECONDS, PLACE, LOCK = (
    "settings.json", "results.json", "index.html", "seconds.jsonl", "place.json", "lock",
)  # fmt: skip
CASES, VIDEOS, FEATURES = "cases", "videos", "features"
KIND = Kind(
    "the results of a bench",
    SETTINGS,
    frozenset({SETTINGS, RESULTS, PAGE, SECONDS, PLACE, LOCK, CASES, VIDEOS, FEATURES}),
)
UNIMPORTANT = ("versions",)  # may change while a run is away: it is told


@dataclass(frozen=True)
class CaseRecord:
    """What came out of a case.

    Attributes:
        name, group, kind: Of the case in its bench.
        clip: What tells which cases show the same scene: the file of the truth, or the case's own name.
        has_truth: Whether the bench has a true video of it.
        prompt: Of the canvas.
        given: Frames at which something is given.
        values: method -> measure -> value.
        curves: method -> name -> dB of each frame, as `bench_measures.given.curves` has them.
        frames_sha256: Of the bytes of all frames that the model made.
    """

    name: str
    group: str
    kind: str
    clip: str
    has_truth: bool
    prompt: str
    given: list[float]
    values: dict[str, dict[str, float]]
    curves: dict[str, dict[str, list[float]]]
    frames_sha256: str


@dataclass(frozen=True, eq=False)
class CompletedCase:
    """A record, with what lies beside it: the video uint8 `[T, H, W, 3]`, features by method, and seconds by stage."""

    record: CaseRecord
    video: np.ndarray
    fps: float
    features: Mapping[str, np.ndarray] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Store:
    """A folder of results."""

    folder: Path

    @contextmanager
    def claimed(self, settings: Mapping[str, Any], overwrite: bool = False) -> Iterator[list[str]]:
        """The folder for one run alone, which goes on with what is there.

        Args:
            settings: What decides on the results, as `bench_run.settings.described` has it.
            overwrite: results of other settings are removed.

        Yields:
            What has changed since the run began that may change values a little, in words.

        Raises:
            InputError: something else lies there, results of other settings, or another run is at work.
        """
        before = self._settings() if (self.folder / SETTINGS).is_file() else None
        check_folder(self.folder, KIND, overwrite=True)
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.folder / LOCK, "run"):
                changed = _changed(before, settings) if before is not None else []
                decisive = [name for name in changed if name.split(".")[0] not in UNIMPORTANT]
                if decisive and not overwrite:
                    other = _told(before, settings, decisive[0])
                    told = f"{show(str(self.folder))} holds results of other settings ({other})"
                    raise InputError(f"{told}; use those, name another folder, or begin anew with --overwrite")
                if decisive:
                    self._clear()
                if before is None or decisive:
                    write_json(settings, self.folder / SETTINGS)
                self._remove_parts()
                yield [] if decisive else [_told(before, settings, name) for name in changed]

    def is_done(self, name: str, features: bool = False) -> bool:
        """Whether all that belongs to a case is there."""
        kinds = [(CASES, ".json"), (VIDEOS, ".mp4"), *([(FEATURES, ".npz")] if features else [])]
        return all(self.path(kind, name, suffix).is_file() for kind, suffix in kinds)

    def keep(self, done: CompletedCase) -> None:
        """Writes a case; its record comes last.

        Raises:
            InputError, TryAgain: it cannot be written.
        """
        name = done.record.name
        with writing(self.folder):
            write_video(_made(self.path(VIDEOS, name, ".mp4")), done.video, done.fps)
            if done.features:
                with whole_file(_made(self.path(FEATURES, name, ".npz"))) as part, part.open("wb") as file:
                    np.savez(file, **done.features)
            append(self.folder / SECONDS, json.dumps({"case": name, **done.seconds}) + "\n")
        write_json(asdict(done.record), self.path(CASES, name, ".json"))

    def record(self, name: str) -> CaseRecord:
        """What was kept of a case. Raises: InputError: it is not there, or damaged."""
        try:
            return CaseRecord(**_read(self.path(CASES, name, ".json")))
        except TypeError as error:
            file = self.path(CASES, name, ".json")
            raise InputError(f"{file} is no record of a case; remove it, and start the same command again") from error

    def features(self, name: str) -> dict[str, np.ndarray]:
        """What FVD and KVD compare of a case, by method; empty where it was not asked for."""
        file = self.path(FEATURES, name, ".npz")
        if not file.is_file():
            return {}
        try:
            with np.load(file) as held:
                return dict(held)
        except (OSError, ValueError) as error:
            raise InputError(f"{file} cannot be read; remove it, and start the same command again") from error

    def path(self, kind: str, name: str, suffix: str) -> Path:
        """Where a part of a case lies. Raises: InputError: the name would lead out of the folder."""
        parts = name.split("/")
        if not all(part and part.isprintable() and not part.startswith(".") for part in parts) or "\\" in name:
            raise InputError(f"case {show(name)} has no name that a file can have; build the bench anew")
        return self.folder.joinpath(kind, *parts[:-1], parts[-1] + suffix)

    def _settings(self) -> dict[str, Any]:
        return _read(self.folder / SETTINGS)

    def _clear(self) -> None:
        for name in sorted(KIND.parts - {LOCK}):
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def _remove_parts(self) -> None:
        """Removes what a run that was killed was writing."""
        for kind in (CASES, VIDEOS, FEATURES):
            for part in (self.folder / kind).rglob(f".*{PART}*"):
                part.unlink(missing_ok=True)


@dataclass(frozen=True)
class Results:
    """Results that are complete.

    Attributes:
        store: Their folder.
        data: All that `results.json` says.
        bench: The folder of the bench, where it is still there; None: nothing is known of what was given.
    """

    store: Store
    data: Mapping[str, Any]
    bench: Path | None

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """Results from their folder.

        Raises:
            InputError: there are none, or the run is not complete.
        """
        folder = Path(folder)
        if not (folder / RESULTS).is_file():
            if (folder / SETTINGS).is_file():
                raise InputError(f"{folder} holds a run that is not complete; start its command again")
            raise InputError(f"{folder} holds no results of a bench; make some with: vgen bench canvas --bench BENCH")
        data = _read(folder / RESULTS)
        place = _read(folder / PLACE).get("bench") if (folder / PLACE).is_file() else None
        return cls(Store(folder), data, Path(place) if place and Path(place).is_dir() else None)


def _read(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read ({error}); remove it, and start the same command again") from error
    if not isinstance(data, dict):
        raise InputError(f"{file} holds no mapping; remove it, and start the same command again")
    return data


def _made(file: Path) -> Path:
    """A name to write a file under whose folder may not be there yet."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def _changed(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> list[str]:
    """Dotted names of settings that are other ones."""
    old, new = _flat(before or {}), _flat(as_json(now))
    return [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]


def _told(before: Mapping[str, Any] | None, now: Mapping[str, Any], name: str) -> str:
    old, new = _flat(before or {}), _flat(as_json(now))
    return f"{name.split('.')[-1]}: {show(old.get(name))}, now {show(new.get(name))}"


def _flat(data: Any, head: str = "") -> dict[str, Any]:
    if not isinstance(data, Mapping):
        return {head: data}
    return {
        name: value
        for key, each in data.items()
        for name, value in _flat(each, f"{head}.{key}" if head else key).items()
    }
