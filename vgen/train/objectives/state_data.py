"""What Stage I is trained on: of every body the steps of its trajectories, and what its frames show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vgen.data.buckets import clip_frames, frame_step
from vgen.data.cache.frames import FrameCache
from vgen.data.cache.latents import LatentCache
from vgen.data.clips import Clips, read_or_next
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.data.opening import TrainingData, open_data, open_dataset
from vgen.data.schedule import BucketSchedule
from vgen.data.windows import Windows
from vgen.errors import InputError
from vgen.train.batch import Batch
from vgen.train.objectives.bodies import BodyConfig, check_units, tell_missing_rows
from vgen.trajectory.convert import to_delta
from vgen.trajectory.recorded import recorded_trajectory
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import Trajectory


@dataclass(frozen=True)
class StateBatch(Batch):
    """Windows as Stage I is asked with them.

    Attributes:
        clips: the names of B episodes.
        layout: of their trajectories, by name.
        question: policy or inverse_dynamics.
        prompt, text: B sentences each: what the model is told, and what it is to say.
        frames: what is seen: latents float16 [B, S, C, h, w], or for CLIP pixels uint8 [B, S, 3, H, W].
        frame_times: int64 [S], of the frames.
        frames_valid: bool [B, S], where an episode has the frame.
        past: float32 [B, A, D], the steps that are known, normalised.
        past_times: int64 [A], of their arrivals.
        past_valid: bool [B, A].
        next: float32 [B, K, D], the steps that follow.
        next_valid: bool [B, K].
    """

    clips: list[str]
    layout: str
    question: str
    prompt: list[str]
    text: list[str]
    frames: Tensor
    frame_times: Tensor
    frames_valid: Tensor
    past: Tensor
    past_times: Tensor
    past_valid: Tensor
    next: Tensor
    next_valid: Tensor


@dataclass(frozen=True)
class WindowChoice:
    """What a batch is told of its windows, and what it is asked for; times count from the present frame.

    Attributes:
        question: policy or inverse_dynamics.
        frames: times of the S frames that are known.
        past: arrivals of the A actions that are known.
        count: of the actions that follow.
        rest: whether the body rests after the end of an episode, rather than that nothing is said of it.
    """

    question: str
    frames: range
    past: range
    count: int
    rest: bool


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

    @property
    def rest(self) -> Trajectory:
        """The single step of a body that stays at its last valid row."""
        last = int(self.absolute.valid.nonzero()[0][-1])
        row = self.absolute.rows(last, last + 1)
        return to_delta(
            replace(row, values=row.values[[0, 0]], times=row.times[0] + np.arange(2.0), valid=np.ones(2, bool))
        )


class StateEpisodes:
    """The trained or the held-out episodes of a data set.

    Args:
        data: its single frames: clips of one frame each.
        clips: the trained or the held-out ones.
        dataset: where the trajectories are.
        body: says which column of it is the trajectory, and what its values mean.

    Attributes:
        episodes: those that can be used.
        windows: all of theirs, once `normalise` has cut them.

    Raises:
        InputError: the data set has no such column, or it does not fit the layout.
    """

    windows: Windows

    def __init__(self, data: TrainingData, clips: Clips, dataset: LeRobotDataset, body: BodyConfig) -> None:
        self._clips, self._bad, self._layout = clips, data.bad, body.layout
        self._latents: LatentCache | None = None
        self._rows: dict[int, int] = {}  # clip to row of the latents
        recordings: dict[str, Trajectory] = {}
        told: dict[str, tuple[list[int], str]] = {}  # clips of all frames, and the caption
        for place, number in enumerate(clips.places):
            source = data.source(number)
            recorded = recorded_trajectory(dataset, source, body.column, body.layout)
            frames = clip_frames(len(recorded), frame_step(dataset.fps, clips.fps))
            frames = frames[frames < len(recorded)]
            if len(frames) < 2:
                continue
            absolute = replace(
                recorded, values=recorded.values[frames], times=recorded.times[frames], valid=recorded.valid[frames]
            )
            name = data.footage.episodes[number].name
            recordings[name] = absolute
            told[name] = [clips.number(place, int(frame)) for frame in frames], dataset.summary(source)[2]
        for name in tell_missing_rows(body, recordings, data.bad):
            del recordings[name]
        self.episodes = [
            StateEpisode(told[name][0], absolute, to_delta(absolute), told[name][1])
            for name, absolute in recordings.items()
        ]

    def normalise(self, statistics: Statistics) -> None:
        """Cuts the windows, their steps normalised."""
        steps = [episode.steps for episode in self.episodes]
        rest = [statistics.normalise(episode.rest)[0] for episode in self.episodes]
        self.windows = Windows([statistics.normalise(part) for part in steps], [part.valid for part in steps], rest)

    def batch(self, numbers: Sequence[int], choice: WindowChoice, mute: bool) -> StateBatch:
        """A batch of some windows.

        Args:
            numbers: B windows.
            choice: what is known of them, and what is asked for; K is less where all B episodes end before.
            mute: whether the prompts say nothing, rather than what is to be told.
        """
        windows, count = self.windows, choice.count
        seen, there = zip(*(windows.frames(number, choice.frames) for number in numbers), strict=True)
        known, known_valid = zip(*(windows.steps(number, choice.past) for number in numbers), strict=True)
        if choice.rest:
            coming = [windows.future(number, count) for number in numbers]
        else:
            coming = [windows.steps(number, range(1, count + 1)) for number in numbers]
        steps, valid = map(np.stack, zip(*coming, strict=True))
        length = max(1, int(np.flatnonzero(valid.any(0)).max(initial=0)) + 1)
        places = [windows.present(number)[0] for number in numbers]
        read = self.pixels if self._latents is None else self.latents
        text = [self.episodes[place].caption for place in places]
        return StateBatch(
            clips=[self._clips.episode(self.episodes[place].clips[0]).name for place in places],
            layout=self._layout,
            question=choice.question,
            prompt=[""] * len(text) if mute else text,
            text=text,
            frames=_stacked([read(place, rows) for place, rows in zip(places, seen, strict=True)]),
            frame_times=torch.tensor(choice.frames),
            frames_valid=_stacked(there),
            past=_stacked(known),
            past_times=torch.tensor(choice.past, dtype=torch.int64),
            past_valid=_stacked(known_valid),
            next=torch.from_numpy(steps[:, :length]),
            next_valid=torch.from_numpy(valid[:, :length]),
        )

    def encode(self, codec: Path, root: str, workers: int) -> None:
        """Encodes every frame alone, unless a cache holds them, and drops the episodes that cannot be decoded.

        Raises:
            InputError: too many videos cannot be decoded.
        """
        numbers = [number for episode in self.episodes for number in episode.clips]
        if not numbers:
            return
        self._latents = LatentCache.of_clips(self._clips, numbers, codec, root, workers)
        if isinstance(footage := self._clips.footage, FrameCache) and footage.held is not None:
            self._latents.hold()
        self._rows = {number: row for row, number in enumerate(numbers) if row not in self._latents.bad}
        for row, reason in self._latents.bad.items():
            self._bad.add(self._clips.episode(numbers[row]).name, reason)
        self.episodes = [episode for episode in self.episodes if all(clip in self._rows for clip in episode.clips)]

    def latents(self, place: int, frames: Sequence[int]) -> np.ndarray:
        """The latents of frames of the episode at that place: float16 [S, C, h, w]."""
        assert self._latents is not None, "encode comes first"
        rows = [self._rows[self.episodes[place].clips[frame]] for frame in frames]
        return self._latents.take(np.array(rows))[:, :, 0]

    def pixels(self, place: int, frames: Sequence[int]) -> np.ndarray:
        """The pixels of frames of the episode at that place: uint8 [S, 3, H, W].

        Raises:
            InputError: the video cannot be decoded (any more).
        """
        clips = [self.episodes[place].clips[frame] for frame in frames]
        read = [read_or_next(self._clips, [clip], 0, self._bad)[1][0] for clip in clips]
        return np.stack(read).transpose(0, 3, 1, 2)


class BodyEpisodes:
    """One body: its trained and its held-out episodes, and the order in which windows of the first are trained on.

    Args:
        config: the body, as a recipe names it.
        multiple: both sides of a frame are multiples of it.
        report, hold: see `open_data`.

    Attributes:
        rate: steps per second.
        trained, held_out: its episodes.
        bad: those that cannot be used.
        schedule: of the trained windows, once `normalise` has cut them.

    Raises:
        InputError: see `StateEpisodes` and `open_data`.
    """

    schedule: BucketSchedule

    def __init__(self, config: BodyConfig, multiple: int, report: Path | None = None, hold: bool = False) -> None:
        self.config = config
        data = open_data(config.data, [1], multiple, report=report, hold=hold)
        dataset = open_dataset(config.data)
        self.rate, self.bad = config.data.fps or dataset.fps, data.bad
        self.trained, self.held_out = (
            StateEpisodes(data, clips, dataset, config) for clips in (data.train, data.held_out)
        )

    def encode(self, codec: Path, root: str, workers: int) -> None:
        """See `StateEpisodes.encode`."""
        for part in (self.trained, self.held_out):
            part.encode(codec, root, workers)

    def normalise(self, statistics: Statistics | None, batch: int, seed: int) -> Statistics:
        """Cuts the windows; from now on `schedule` deals those of the trained episodes in batches.

        Args:
            statistics: of the steps; None: those of all trained episodes.
            batch, seed: of the schedule.

        Returns:
            The statistics.

        Raises:
            InputError: no episode is left to train on, or they are in other units than the statistics.
        """
        episodes = self.trained.episodes
        if not episodes:
            data = self.config.data.dataset
            raise InputError(f"no episode of {data} is left to train on: {self.bad.summary()}")
        if statistics is None:
            statistics = Statistics.fit([episode.steps for episode in episodes], self.config.normalisation)
        else:
            check_units(self.config, episodes[0].absolute, statistics)
        for part in (self.trained, self.held_out):
            part.normalise(statistics)
        self.schedule = BucketSchedule([len(self.trained.windows)], batch, seed)
        return statistics


def _stacked(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))
