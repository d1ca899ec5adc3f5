"""A world model: `reset` it to what is seen, `step` it with actions, and get the frames that follow.

`vgen.ego.environment` makes a gymnasium environment of it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from os import PathLike
from typing import Any, Self

import numpy as np
import torch

from vgen import checks
from vgen.backbone.encoding import encode_frames
from vgen.backbone.segments import Segment
from vgen.ego.actions import TimedActions, timed_actions
from vgen.ego.pipeline import EgoPipeline
from vgen.ego.rollout import Rollout, RolloutSettings
from vgen.errors import InputError
from vgen.media.pixels import to_uint8, to_unit
from vgen.models import EGO, MISSING, ModelInfo
from vgen.models.outside import outside_line, size_outside, words_outside
from vgen.notices import warn_once
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import Trajectory

logger = logging.getLogger(__name__)

ROUNDING = 1e-3  # by which a mask that was resized may leave 0 to 1

Array = np.ndarray | torch.Tensor | Sequence[Any]
"""What stands for an array in a call: numpy's, torch's, or lists of numbers; frames may be PIL images too."""


class EgoWorld:
    """`world.reset(frame, text)`, then `world.step(actions) -> frames`.

    Actions are rows of the layout in the form that the model was trained on (`form`): "absolute": where the hand is
    when it arrives; "delta": the step that it makes. Row k leads from frame k to frame k + 1. They are in the layout's
    own units; the model's statistics normalise them.

    Args:
        pipe: the model.
        layout: of the actions; None where the model knows one alone.
        settings: of the rollout.

    Attributes:
        layout, form: of the actions.
        rate: frames, and so actions, per second.

    Raises:
        InputError: the layout is unknown, or is to be chosen among several.
    """

    def __init__(self, pipe: EgoPipeline, layout: str | None = None, settings: RolloutSettings | None = None) -> None:
        self.pipe, self.settings = pipe, settings or RolloutSettings()
        info = ModelInfo.of(pipe)
        if info.ego is None:
            raise InputError(f"model {info.model!r} has {MISSING[EGO]}")
        self.layout = info.choose_layout(layout)
        self.statistics = Statistics.from_json(info.statistics_of(self.layout))
        self.form = self.statistics.form
        self.rate = info.ego.rate(self.layout)
        self._rollout: Rollout | None = None
        self._futures = 1
        self._warned = False

    @classmethod
    def from_pretrained(
        cls,
        model: str | PathLike[str],
        layout: str | None = None,
        settings: RolloutSettings | None = None,
        **kwargs: Any,
    ) -> Self:
        """Loads "nano" or a local folder; keywords as in `EgoPipeline.from_pretrained`.

        Raises:
            InputError: there is no such model, it has no `ego/`, or what the class refuses.
        """
        pipe = EgoPipeline.from_pretrained(model, **kwargs)
        pipe.set_progress_bar_config(disable=True)
        return cls(pipe, layout, settings)

    def reset(
        self,
        frames: Array,
        text: str = "",
        past: Array | Trajectory | None = None,
        goals: Sequence[tuple[Array, Array | None, float]] = (),
        futures: int = 1,
        seed: int = 0,
    ) -> None:
        """Begins anew.

        Args:
            frames: what was seen: uint8 [H, W, 3], or [K, H, W, 3] with the present frame last.
            text: what is being done.
            past: the actions that led there, [P, D] or [B, P, D], the last of which arrived at the present frame; of a
                single one, [D]. In absolute form the last row is the present state. A trajectory says also which rows
                are valid.
            goals: known images ahead: (uint8 [H, W, 3], mask [H, W] or None for all of it, how many frames ahead). A
                mask holds booleans, or 0 to 1, by how much a pixel is given.
            futures: B, how many rollouts go on side by side, each with actions of its own.
            seed: of the noise.

        Raises:
            InputError: frames or actions of a shape, size or type that cannot be used; the world stays as it was.
        """
        seen, futures = as_frames(frames), checks.whole("futures", futures, 1, 4096)
        noise = torch.Generator().manual_seed(checks.whole("seed", seed, 0, 2**63 - 1))
        video = to_unit(torch.from_numpy(seen)).permute(3, 0, 1, 2).expand(futures, -1, -1, -1, -1)
        device = self.pipe._execution_device  # not where the weights wait while they are offloaded
        self._rollout = Rollout(
            self.pipe,
            video.to(device),
            [checks.text("text", text)] * futures,
            self.layout,
            self.settings,
            None if past is None else self._past(past, futures),
            [self._goal(*goal, seen.shape[1:3], futures) for goal in goals],
            noise,
        )
        self._futures = futures
        self._tell_outside(seen.shape[1:3], text)

    def _tell_outside(self, size: tuple[int, int], text: str) -> None:
        """Logs, once, what the model was not trained for, as far as it costs nothing to know."""
        if (trained := self.pipe.trained) is not None:
            found = [size_outside(trained, *size), words_outside(trained, text)]
            if line := outside_line(self.pipe.label, found):
                warn_once(logger, line)

    def step(self, actions: Array | Trajectory) -> np.ndarray:
        """The frames that follow.

        Args:
            actions: [A, D] of a single future, otherwise [B, A, D]; A is a multiple of `settings.advance`. A trajectory
                says also which rows are valid.

        Returns:
            uint8 [A, H, W, 3], or [B, A, H, W, 3].

        Raises:
            InputError: the world was not reset, or actions that do not fit the layout or the advance.
        """
        if self._rollout is None:
            raise InputError("the world has no frame yet; call reset first")
        advance = self.settings.advance
        rows, batched = self._trajectories("actions", actions)
        count = len(rows[0])
        if count % advance:
            nearest = max(1, round(count / advance)) * advance
            raise InputError(f"{count} actions do not fit advance={advance}; nearest: {nearest}")
        if len(rows) != self._futures:
            wanted = [self._futures, count, rows[0].spec.width]
            raise InputError(f"actions are of {len(rows)} futures, not of {self._futures}; give {wanted}")
        parts = [
            self._rollout.step(self._told([each.rows(k, k + advance) for each in rows], self._rollout.now + 1))
            for k in range(0, count, advance)
        ]
        video = to_uint8(torch.cat(parts, dim=2)).permute(0, 2, 3, 4, 1).cpu().numpy()
        return video if batched else video[0]

    def _told(self, rows: Sequence[Trajectory], first: int) -> TimedActions:
        """Actions as the model takes them, the first of which arrives at a frame."""
        return timed_actions(rows, self.statistics, first, self._warn)

    def _warn(self, message: str) -> None:
        """Logs what is unlike the model's data, once."""
        if not self._warned:
            logger.warning("%s", message)
        self._warned = True

    def _trajectories(self, name: str, given: Array | Trajectory) -> tuple[list[Trajectory], bool]:
        """One for each future, and whether they came as a batch: [B, A, D], or a single [A, D] or [D]."""
        if isinstance(given, Trajectory):
            return [given], False
        rows = _as_array(name, given)
        if rows.ndim not in (1, 2, 3) or not len(rows):
            raise InputError(f"{name} of shape {list(rows.shape)} must be [D], [A, D] or [B, A, D]")
        batched = rows.ndim == 3
        batch = rows if batched else np.atleast_2d(rows)[None]
        frames = np.arange(batch.shape[1])  # any times will do: each row is a frame
        return [Trajectory(each, frames, None, self.layout, self.form) for each in batch], batched

    def _past(self, given: Array | Trajectory, futures: int) -> TimedActions:
        rows, _ = self._trajectories("past", given)
        if len(rows) not in (1, futures):
            raise InputError(f"past is of {len(rows)} futures and there are {futures}; give [P, D] or one for each")
        return self._told(rows * (futures // len(rows)), 1 - len(rows[0]))

    def _goal(self, image: Array, mask: Array | None, frame: float, size: tuple[int, int], futures: int) -> Segment:
        checks.real("the frame of a goal", frame)
        if not frame > 0:
            raise InputError(f"a goal at frame {frame:g} is not ahead; nearest: 1")
        shown = as_frames(image)
        known = np.ones(size, np.float32) if mask is None else _weights(_as_array("the mask of a goal", mask))
        for name, found in (("goal", shown.shape[1:3]), ("mask of a goal", known.shape)):
            if found != size:
                raise InputError(f"the {name} is of {list(found)}; it must be as large as the frames, {list(size)}")
        pixels = to_unit(torch.from_numpy(shown[:1])).permute(0, 3, 1, 2).expand(futures, 1, -1, -1, -1)
        given = torch.from_numpy(known)
        place = torch.full((futures, 1), float(frame), dtype=torch.float64)
        padding = self.pipe.transformer.config.condition_padding
        return encode_frames(self.pipe.codec, pixels, given.expand(futures, 1, 1, -1, -1), place, padding)


def as_frames(frames: Array) -> np.ndarray:
    """Frames as uint8 [K, H, W, 3].

    Raises:
        InputError: they are of another type or shape; whole numbers from 0 to 255 in lists are taken.
    """
    given = _as_array("frames", frames)
    array = given[None] if given.ndim == 3 else given
    if not isinstance(frames, np.ndarray | torch.Tensor) and array.dtype.kind in "iu" and array.size:
        array = array.astype(np.uint8) if array.min() >= 0 and array.max() <= 255 else array
    if array.ndim != 4 or array.shape[-1] != 3 or array.dtype != np.uint8 or not array.size:
        raise InputError(f"frames are {given.dtype} {list(given.shape)} and must be uint8 [H, W, 3] or [K, H, W, 3]")
    return np.require(array, requirements=("C", "W"))  # torch warns of memory that it may not write


def _weights(mask: np.ndarray) -> np.ndarray:
    """By how much each pixel of a mask is given: fractions as they are; of anything else, what is not zero wholly."""
    if mask.dtype.kind != "f":
        return (mask != 0).astype(np.float32)
    if not ((mask >= -ROUNDING) & (mask <= 1 + ROUNDING)).all():  # nor of NaN
        raise InputError("the mask of a goal has values outside of 0 to 1; divide it by its largest, or give booleans")
    return mask.clip(0, 1).astype(np.float32)


def _as_array(name: str, given: Array) -> np.ndarray:
    """A numpy array, of tensors of any device and of lists of arrays too."""
    if isinstance(given, torch.Tensor):
        return given.detach().cpu().numpy()
    if isinstance(given, list | tuple) and any(isinstance(each, torch.Tensor) for each in given):
        given = [_as_array(name, each) for each in given]
    try:
        return np.asarray(given)
    except ValueError as error:  # lists of different lengths
        raise InputError(f"{name} hold parts of different shapes; give all the same") from error
