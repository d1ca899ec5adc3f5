"""What the ego front-end is trained on: a clip, the frames before it, and the actions that lead through both."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vgen.backbone.codec import WanCodec
from vgen.checks import within
from vgen.data.bad_data import BadData
from vgen.data.clips import Clips
from vgen.data.encoded import EncodedClips
from vgen.data.opening import TrainingData, open_dataset
from vgen.ego.actions import TimedActions, timed_actions
from vgen.errors import InputError, unknown_key
from vgen.media.pixels import to_unit
from vgen.models.picture_probe import latent_looks
from vgen.train.batch import Batch
from vgen.train.objectives.bodies import BodyConfig, check_units, tell_missing_rows
from vgen.trajectory.convert import convert
from vgen.trajectory.places import joint_place
from vgen.trajectory.recorded import recorded_trajectory
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import FORMS, Trajectory

logger = logging.getLogger(__name__)


@dataclass
class EgoBodyConfig(BodyConfig):
    """One body's episodes, and how its trajectory drives a video."""

    form: str = "absolute"  # in which it enters the model: absolute, relative or delta
    clips: int | None = within(None, 1)  # as in the canvas objective


@dataclass(frozen=True)
class FrameChoice:
    """Which frames of its clips a batch is given, and which it is asked for.

    Attributes:
        history: how many frames are known, the present one among them.
        spacing: pixel frames between them.
        chunks: how many latent frames follow on the grid; 0: a single image-mode frame, the next one.
        goal: a known pixel frame ahead; None: there is none.
        anchor: a known pixel frame further back than the history, below 0; None: there is none.
    """

    history: int
    spacing: int
    chunks: int
    goal: int | None
    anchor: int | None = None

    @property
    def others(self) -> list[int]:
        """Known pixel frames besides the present one, and counted from it: the history, then what else is given."""
        past = [-self.spacing * back for back in range(1, self.history)]
        return past + [frame for frame in (self.anchor, self.goal) if frame is not None]


@dataclass(frozen=True)
class EgoTarget(Batch):
    """The frames that are asked for.

    Attributes:
        latent: [B, C, F, h, w].
        t: float64 [B, F], their positions in latent units.
    """

    latent: Tensor
    t: Tensor


@dataclass(frozen=True)
class EgoBatch(Batch):
    """Clips whose next frames are asked for.

    Attributes:
        clips: B names.
        text: B sentences.
        layout: of the trajectories, by name.
        present: float16 [B, C, 1, h, w], the latest known frame.
        known: uint8 [B, K, 3, H, W], the other known frames.
        frames: int64 [B, 1 + K], the pixel frames of all these, the present one first.
        history: how many of them are the history.
        chunks: what follows on the latent grid; F is 0 where the next frame alone is asked for ...
        next: ... which then is here, uint8 [B, 3, H, W].
        actions: through the clip and what comes before it.
        drop: bool [B], samples that are told of no actions.
        noise: float64 [B], the share of the history that is noise.
    """

    clips: list[str]
    text: list[str]
    layout: str
    present: Tensor
    known: Tensor
    frames: Tensor
    history: int
    chunks: EgoTarget
    next: Tensor | None
    actions: TimedActions
    drop: Tensor | None = None
    noise: Tensor | None = None

    def target(self, codec: WanCodec) -> EgoTarget:
        """What is asked for. A single next frame is encoded alone, as a rollout that goes frame by frame needs it."""
        if self.next is None:
            return EgoTarget(self.chunks.latent.float(), self.chunks.t)
        latent = codec.encode_image(to_unit(self.next))
        t = torch.full((len(latent), 1), 1 / codec.temporal_stride, dtype=torch.float64, device=latent.device)
        return EgoTarget(latent.float(), t)


