"""A data set on its way into a pack: its episodes, what they hold, and at which rate they are taken."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vgen.checks import show
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.data.lerobot.meta import CAMERA_PREFIX, INDEX_COLUMNS, read_info
from vgen.errors import InputError, unknown_key
from vgen.notices import warn_once

logger = logging.getLogger(__name__)

GROUP = "group"  # what `meta/episodes` calls the episodes that begin alike
COUNTED = ("branch_frame",)  # what `meta/episodes` tells in frames
NUMBERS = "iufb"  # kinds of numpy types that are packed


@dataclass(frozen=True)
class SourceEpisode:
    """An episode of a data set.

    Attributes:
        dataset, place: the split that it is in, and its number in that.
        split: the split's name.
        group: see `Choosable`.
        length: how many frames are taken.
        task: the sentence that says what is done.
        extra: what else `meta/episodes` says.
    """

    dataset: LeRobotDataset
    place: int
    split: str
    group: str
    length: int
    task: str
    extra: dict[str, Any]


class Source:
    """A LeRobot v3 folder that is packed.

    Args:
        path: of the folder.
        camera: which one, where it has several; None: its only one.
        fps: frames per second that are taken, a whole part of the recorded ones; None: all.
        splits: which ones, of those that it has; None: all.

    Raises:
        InputError: it is no such folder, has none of the splits or no such camera, an episode is in two splits, or the
            rate is no whole part of the recorded one.

    Attributes:
        name: of the folder.
        camera, cameras: the feature key of the one that is packed, and of all.
        episodes: in the order of their numbers.
        step: of how many recorded frames one is taken.
    """

    def __init__(
        self, path: str | Path, camera: str | None, fps: float | None = None, splits: Sequence[str] | None = None
    ) -> None:
        self.path = Path(path)
        self.name = self.path.resolve().name
        self.info = read_info(self.path)
        held = list(self.info.get("splits") or ("train",))
        names = [split for split in held if splits is None or split in splits]
        if not names:
            raise unknown_key(", ".join(splits or ()), held, f"the splits of {self.path}")
        opened = {split: LeRobotDataset(self.path, split) for split in names}
        first = opened[names[0]]
        self.camera, self.cameras = self._camera(first, camera), first.cameras
        self.recorded_fps = first.fps
        self.step = self._step(fps)
        self.fps = first.fps / self.step
        found: dict[int, SourceEpisode] = {}
        for split, dataset in opened.items():
            for place in range(len(dataset)):
                index, episode = self._episode(dataset, place, split)
                if index in found:
                    raise InputError(
                        f"{self.path}: episode {index} is in the splits {found[index].split} and {split}; a pack takes "
                        f"each once: name one of them with --splits"
                    )
                found[index] = episode
        if not found:
            raise InputError(f"{self.path}: its splits {', '.join(names)} hold no episode; a pack holds at least one")
        self.episodes = [found[index] for index in sorted(found)]

    def frames(self, episode: SourceEpisode) -> np.ndarray:
        """The frames that are taken, uint8 [T, H, W, 3]."""
        return episode.dataset.frames(episode.place, self.camera, np.arange(episode.length) * self.step)

    def columns(self, episode: SourceEpisode) -> dict[str, np.ndarray]:
        """The rows that are taken of all columns of numbers, each [T] or [T, ...]."""
        columns = episode.dataset.episode(episode.place).columns
        taken = {}
        for name in columns:
            if name in INDEX_COLUMNS:
                continue
            values = columns[name]
            if values.dtype.kind in NUMBERS:
                taken[name] = values[:: self.step]
            else:
                warn_once(logger, f"{self.path}: column {name} holds no numbers and is not packed")
        return taken

    def about(self, names: Sequence[str]) -> dict[str, Any]:
        """What is said of the set and of columns of it, for its new `meta` folder."""
        features = self.info["features"]
        kept = {name: features[name] for name in names if name in features}
        info = {key: value for key, value in self.info.items() if key not in ("features", "splits")}
        return {"info": info | {"features": kept}, "stats": self._stats([*kept, self.camera])}

    def _stats(self, names: Sequence[str]) -> dict[str, Any]:
        try:
            told = json.loads((self.path / "meta" / "stats.json").read_text(encoding="utf-8"))
            return {name: told[name] for name in names if name in told}
        except (OSError, ValueError, TypeError):  # which nothing here reads
            return {}

    def _episode(self, dataset: LeRobotDataset, place: int, split: str) -> tuple[int, SourceEpisode]:
        index, length, task = dataset.summary(place)
        extra = dict(dataset.episode(place).extra)
        for name in COUNTED:
            if isinstance(extra.get(name), int):
                extra[name] //= self.step
        group = f"{split} {extra[GROUP]}" if extra.get(GROUP) else f"episode {index}"
        return index, SourceEpisode(dataset, place, split, group, -(-length // self.step), task, extra)

    def _camera(self, dataset: LeRobotDataset, camera: str | None) -> str:
        if len(dataset.cameras) != 1:
            if camera is not None:
                return dataset.camera(camera)
            names = ", ".join(key.removeprefix(CAMERA_PREFIX) for key in dataset.cameras) or "none"
            raise InputError(f"{self.path}: a pack takes one camera of each set, and this has {names}; name one")
        return str(dataset.cameras[0])

    def _step(self, fps: float | None) -> int:
        if fps is None:
            return 1
        step = round(self.recorded_fps / fps) if fps > 0 else 0
        if step < 1 or abs(self.recorded_fps / step - fps) > 1e-6 * fps:
            near = self.recorded_fps / max(1, step)
            raise InputError(
                f"fps of {self.name}={show(fps)} is no whole part of the {self.recorded_fps:g} that are recorded; "
                f"nearest: {near:g}"
            )
        return step
