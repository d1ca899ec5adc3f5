"""Which clips of the recordings a bench is made of, and for what reason each of the others is left out."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bench_common.flow import opencv
from canvas_suite.clips import fractions
from tqdm import tqdm

from bench_sets.looks import Look, Looks, look
from bench_sets.recordings import Recording
from bench_sets.settings import BuildSettings
from vgen.data.buckets import SLOWEST, clip_frames, frame_step
from vgen.data.cache.hashes import content_key
from vgen.errors import InputError

LOOKS_PER_CLIP = 4  # places of a video that are looked at for each clip that it may give
LOOK_VERSION = 1  # of what is measured, and how
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Chosen:
    """A clip of the bench: the recording, the recorded frames that it takes, and what was measured of it."""

    recording: Recording
    frames: tuple[int, ...]
    look: Look


@dataclass
class Search:
    """What was found on the way.

    Attributes:
        chosen: The clips, in the order in which they were found.
        videos: Recordings that were opened.
        left_videos: How many of them gave nothing to look at, by reason.
        left_clips: How many clips were looked at and left out, by reason.
        looks: All that was measured.
        longest: Frames that the longest of the videos has at the bench's rate.
        fastest: The highest rate of one.
    """

    chosen: list[Chosen] = field(default_factory=list)
    videos: int = 0
    left_videos: Counter[str] = field(default_factory=Counter)
    left_clips: Counter[str] = field(default_factory=Counter)
    looks: list[Look] = field(default_factory=list)
    longest: int = 0
    fastest: float = 0.0

    def left_out(self) -> dict[str, dict[str, int]]:
        """The counts as a manifest has them."""
        return {"videos": dict(sorted(self.left_videos.items())), "clips": dict(sorted(self.left_clips.items()))}


def choose(recordings: Sequence[Recording], settings: BuildSettings, looks: Looks) -> Search:
    """Takes the first clip that passes of each recording in turn, then the second of each, until there are enough.

    Args:
        recordings: in their order.
        settings: the thresholds.
        looks: what was measured before.

    Raises:
        InputError: OpenCV is not installed.
        TryAgain: the disk is full.
    """
    opencv()
    search = Search()
    passing = [_passing(recording, settings, looks, search) for recording in recordings]
    with tqdm(total=settings.clips, desc="choosing clips", unit="clip", delay=2) as bar:
        for _ in range(settings.per_video):
            for clips in passing:
                if len(search.chosen) == settings.clips:
                    return search
                if (clip := next(clips, None)) is not None:
                    search.chosen.append(clip)
                    bar.update()
    return search


def _passing(recording: Recording, settings: BuildSettings, looks: Looks, search: Search) -> Iterator[Chosen]:
    """The clips of a recording that pass, each measured when it is asked for."""
    search.videos += 1
    try:
        places = _places(recording, settings, search)
    except InputError as error:
        logger.warning("left out: %s cannot be read: %s", recording.name, error)
        search.left_videos["unreadable"] += 1
        return
    for frames in places:
        seen = _look(recording, frames, settings, looks)
        if seen is not None:
            search.looks.append(seen)
        if why := _fault(seen, settings):
            search.left_clips[why] += 1
        elif seen is not None:
            yield Chosen(recording, frames, seen)


def _places(recording: Recording, settings: BuildSettings, search: Search) -> list[tuple[int, ...]]:
    """The frames of each clip that is worth a look, as many as fit without a common one, from the middle outwards."""
    length, fps = recording.facts()
    step = frame_step(fps, settings.fps)
    taken = clip_frames(settings.frames, step)
    span = int(taken[-1]) + 1
    search.fastest = max(search.fastest, fps)
    search.longest = max(search.longest, int((length - 1) / step + 0.5) + 1)
    if fps < SLOWEST * settings.fps:
        search.left_videos["slow"] += 1
        return []
    if length < span or length / fps < settings.min_seconds:
        search.left_videos["short"] += 1
        return []
    count = length // span
    offset = length % span // 2
    order = dict.fromkeys(int(share * count) for share in fractions(count))
    starts = [offset + span * place for place in order][: LOOKS_PER_CLIP * settings.per_video]
    return [tuple((start + taken).tolist()) for start in starts]


def _look(recording: Recording, frames: tuple[int, ...], settings: BuildSettings, looks: Looks) -> Look | None:
    """What is measured of a clip; None where it cannot be read."""
    try:
        key = content_key([LOOK_VERSION, recording.sha256, recording.name, frames, settings.size])
        if (known := looks.get(key)) is not None:
            return known
        pixels = recording.read(frames, settings.size)
    except InputError as error:
        logger.warning("left out: %s cannot be read from frame %d on: %s", recording.name, frames[0], error)
        return None
    seen = look(pixels)
    looks.add(key, seen)
    return seen


def _fault(seen: Look | None, settings: BuildSettings) -> str:
    """Why a clip is left out; "" where it is not."""
    if seen is None:
        return "unreadable"
    if seen.cut:
        return "cut"
    if seen.sharpness < settings.min_sharpness:
        return "blurred"
    return "still" if seen.flow < settings.min_flow else ""