class BodyClips:
    """The trained or the held-out clips of one body, with its trajectories.

    Args:
        config: the body, as a recipe names it.
        data, clips: its opened data set and the part of it to cut from; episodes without a finite row are left out.
        reach: how many pixel frames before a clip actions are told of.

    Attributes:
        absolute: the trajectory of each of its episodes.

    Raises:
        InputError: the data set has no such column, it does not fit the layout, or is nowhere finite; an unknown form.
    """

    def __init__(self, config: EgoBodyConfig, data: TrainingData, clips: Clips, reach: int) -> None:
        if config.form not in FORMS:
            raise unknown_key(config.form, FORMS, "the forms of a trajectory")
        self.config, self._reach, self._trained = config, reach, clips is data.train
        dataset, footage = open_dataset(config.data), data.footage
        recorded = {
            footage.episodes[place].name: recorded_trajectory(dataset, data.source(place), config.column, config.layout)
            for place in clips.places
        }
        empty = tell_missing_rows(config, recorded, data.bad)
        places = [place for place in clips.places if footage.episodes[place].name not in empty]
        if clips is data.train and not places:
            raise InputError(f"column {config.column} of {config.data.dataset}: no row of it is finite; name another")
        self.clips = Clips(footage, data.assignment.buckets, clips.fps, places)
        self.absolute = [recorded[footage.episodes[place].name] for place in places]

    @property
    def fps(self) -> float:
        """Frames per second of the clips."""
        return self.clips.fps or self.clips.footage.episodes[self.clips.places[0]].fps

    def encode(
        self, numbers: Sequence[int], codec: Path, root: str, workers: int, bad: BadData, batch: int, seed: int
    ) -> None:
        """Latents of these clips, from now on the ones that batches are made of; without those whose actions cannot be
        brought into the body's form, as their rows are not finite.

        Raises:
            InputError: none is left to train on.
        """
        usable, form = self._usable(numbers), self.config.form
        if lost := len(numbers) - len(usable):
            told = f"{lost} of {len(numbers)} clips of {self.clips.footage.name}"
            if not usable and self._trained:
                raise InputError(f"form={form}: in {told} too few rows are finite for it; nearest: absolute")
            logger.warning("%s are left out: of their rows too few are finite for %s actions", told, form)
        self.encoded = EncodedClips(self.clips, usable, codec, root, workers, bad, batch, seed)

    def fit(self, count: int = 2000) -> Statistics:
        """Statistics of the actions of clips spread over all of them, in the form in which they enter."""
        numbers = self._usable(self.clips.spread(count))
        actions = [convert(self._through(number), self.config.form) for number in numbers]
        return Statistics.fit(actions, self.config.normalisation)

    def check(self, statistics: Statistics) -> None:
        """Refuses trajectories in other units than those of the statistics, and logs what is likely not meant.

        Raises:
            InputError: see `vgen.trajectory.units.check_values`; or the model takes another form than is asked for.
        """
        own, known = self.config.form, statistics.form
        if own != known:
            raise InputError(f"form={own}: the model takes {known} actions of {self.config.layout}; give form={known}")
        check_units(self.config, self.absolute[0], statistics)

    def batch(self, bucket: int, clips: Sequence[int], choice: FrameChoice, statistics: Statistics) -> EgoBatch:
        """A batch of some of the encoded clips.

        Args:
            bucket: the place of their bucket.
            clips: B numbers of clips in it.
            choice: what is known of them, and what is asked for.
            statistics: by which their actions are normalised.
        """
        wanted = choice.others if choice.chunks else [*choice.others, 1]
        samples = self.encoded.samples(bucket, clips, np.tile(np.array(wanted, np.int64), (len(clips), 1)))
        pixels, latent = samples.pixels, samples.latents
        t = torch.arange(1, 1 + choice.chunks, dtype=torch.float64).expand(len(clips), -1)
        return EgoBatch(
            clips=samples.names,
            text=samples.captions,
            layout=self.config.layout,
            present=latent[:, :, :1],
            known=pixels[:, : len(choice.others)],
            frames=torch.tensor([0, *choice.others]).expand(len(clips), -1),
            history=choice.history,
            chunks=EgoTarget(latent[:, :, 1 : 1 + choice.chunks], t),
            next=None if choice.chunks else pixels[:, -1],
            actions=timed_actions([self._through(number) for number in samples.numbers], statistics, -self._reach),
        )

    def pictures(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """First frames of encoded clips, spread over all of them in their order: the looks [K, F] of their latents, see
        `latent_looks`, and where all bodies are in them [K, P]."""
        found = []
        for sample in self.encoded.spread(count):
            row = self._through(sample.numbers[0]).rows(self._reach, self._reach + 1)
            if row.valid[0]:
                found.append((latent_looks(sample.latents[:, :, 0].float().numpy())[0], joint_place(row, 0)))
        looks, places = zip(*found, strict=True) if found else ((), ())
        return np.array(looks), np.array(places)

    def _usable(self, numbers: Sequence[int]) -> list[int]:
        """Those clips whose trajectory `convert` takes: relative rows are against the first, steps between any two."""
        if self.config.form == "absolute":
            return list(numbers)
        needed = slice(0, 1) if self.config.form == "relative" else slice(None)
        return [number for number in numbers if self._through(number).valid[needed].any()]

    def _through(self, number: int) -> Trajectory:
        """The absolute trajectory through a clip and what comes before it; its times are pixel frames from the first
        frame of the clip. Before an episode begins, its first state stands still, as its first frame does."""
        frames = np.arange(-self._reach, self.clips.bucket(number).frames)
        whole = self.absolute[self.clips.place(number)]
        rows = self.clips.recorded(number, frames)
        return Trajectory(whole.values[rows], frames.astype(np.float64), whole.valid[rows], whole.layout, "absolute")
