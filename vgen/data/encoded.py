"""Clips with their latents, bucket by bucket: what batches of the canvas are put together from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vgen.data.bad_data import BadData
from vgen.data.buckets import Bucket
from vgen.data.cache.frames import FrameCache
from vgen.data.cache.latents import LatentCache
from vgen.data.clips import Clips, read_or_next
from vgen.data.schedule import BucketSchedule, spread


@dataclass(frozen=True)
class Samples:
    """Clips of a batch: their latents float16 [B, C, F, h, w], chosen frames uint8 [B, K, 3, H, W] of each, their
    captions, their numbers among the clips, and their names."""

    latents: Tensor
    pixels: Tensor
    captions: list[str]
    numbers: list[int]
    names: list[str]


class EncodedClips:
    """Some clips and their latents, encoded now where no cache holds them.

    Args:
        clips: where the clips are cut.
        numbers: which of them.
        codec: folder of the AutoencoderKLWan.
        root: folder below which latents are kept.
        workers: processes that encode.
        bad: learns of each clip that cannot be decoded, now or later.
        batch: clips per batch.
        seed: of the order of clips.

    Attributes:
        buckets: those that hold a clip, sorted.

    Raises:
        InputError: too many videos cannot be decoded.
    """

    def __init__(
        self,
        clips: Clips,
        numbers: Sequence[int],
        codec: Path,
        root: str,
        workers: int,
        bad: BadData,
        batch: int,
        seed: int,
    ) -> None:
        self._clips, self._bad, self._batch = clips, bad, batch
        by_bucket = defaultdict(list)
        for number in numbers:
            by_bucket[clips.bucket(number)].append(number)
        self.buckets: list[Bucket] = []
        self._numbers: list[list[int]] = []  # per bucket, the clips that can be decoded ...
        self._rows: list[list[int]] = []  # ... and the row of each in the bucket's cache
        self._latents: list[LatentCache] = []
        for bucket in sorted(by_bucket):
            cache = LatentCache.of_clips(clips, by_bucket[bucket], codec, root, workers)
            if isinstance(clips.footage, FrameCache) and clips.footage.held is not None:
                cache.hold()
            for row, reason in cache.bad.items():
                bad.add(clips.episode(by_bucket[bucket][row]).name, reason)
            rows = [row for row in range(len(cache)) if row not in cache.bad]
            if rows:
                self.buckets.append(bucket)
                self._rows.append(rows)
                self._numbers.append([by_bucket[bucket][row] for row in rows])
                self._latents.append(cache)
        self._schedule = BucketSchedule(self.counts, batch, seed) if self.buckets else None

    def __len__(self) -> int:
        """The number of clips."""
        return sum(self.counts)

    @property
    def counts(self) -> list[int]:
        """The number of clips of each bucket."""
        return [len(rows) for rows in self._rows]

    @property
    def captions(self) -> set[str]:
        """All captions of the clips."""
        return {self._clips.episode(number).caption for numbers in self._numbers for number in numbers}

    def deal(self, step: int, part: int, parts: int) -> tuple[int, list[int]]:
        """The bucket (its place in `buckets`) of a training step, and the clips (0 .. count - 1) of one part of it."""
        assert self._schedule is not None, "there are no clips"
        return self._schedule.rows(step, part, parts)

    def shares(self, rank: int, world: int) -> Iterator[tuple[int, list[int]]]:
        """All clips in batches, shared between ranks, as many for each: a bucket's first clips come again where its
        number is no multiple of the ranks."""
        for place, count in enumerate(self.counts):
            mine = [clip % count for clip in range(rank, -(-count // world) * world, world)]
            for start in range(0, len(mine), self._batch):
                yield place, mine[start : start + self._batch]

    def samples(self, bucket: int, clips: Sequence[int], frames: np.ndarray) -> Samples:
        """Clips with some of their frames, [B, K] (K may be 0); see `read_or_next` for a video that fails."""
        own = self._numbers[bucket]
        pixels = self._clips.take(np.array([own[clip] for clip in clips]), frames)
        if pixels is None:
            read = [self._read(own, clip, rows) for clip, rows in zip(clips, frames, strict=True)]
            clips = [clip for clip, _ in read]
            pixels = torch.from_numpy(np.stack([each for _, each in read]))
        numbers = [own[clip] for clip in clips]
        rows = np.array([self._rows[bucket][clip] for clip in clips])
        return Samples(
            latents=torch.from_numpy(self._latents[bucket].take(rows)),
            pixels=pixels.permute(0, 1, 4, 2, 3),
            captions=[self._clips.episode(number).caption for number in numbers],
            numbers=numbers,
            names=[self._clips.called(number) for number in numbers],
        )

    def spread(self, count: int) -> Iterator[Samples]:
        """At most so many clips, one by one, evenly over all of them in their order; without frames."""
        known = [(bucket, clip) for bucket, size in enumerate(self.counts) for clip in range(size)]
        for place in spread(len(known), count):
            bucket, clip = known[place]
            yield self.samples(bucket, [clip], np.zeros((1, 0), np.int64))

    def _read(self, numbers: Sequence[int], clip: int, frames: np.ndarray) -> tuple[int, np.ndarray]:
        """A clip, or the one that stands in for it, and frames of it, of which there may be none."""
        if not len(frames):
            return clip, np.zeros((0, 0, 0, 3), np.uint8)
        return read_or_next(self._clips, numbers, clip, self._bad, frames)
