"""Whose hands the benchmark looks at, and where their recordings are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from vgen.data.buckets import clip_frames, frame_step
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.data.lerobot.meta import read_info, splits_of
from vgen.errors import InputError, unknown_key
from vgen.media.fitting import fit_image
from vgen.trajectory.recorded import recorded_trajectory
from vgen.trajectory.trajectory import Trajectory

USUAL = ("train", "test")  # splits that every recorded body has


@dataclass(frozen=True)
class RecordedBody:
    """One body.

    Attributes:
        name: by which options and results speak of it.
        data: LeRobot v3 folder of its episodes.
        counterfactuals: folder of groups of episodes that part from one state; None: there are none.
        layout: of its trajectory.
        record: the commands that record the two folders, without `--out`.
        camera: whose video is looked at.
        column: of both folders, the absolute trajectory.
        rate: rows per second that are taken; None: all that were recorded.
        size: (H, W) that frames are brought to, cut to its shape; None: as they were recorded.
    """

    name: str
    data: Path
    counterfactuals: Path | None
    layout: str
    record: tuple[str, str]
    camera: str = "first_person"
    column: str = "observation.state"
    rate: float | None = None
    size: tuple[int, int] | None = None

    def rows(self, dataset: LeRobotDataset, length: int) -> np.ndarray:
        """The recorded rows that are taken of an episode of some length, int64 [T]."""
        rows = clip_frames(length, frame_step(dataset.fps, self.rate))
        taken: np.ndarray = rows[rows < length]
        return taken

    def frames(self, dataset: LeRobotDataset, number: int, rows: np.ndarray) -> np.ndarray:
        """Frames of an episode of a split, uint8 [T, H, W, 3]."""
        frames = dataset.frames(number, self.camera, rows)
        if self.size is None or frames.shape[1:3] == self.size:
            return frames
        size = self.size[::-1]
        return np.stack([np.asarray(fit_image(Image.fromarray(frame), size, "cover")) for frame in frames])

    def trajectory(self, dataset: LeRobotDataset, number: int, rows: np.ndarray) -> Trajectory:
        """Rows of the absolute trajectory of an episode of a split."""
        whole = recorded_trajectory(dataset, number, self.column, self.layout)
        return replace(whole, values=whole.values[rows], times=whole.times[rows], valid=whole.valid[rows])


def all_bodies(metaworld: Path, metaworld_cf: Path, adroit: Path, adroit_cf: Path) -> list[RecordedBody]:
    """Both bodies of the benchmark, each with its two folders."""
    groups = "--counterfactuals 4 --train-seeds 0 --test-seeds 1"
    commands = {name: (f"vgen record {name}", f"vgen record {name} {groups}") for name in ("metaworld", "adroit")}
    return [
        RecordedBody("metaworld", metaworld, metaworld_cf, "position4", commands["metaworld"]),
        RecordedBody("adroit", adroit, adroit_cf, "adroit_hand", commands["adroit"]),
    ]


def choose_bodies(bodies: Sequence[RecordedBody], names: str | None, split: str, groups: bool) -> list[RecordedBody]:
    """The bodies of a run: the named ones (separated by commas), or all whose data set has the split.

    Args:
        groups: whether their counterfactuals are needed.

    Raises:
        InputError: an unknown name, a data set without that split, or a folder that is not there; the message says
            which splits there are, or how to record it.
    """
    known = {body.name: body for body in bodies}
    asked = list(known) if names is None else names.split(",")
    for name in asked:
        if name not in known:
            raise unknown_key(name, known, "the bodies")
    found = {name: _splits(known[name].data) for name in asked if known[name].data.exists()}
    chosen = [name for name in found if split in found[name]]
    missing = [name for name in asked if name not in found]
    passed_over = names is None and split not in USUAL and chosen  # as Adroit is where the split is unseen
    if missing and not passed_over:
        raise _not_there(known[missing[0]].data, known[missing[0]], 0, known)
    if not chosen or (names is not None and chosen != asked):
        told = "; ".join(f"{known[name].data} has {', '.join(found[name])}" for name in found if name not in chosen)
        raise InputError(f"not all bodies that are asked for have split={split}: {told}")
    for name in chosen:
        folder = known[name].counterfactuals
        if not groups or folder is None:
            continue
        if not folder.exists():
            raise _not_there(folder, known[name], 1, known)
        if split not in (has := _splits(folder)):
            rule = f"{folder} has {', '.join(has)}; leave counterfactual out of --sections"
            raise InputError(f"split={split} has no counterfactuals of {name}: {rule}")
    return [known[name] for name in chosen]


def _splits(folder: Path) -> list[str]:
    return list(splits_of(read_info(folder), folder))


def _not_there(folder: Path, body: RecordedBody, which: int, known: Iterable[str]) -> InputError:
    """Of one of a body's folders that is not there, made by the first or second of its commands."""
    others = ",".join(name for name in known if name != body.name)
    way = f"record it with: {body.record[which]} --out {folder}, or leave {body.name} out: --bodies {others}"
    return InputError(f"{folder} is not there; {way}")
