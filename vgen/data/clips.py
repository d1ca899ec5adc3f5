"""Clips for training: cut by number out of any footage, such as a cache of frames that were decoded once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from torch import Tensor

from vgen.data.bad_data import BadData
from vgen.data.buckets import Bucket, EpisodeInfo, clip_frames, frame_step
from vgen.data.cache.frames import FrameCache
from vgen.data.cache.hashes import content_key
from vgen.data.footage import Footage
from vgen.data.schedule import spread
from vgen.errors import InputError
from vgen.media.image import cover


class Clips:
    """Every clip that can be cut out of footage: for each episode, at each frame where one of its bucket may start.

    Args:
        footage: where the frames are.
        buckets: the bucket of each episode of the footage; None for one that is dropped.
        fps: of the clips; None: as recorded.
        episodes: places of the episodes in the footage to cut from; all when None.

    Attributes:
        places: of the episodes that clips are cut from.
    """

    def __init__(
        self,
        footage: Footage,
        buckets: Sequence[Bucket | None],
        fps: float | None = None,
        episodes: Sequence[int] | None = None,
    ) -> None:
        self.footage, self.fps = footage, fps
        chosen = range(len(footage.episodes)) if episodes is None else episodes
        kept = [(place, bucket) for place in chosen if (bucket := buckets[place]) is not None]
        self.places, self._buckets = [place for place, _ in kept], [bucket for _, bucket in kept]
        spans = [self._taken(place, bucket)[-1] + 1 for place, bucket in kept]
        starts = [footage.episodes[p].frames - span + 1 for p, span in zip(self.places, spans, strict=True)]
        assert min(starts, default=1) > 0, "a bucket is longer than its episode"
        self._spans = spans
        self._first = np.concatenate([[0], np.cumsum(starts)]).astype(np.int64)

    def __len__(self) -> int:
        """The number of clips."""
        return int(self._first[-1])

    def bucket(self, number: int) -> Bucket:
        """The bucket of clip `number` (0 .. len - 1)."""
        return self._buckets[self._find(number)[0]]

    def episode(self, number: int) -> EpisodeInfo:
        """The episode that a clip is cut from; its caption is the clip's."""
        return self.footage.episodes[self.places[self._find(number)[0]]]

    def kinds(self) -> set[tuple[Bucket, float]]:
        """The buckets of all clips, each with the frames per second of its clips."""
        rates = [self.footage.episodes[place].fps for place in self.places]
        each = zip(self._buckets, rates, strict=True)
        return {(bucket, rate / frame_step(rate, self.fps)) for bucket, rate in each}

    def key(self, number: int) -> str:
        """Tells the frames of a clip from those of any other of its bucket, by content."""
        place, start = self._find(number)
        episode = self.places[place]
        return content_key([self.footage.keys[episode], self.footage.episodes[episode].fps, start, self.fps])

    def called(self, number: int) -> str:
        """A clip as a message names it."""
        return f"{self.episode(number).name}, from frame {self.start(number)} on"

    def start(self, number: int) -> int:
        """The clip's first frame in its episode."""
        return self._find(number)[1]

    def place(self, number: int) -> int:
        """Which of `places` the clip is cut from."""
        return self._find(number)[0]

    def number(self, place: int, start: int) -> int:
        """The clip that starts at a frame of the episode `places[place]`: what undoes `episode` and `start`."""
        number = int(self._first[place]) + start
        assert self._first[place] <= number < self._first[place + 1], f"no clip starts there: {place}, {start}"
        return number

    def pixels(self, number: int, frames: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """Frames of a clip, scaled to cover its bucket's size and cropped to it around the centre.

        Args:
            number: the clip, in the order of the episodes and of time.
            frames: which of its T frames, in any order; negative ones lie before it, see `recorded`; None: all.

        Returns:
            uint8 [K, H, W, 3].

        Raises:
            InputError: the video cannot be decoded.
        """
        place, _ = self._find(number)
        bucket = self._buckets[place]
        wanted, size = self.recorded(number, range(bucket.frames) if frames is None else frames), bucket.size
        return cover(self.footage.read(self.places[place], wanted.tolist()), size)

    def take(self, numbers: np.ndarray, frames: np.ndarray) -> Tensor | None:
        """Frames [B, K] of clips [B], as `pixels` gives them one clip after another, uint8 [B, K, H, W, 3]; None where
        the footage does not hold its frames in memory, or they are of another size than the clips."""
        footage = self.footage
        if not isinstance(footage, FrameCache) or footage.held is None or not len(numbers):
            return None
        places = np.searchsorted(self._first, numbers, side="right") - 1
        if any(self._buckets[place].size != tuple(footage.held.shape[1:3]) for place in np.unique(places)):
            return None
        step = frame_step(footage.fps, self.fps)
        starts = (numbers - self._first[places])[:, None]
        wanted = np.maximum(starts + np.floor(frames * step + 0.5).astype(np.int64), 0)
        return footage.take(np.asarray(self.places)[places], wanted)

    def recorded(self, number: int, frames: Sequence[int] | np.ndarray) -> np.ndarray:
        """Where frames of a clip lie in its recorded episode, int64 [K]. Negative ones come before the clip; where the
        episode begins later, its first frame stands in for them."""
        place, start = self._find(number)
        step = frame_step(self.footage.episodes[self.places[place]].fps, self.fps)
        return np.maximum(start + np.floor(np.asarray(frames) * step + 0.5).astype(np.int64), 0)

    def spread(self, count: int) -> list[int]:
        """The numbers of `count` clips (fewer where there are fewer) spread evenly over all of them."""
        return spread(len(self), count)

    def windows(self) -> list[int]:
        """The numbers of clips that lie one after another: as many as fit into each episode without a common frame,
        centred in it."""
        numbers = []
        for place, span in enumerate(self._spans):
            frames = self.footage.episodes[self.places[place]].frames
            offset = frames % span // 2
            numbers += [int(self._first[place]) + offset + span * turn for turn in range(frames // span)]
        return numbers

    def by_bucket(self) -> dict[Bucket, np.ndarray]:
        """The numbers of all clips of each bucket, the buckets sorted."""
        parts: dict[Bucket, list[np.ndarray]] = {bucket: [] for bucket in sorted(set(self._buckets))}
        for place, bucket in enumerate(self._buckets):
            parts[bucket].append(np.arange(self._first[place], self._first[place + 1]))
        return {bucket: np.concatenate(numbers) for bucket, numbers in parts.items()}

    def _find(self, number: int) -> tuple[int, int]:
        """The place of a clip's episode among those it is cut from, and its first frame."""
        place = int(np.searchsorted(self._first, number, side="right")) - 1
        return place, int(number - self._first[place])

    def _taken(self, episode: int, bucket: Bucket) -> np.ndarray:
        return clip_frames(bucket.frames, frame_step(self.footage.episodes[episode].fps, self.fps))


def read_or_next(
    clips: Clips,
    numbers: Sequence[int] | np.ndarray,
    place: int,
    bad: BadData,
    frames: Sequence[int] | np.ndarray | None = None,
) -> tuple[int, np.ndarray]:
    """Frames (see `Clips.pixels`) of clip `numbers[place]`. Where its video cannot be decoded (any more), that is
    noted, and the next of `numbers` stands in for it (after the last, the first): the same one whoever asks, and when.

    Returns:
        The place of the clip that was read, and its pixels.

    Raises:
        InputError: too many videos cannot be decoded.
    """
    for candidate in chain(range(place, len(numbers)), range(place)):
        try:
            return candidate, clips.pixels(int(numbers[candidate]), frames)
        except InputError as error:
            bad.add(clips.episode(int(numbers[candidate])).name, str(error))
    raise InputError(f"no clip of {clips.footage.name} can be decoded any more; {bad.summary()}")
