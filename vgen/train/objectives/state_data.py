"""What Stage I is trained on: the steps of every episode's trajectory, and what its frames show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vgen.data.buckets import clip_frames, frame_step
from vgen.data.clips import Clips, read_or_next
from vgen.data.latents import LatentCache
from vgen.data.lerobot import LeRobotDataset
from vgen.data.windows import Windows
from vgen.ego.convert import to_delta
from vgen.ego.normalise import Statistics
from vgen.ego.trajectory import Trajectory
from vgen.train.objectives.data import TrainingData
from vgen.train.objectives.recorded import recorded_trajectory


@dataclass(frozen=True)
class StateEpisode:
    """An episode at the rate of training.

    Attributes:
        clips: the single-frame clips that show its T frames, T of 2 and more.
        absolute, steps: its trajectory, as it is [T, D] and from frame to frame [T - 1, D], in recorded units.
        caption: the sentence that says what is done.
    """

    clips: list[int]
    absolute: Trajectory
    steps: Trajectory
    caption: str


class StateEpisodes:
    """The trained or the held-out episodes of a data set.

    Args:
        data: its single frames: clips of one frame each.
        clips: the trained or the held-out ones.
        dataset: where the trajectories are.
        column: of the data set, the absolute trajectory.
        layout: what its values mean.

    Attributes:
        episodes: those that can be used.

    Raises:
        InputError: the data set has no such column, or it does not fit the layout.
    """

    def __init__(self, data: TrainingData, clips: Clips, dataset: LeRobotDataset, column: str, layout: str) -> None:
        self._clips, self._bad = clips, data.bad
        self._latents: LatentCache | None = None
        self._rows: dict[int, int] = {}  # clip to row of the latents
        self.episodes: list[StateEpisode] = []
        for place, number in enumerate(clips.places):
            source = data.footage.source(number)
            recorded = recorded_trajectory(dataset, source, column, layout)
            frames = clip_frames(len(recorded), frame_step(dataset.fps, clips.fps))
            frames = frames[frames < len(recorded)]
            if len(frames) < 2:
                continue
            absolute = replace(
                recorded, values=recorded.values[frames], times=recorded.times[frames], valid=recorded.valid[frames]
            )
            if not absolute.valid.any():
                self._bad.add(data.footage.episodes[number].name, f"no row of {column} is finite")
                continue
            numbers = [clips.number(place, int(frame)) for frame in frames]
            self.episodes.append(StateEpisode(numbers, absolute, to_delta(absolute), dataset.summary(source)[2]))

    def windows(self, statistics: Statistics) -> Windows:
        """All windows, their steps normalised."""
        steps = [episode.steps for episode in self.episodes]
        return Windows([statistics.normalise(part) for part in steps], [part.valid for part in steps])

    def encode(self, codec: Path, root: str, workers: int) -> None:
        """Encodes every frame alone, unless a cache holds them, and drops the episodes that cannot be decoded.

        Raises:
            InputError: too many videos cannot be decoded.
        """
        numbers = [number for episode in self.episodes for number in episode.clips]
        if not numbers:
            return
        self._latents = LatentCache.of_clips(self._clips, numbers, codec, root, workers)
        self._rows = {number: row for row, number in enumerate(numbers) if row not in self._latents.bad}
        for row, reason in self._latents.bad.items():
            self._bad.add(self._clips.episode(numbers[row]).name, reason)
        self.episodes = [episode for episode in self.episodes if all(clip in self._rows for clip in episode.clips)]

    def latents(self, place: int, frames: Sequence[int]) -> np.ndarray:
        """Of frames of the episode at that place: float16 [S, C, h, w]."""
        assert self._latents is not None, "encode comes first"
        rows = [self._rows[self.episodes[place].clips[frame]] for frame in frames]
        return np.stack([self._latents.latents[row, :, 0] for row in rows])

    def pixels(self, place: int, frames: Sequence[int]) -> np.ndarray:
        """Of frames of the episode at that place: uint8 [S, 3, H, W].

        Raises:
            InputError: the video cannot be decoded (any more).
        """
        clips = [self.episodes[place].clips[frame] for frame in frames]
        read = [read_or_next(self._clips, [clip], 0, self._bad)[1][0] for clip in clips]
        return np.stack(read).transpose(0, 3, 1, 2)
