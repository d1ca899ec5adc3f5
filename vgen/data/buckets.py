"""Buckets: the few sizes and lengths that clips are cut to, so that a batch is one tensor without padding."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vgen.backbone.shapes import check_size
from vgen.errors import InputError

SAME_ASPECT = 0.05  # sizes whose aspects differ by less (natural logarithm) are sizes of one aspect
SLOWEST = 0.95  # of data.fps: a video that runs a little slower is taken frame by frame

Size = tuple[int, int]
"""(H, W) in pixels."""


@dataclass(frozen=True, order=True)
class Bucket:
    """Clips of T frames of HxW pixels."""

    height: int
    width: int
    frames: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width}x{self.frames}"

    @property
    def size(self) -> Size:
        """(H, W)."""
        return self.height, self.width


@dataclass(frozen=True)
class EpisodeInfo:
    """What is known of an episode without decoding it.

    Attributes:
        name: what its user knows it by, such as a file's name.
        frames, fps, height, width: of its video.
        caption: the sentence that says what happens.
        fault: why there is a caption that cannot be read; else "".
    """

    name: str
    frames: int
    fps: float
    height: int
    width: int
    caption: str
    fault: str = ""

    @property
    def size(self) -> Size:
        """(H, W)."""
        return self.height, self.width


@dataclass(frozen=True)
class Assignment:
    """The bucket of each episode, or the reason why it has none.

    Attributes:
        buckets: per episode; None for one that is dropped.
        drops: per dropped episode (its place), why.
    """

    buckets: list[Bucket | None]
    drops: dict[int, str]

    def reasons(self) -> Counter[str]:
        """How many episodes each kind of reason (what stands before the colon) drops."""
        return Counter(reason.split(":")[0] for reason in self.drops.values())


def assign_buckets(
    episodes: Sequence[EpisodeInfo], sizes: Sequence[Size], lengths: Sequence[int], fps: float | None
) -> Assignment:
    """Gives each episode the size whose aspect is nearest to its own, and the longest length that fits into it.

    Of sizes that share that aspect (within 5 %), the largest is taken that the video covers without being enlarged.

    Args:
        sizes: (H, W) each; none: the episodes' own size, which must be one.
        lengths: numbers of frames T.
        fps: of the clips; None: as recorded.

    Raises:
        InputError: no sizes are given and the episodes differ in size.
    """
    chosen = list(sizes) or [_own_size(episodes)]
    buckets: list[Bucket | None] = []
    drops: dict[int, str] = {}
    for place, episode in enumerate(episodes):
        try:
            bucket = _bucket_of(episode, chosen, lengths, fps)
        except _Dropped as dropped:
            bucket, drops[place] = None, str(dropped)
        buckets.append(bucket)
    return Assignment(buckets, drops)


def frame_step(recorded: float, fps: float | None) -> float:
    """How many recorded frames lie between two frames of a clip: 1 or more, and not always whole."""
    return 1.0 if fps is None else max(1.0, recorded / fps)


def clip_frames(frames: int, step: float) -> np.ndarray:
    """The recorded frames [T], from 0, that a clip of T frames takes: those nearest to its times."""
    places: np.ndarray = np.floor(np.arange(frames) * step + 0.5)
    return places.astype(np.int64)


def parse_sizes(texts: Sequence[str], multiple: int) -> list[Size]:
    """(H, W) of each text HxW.

    Raises:
        InputError: it is not of this form, or a side is no multiple of `multiple`.
    """
    sizes = []
    for text in texts:
        found = re.fullmatch(r"\s*(\d+)\s*x\s*(\d+)\s*", str(text))
        if not found:
            near = f"{text}x{text}" if str(text).isdecimal() else "384x672"
            raise InputError(f"sizes: {str(text)!r} is not HEIGHTxWIDTH, such as {near}")
        sizes.append((int(found[1]), int(found[2])))
        check_size(*sizes[-1], multiple)
    return sizes


class _Dropped(Exception):
    """An episode fits no bucket; the message says why."""


def _own_size(episodes: Sequence[EpisodeInfo]) -> Size:
    found = Counter(episode.size for episode in episodes)
    if len(found) > 1:
        shown = ", ".join(f"{h}x{w} ({count})" for (h, w), count in found.most_common(4))
        raise InputError(f"the videos have {len(found)} sizes: {shown}; say data.sizes, such as data.sizes=[384x672]")
    if not found:
        raise InputError("there is no video to train on")
    return next(iter(found))


def _bucket_of(episode: EpisodeInfo, sizes: Sequence[Size], lengths: Sequence[int], fps: float | None) -> Bucket:
    if fps is not None and episode.fps < SLOWEST * fps:
        raise _Dropped(f"fewer frames a second than data.fps={fps:g}: {episode.fps:g}")
    step = frame_step(episode.fps, fps)
    fitting = [length for length in lengths if clip_frames(length, step)[-1] < episode.frames]
    if not fitting:
        shown = f"{episode.frames} at {episode.fps:g} fps"
        raise _Dropped(f"too short for {min(lengths)} frames{_at(fps)}: {shown}")
    distances = [abs(math.log(h / w) - math.log(episode.height / episode.width)) for h, w in sizes]
    near = [size for size, far in zip(sizes, distances, strict=True) if far < min(distances) + SAME_ASPECT]
    covered = [(h, w) for h, w in near if h <= episode.height and w <= episode.width]
    if not covered:
        height, width = min(near)
        raise _Dropped(f"smaller than its size {height}x{width}: {episode.height}x{episode.width}")
    return Bucket(*max(covered, key=lambda size: size[0] * size[1]), max(fitting))


def _at(fps: float | None) -> str:
    return "" if fps is None else f" at {fps:g} fps"
