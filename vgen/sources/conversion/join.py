"""Joins the shards of a conversion to the data set that one machine would have made."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vgen.checks import show
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.data.lerobot.meta import CAMERA_PREFIX, INDEX_COLUMNS, read_info
from vgen.data.lerobot.staging import alone, count_in
from vgen.data.lerobot.writer import LeRobotWriter, disk_errors
from vgen.errors import InputError
from vgen.media.writing import cut_video
from vgen.results import DATASET, check_folder
from vgen.sources.conversion.report import FILE, Report, added, read_report
from vgen.sources.conversion.splits import split_order

SAME = ("features", "fps", "robot_type")  # of info.json, in all shards


@dataclass(frozen=True)
class _Shard:
    """A shard as it lies in its folder."""

    folder: Path
    report: Report
    info: dict[str, Any]


@dataclass(frozen=True)
class _Place:
    """Where an episode lies: its take, and its number in a split of a shard."""

    split: str
    take: str
    group: str
    dataset: LeRobotDataset
    number: int


def join(folders: Sequence[Path], out: Path, overwrite: bool = False) -> Report:
    """Joins shards: frames are copied as they are coded, rows as they are.

    Raises:
        InputError: a shard is missing, there twice, or made with other settings; or `out` holds something.
        TryAgain: the disk is full.
    """
    shards = [_Shard(folder, read_report(folder), read_info(folder)) for folder in folders]
    _check(shards)
    check_folder(out, DATASET, overwrite)
    places = sorted(
        (place for shard in shards for place in _places(shard)),
        key=lambda place: (split_order(place.split), place.take),
    )
    report = _joined([shard.report for shard in shards], places)
    staging = out.with_name(out.name + ".joining")
    with disk_errors(staging), alone(staging):
        _write(shards[0].info, places, out, staging, report, overwrite)
        shutil.rmtree(staging)
    return report


def _check(shards: Sequence[_Shard]) -> None:
    """Refuses shards that are not all parts of one conversion."""
    first = shards[0]
    count = first.report.shard[1]
    for shard in shards:
        if shard.report.shard[1] != count:
            told = f"{first.folder} is one of {count} shards and {shard.folder} of {shard.report.shard[1]}"
            raise InputError(f"{told}; join those of one conversion")
        for name, said in first.report.settings.items():
            if shard.report.settings.get(name) != said:
                other = show(shard.report.settings.get(name))
                told = f"{first.folder} and {shard.folder} differ in {name}: {show(said)} and {other}"
                raise InputError(f"{told}; convert one of them again")
        for name in SAME:
            if shard.info.get(name) != first.info.get(name):
                raise InputError(f"{first.folder} and {shard.folder} differ in {name} (such as the size of frames)")
        if shard.report.takes != first.report.takes:
            told = f"{first.folder} is of {first.report.takes} takes and {shard.folder} of {shard.report.takes}"
            raise InputError(f"{told}; the source was not the same: convert one of them again")
    numbers = [shard.report.shard[0] for shard in shards]
    if twice := [number for number in numbers if numbers.count(number) > 1]:
        same = [str(shard.folder) for shard in shards if shard.report.shard[0] == twice[0]]
        raise InputError(f"{' and '.join(same[:2])} are both shard {twice[0]} of {count}; name each once")
    if missing := sorted(set(range(1, count + 1)) - set(numbers)):
        raise InputError(f"shard {missing[0]} of {count} is missing; name all {count} folders")


def _places(shard: _Shard) -> list[_Place]:
    places = []
    for split in shard.report.episodes:
        dataset = LeRobotDataset(shard.folder, split)
        for number in range(len(dataset)):
            told = dataset.episode(number).extra
            places.append(_Place(split, str(told["take"]), str(told["group"]), dataset, number))
    return places


def _write(
    info: dict[str, Any], places: Sequence[_Place], out: Path, staging: Path, report: Report, overwrite: bool
) -> None:
    features = {name: feature for name, feature in info["features"].items() if name not in INDEX_COLUMNS}
    names = {name: feature["names"] for name, feature in features.items() if feature["dtype"] != "video"}
    cameras = [name for name, feature in features.items() if feature["dtype"] == "video"]
    told = {name: features[name].get("info", {}) for name in names}
    writer = LeRobotWriter(
        out,
        info["fps"],
        names,
        cameras,
        robot_type=info["robot_type"],
        overwrite=overwrite,
        layouts={name: said["layout"] for name, said in told.items() if "layout" in said},
        conventions={name: said["conventions"] for name, said in told.items() if "conventions" in said},
    )
    splits: dict[str, tuple[int, int]] = {}
    for count, place in enumerate(tqdm(places, desc="joining", unit="take")):
        episode = place.dataset.episode(place.number)
        videos = {}
        for camera in cameras:
            begin = place.dataset.start(place.number, camera)
            assert begin is not None, "the writer says where an episode begins"
            first = round(begin * info["fps"])
            videos[camera] = staging / f"{count}-{camera.removeprefix(CAMERA_PREFIX)}.mp4"
            source = place.dataset.frame_file(place.number, camera)
            cut_video(source, first, first + episode.length, videos[camera])
        columns = {name: episode.columns[name].reshape(episode.length, -1) for name in names}
        index = writer.add_episode(columns, videos, episode.task, episode.extra)
        count_in(splits, place.split, index)
    writer.finish(splits, {FILE: report.text()})


def _joined(reports: Sequence[Report], places: Sequence[_Place]) -> Report:
    """The report of all shards together."""
    splits = dict.fromkeys(place.split for place in places)
    return replace(
        reports[0],
        shard=(1, 1),
        episodes={split: sum(place.split == split for place in places) for split in splits},
        groups={split: len({place.group for place in places if place.split == split}) for split in splits},
        frames=sum(one.frames for one in reports),
        invalid=added(one.invalid for one in reports),
        mended=added(one.mended for one in reports),
        left_out=dict(sorted(item for one in reports for item in one.left_out.items())),
    )
