"""The data that every objective names in the same way."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vgen import checks
from vgen.backbone.shapes import check_frames, check_size
from vgen.data.bad_data import BadData
from vgen.data.buckets import Assignment, assign_buckets, parse_sizes
from vgen.data.cache.frames import LISTING, FrameCache
from vgen.data.clips import Clips, read_or_next
from vgen.data.footage import INDEXES, Footage, LeRobotFootage, VideoFolder
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.data.membership import split_as_before, split_episodes
from vgen.data.schedule import BucketSchedule
from vgen.errors import InputError

logger = logging.getLogger(__name__)

NO_CAPTION = "no caption"
MOST_IN_BATCH = 1_000_000  # clips, images or windows


@dataclass
class DataConfig:
    """A LeRobot v3 folder and one of its cameras, or a plain folder of videos, or a ready frame cache."""

    dataset: str | None = None  # LeRobot v3 folder
    camera: str = "main"  # as in observation.images.main
    split: str = "train"
    decode_once: bool = True  # of a LeRobot folder: all frames into the cache; false for one that is too large for that
    videos: str | None = None  # folder of videos, each decoded when it is needed
    captions: str | None = None  # CSV or JSONL; else metadata.csv or metadata.jsonl in the folder, or .txt beside each
    uncaptioned: bool = False  # whether videos without a caption are trained on too, with an empty one
    cache: str = "data/cache"  # folder for what is made of the data; with no data named, a frame cache itself
    sizes: list[str] = field(default_factory=list)  # HEIGHTxWIDTH of the clips; none: the videos' own, if it is one
    fps: float | None = checks.within(None, 0.001)  # of the clips; none: as recorded
    held_out: float = checks.within(0.02, 0, 1)  # share of the episodes kept from training, for validation; 0 for none
    max_bad_share: float = checks.within(0.05, 0, 1)  # of the episodes that may be unreadable or uncaptioned


@dataclass
class DataShare(DataConfig):
    """One of several data sets of a run, beside its first: how often it comes, and what is cut of it."""

    share: float = 1.0  # of the batches, where the first set of the run has 1
    frames: Any = None  # of a clip, as the run's own; none: as the run says
    batch: float = 1.0  # clips per rank, as a share of the run's own: less for longer or larger ones


@dataclass(frozen=True)
class TrainingData:
    """A data set, ready to be cut into batches.

    Attributes:
        footage: where the frames are.
        assignment: the bucket of each episode of the footage, and the reasons for those that have none.
        train, held_out: all clips of the trained and of the held-out episodes.
        bad: the episodes that cannot be used.
    """

    footage: Footage
    assignment: Assignment
    train: Clips
    held_out: Clips
    bad: BadData

    def source(self, episode: int) -> int:
        """The number in its data set of the episode at a place of the footage."""
        assert isinstance(self.footage, FrameCache | LeRobotFootage), "plain videos come from no data set"
        return self.footage.source(episode)

    def stills(self, clips: Clips) -> Clips:
        """All single frames of the episodes that clips are cut from, of the same size."""
        buckets = [bucket and replace(bucket, frames=1) for bucket in self.assignment.buckets]
        return Clips(self.footage, buckets, clips.fps, clips.places)


class ClipBatches:
    """Batches of all clips, in an order shuffled anew for every epoch.

    Args:
        clips: where the clips are cut.
        batch: clips per batch.
        seed: of the order.
        bad: learns of each clip that cannot be decoded; see `read_or_next`.
    """

    def __init__(self, clips: Clips, batch: int, seed: int, bad: BadData) -> None:
        self._clips, self._bad = clips, bad
        self._numbers = list(clips.by_bucket().values())
        self._schedule = BucketSchedule([len(numbers) for numbers in self._numbers], batch, seed)

    def batch(self, step: int, part: int, parts: int) -> tuple[np.ndarray, list[str]]:
        """One of the `parts` batches of a step: uint8 [B, T, H, W, 3], and the names of its clips."""
        bucket, places = self._schedule.rows(step, part, parts)
        numbers = self._numbers[bucket]
        frames = np.arange(self._clips.bucket(int(numbers[0])).frames)
        held = self._clips.take(numbers[places], np.tile(frames, (len(places), 1)))
        if held is not None:
            names = [self._clips.called(int(numbers[place])) for place in places]
            return np.asarray(held), names
        read = [read_or_next(self._clips, numbers, place, self._bad) for place in places]
        names = [self._clips.called(int(numbers[place])) for place, _ in read]
        return np.stack([pixels for _, pixels in read]), names


def shares_of(more: Sequence[DataShare]) -> np.ndarray:
    """The chance of each data set of a run to be the one of a batch, its first one in front: float64, their sum 1.

    Raises:
        InputError: a share is not positive.
    """
    shares = np.array([1.0, *(each.share for each in more)], dtype=np.float64)
    if not (np.isfinite(shares).all() and (shares > 0).all()):
        raise InputError(f"objective.more_data: the shares {shares[1:].tolist()} must be positive numbers, such as 1")
    chances: np.ndarray = shares / shares.sum()
    return chances


def check_batch(name: str, batch: int) -> None:
    """Refuses a batch of no clip.

    Raises:
        InputError: it names the key.
    """
    checks.whole(name, batch, 1, MOST_IN_BATCH)


def share_of_batch(batch: int, share: float) -> int:
    """How many clips or images of a data set are in a batch, 1 or more, where the run says `batch`.

    Raises:
        InputError: the share is not positive.
    """
    if not share > 0:
        raise InputError(f"objective.more_data: a batch of {share:g} of the run's is none; give a share above 0")
    return max(1, round(batch * share))


def open_data(
    config: DataConfig,
    lengths: Sequence[int],
    multiple: int,
    captions: bool = True,
    report: Path | None = None,
    write: bool = True,
    hold: bool = False,
) -> TrainingData:
    """Opens a data set and gives each episode its bucket; says how many were dropped, and why.

    Args:
        lengths: numbers of frames that a clip may have.
        multiple: of which both sides of a clip must be multiples.
        captions: whether an episode without a caption is bad.
        report: a JSONL file that bad episodes are added to, in the folder of the run, which also keeps which episodes
            are held out; None: there is no run.
        write: see `open_footage`.
        hold: whether frames that are decoded once are all read into memory.

    Raises:
        InputError: the data cannot be opened, too much of it is bad, or no episode fits.
    """
    footage = open_footage(config, write)
    if hold and isinstance(footage, FrameCache):
        footage.hold()
    total = len(footage.episodes) + len(footage.bad)
    bad = BadData(total, config.max_bad_share, report, footage.name)
    without = {place for place, episode in enumerate(footage.episodes) if captions and not episode.caption}
    mute = {place for place in without if footage.episodes[place].fault or not config.uncaptioned}
    if without - mute:
        logger.warning("%d of %d videos have no caption: they are used with an empty one", len(without - mute), total)
    silent = [footage.episodes[place] for place in sorted(mute)]
    bad.add_all([*footage.bad, *((episode.name, episode.fault or NO_CAPTION) for episode in silent)])
    assignment = assign_buckets(footage.episodes, parse_sizes(config.sizes, multiple), lengths, config.fps)
    for size in {bucket.size for bucket in assignment.buckets if bucket is not None}:
        check_size(*size, multiple)
    for reason, count in assignment.reasons().items():
        logger.warning("%d of %d videos dropped: %s", count, total, reason)
    kept = [place for place, bucket in enumerate(assignment.buckets) if bucket is not None and place not in mute]
    if not kept:
        reasons = "; ".join(f"{count} {reason}" for reason, count in assignment.reasons().items())
        longest = max(footage.episodes, key=lambda e: e.frames / e.fps, default=None)
        hint = longest and f"; the longest has {longest.frames} frames at {longest.fps:g} fps"
        raise InputError(f"none of {total} videos can be used: {reasons or bad.summary()}{hint or ''}")
    if report is None:
        train, held_out = split_episodes(len(kept), config.held_out)
    else:
        name = f"{footage.name}, {config.split}"
        if isinstance(config, DataShare) and config.frames is not None:  # a set may come at several lengths
            name += f", {config.frames}"
        train, held_out = split_as_before(footage, kept, config.held_out, report.parent, name)
    own, others = (
        Clips(footage, assignment.buckets, config.fps, [kept[n] for n in part]) for part in (train, held_out)
    )
    return TrainingData(footage, assignment, own, others, bad)


def parse_lengths(frames: int | Sequence[int], stride: int) -> list[int]:
    """The lengths that `frames` says, one or a list, sorted.

    Raises:
        InputError: it is neither, or one is not 1 + stride·k.
    """
    given = list(frames) if isinstance(frames, list | tuple) else [frames]
    lengths = [length for length in given if isinstance(length, int)]
    if not lengths or len(lengths) < len(given):
        raise InputError(f"frames={frames} is neither a number nor a list of numbers, such as 77 or [17, 49, 77]")
    for length in lengths:
        check_frames(length, stride)
    return sorted(set(lengths))


def open_footage(config: DataConfig, write: bool = True) -> Footage:
    """The frames of a data set; those of a LeRobot folder are decoded first where `decode_once` says so.

    Args:
        write: whether what is found out is kept, and frames decoded first. Without, nothing is written.

    Raises:
        InputError: the data cannot be opened, two sets are named, or captions without the videos that they are of.
    """
    if config.dataset is not None and config.videos is not None:
        raise InputError("data.dataset and data.videos: name one of the two")
    if config.captions is not None and config.videos is None:
        raise InputError(f"data.captions={config.captions} is read with data.videos alone; name that folder")
    if config.videos is not None:
        return VideoFolder(config.videos, config.captions, config.cache, write)
    if config.dataset is None:
        if not (Path(config.cache) / LISTING).exists():
            raise InputError(
                "no data are named: give data.videos, a folder of videos, or data.dataset, a LeRobot v3 folder "
                f"(data.cache={config.cache} is no frame cache to train on)"
            )
        return FrameCache(config.cache)
    if not write:
        return LeRobotFootage(LeRobotDataset(config.dataset, config.split), config.camera)
    dataset = open_dataset(config)
    if config.decode_once:
        return FrameCache.of_dataset(dataset, config.camera, config.cache)
    return LeRobotFootage(dataset, config.camera, config.cache)


def open_dataset(config: DataConfig) -> LeRobotDataset:
    """The LeRobot data set that is named.

    Raises:
        InputError: as `LeRobotDataset`.
    """
    assert config.dataset is not None, "no data set is named"
    return LeRobotDataset(config.dataset, config.split, Path(config.cache) / INDEXES)
