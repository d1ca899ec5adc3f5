"""A world model as an environment: `reset` to what is seen, `step` with actions, and get the frames that follow."""

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
from vgen.models import ModelInfo
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import Trajectory, layout

logger = logging.getLogger(__name__)

UNLIKE = 0.5  # above this share of values outside the statistics there is a warning, once


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
        model: str | PathLike,
        layout: str | None = None,
        settings: RolloutSettings | None = None,
        **kwargs: Any,
    ) -> Self:
        """Loads "nano" or a local folder; keywords as in `EgoPipeline.from_pretrained`."""
        pipe = EgoPipeline.from_pretrained(model, **kwargs)
        pipe.set_progress_bar_config(disable=True)
        return cls(pipe, layout, settings)

    def reset(
        self,
        frames: np.ndarray,
        text: str = "",
        past: np.ndarray | Trajectory | None = None,
        goals: Sequence[tuple[np.ndarray, np.ndarray | None, float]] = (),
        futures: int = 1,
        seed: int = 0,
    ) -> None:
        """Begins anew.

        Args:
            frames: what was seen: uint8 [H, W, 3], or [K, H, W, 3] with the present frame last.
            text: what is being done.
            past: the actions that led there, [P, D], the last of which arrived at the present frame. In absolute form
                the last row is the present state. A trajectory says also which rows are valid.
            goals: known images ahead: (uint8 [H, W, 3], mask bool [H, W] or None for all of it, how many frames ahead).
            futures: B, how many rollouts go on side by side, each with actions of its own.
            seed: of the noise.

        Raises:
            InputError: frames or actions of a shape, size or type that cannot be used.
        """
        seen, self._futures = _frames(frames), checks.whole("futures", futures, 1, 4096)
        video = to_unit(torch.from_numpy(seen)).permute(3, 0, 1, 2).expand(futures, -1, -1, -1, -1)
        device = self.pipe._execution_device  # not where the weights wait while they are offloaded
        self._rollout = Rollout(
            self.pipe,
            video.to(device),
            [text] * futures,
            self.layout,
            self.settings,
            None if past is None else self._past(past, futures),
            [self._goal(*goal, seen.shape[1:3], futures) for goal in goals],
            torch.Generator().manual_seed(seed),
        )

    def step(self, actions: np.ndarray | Trajectory) -> np.ndarray:
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
        rows = actions.values if isinstance(actions, Trajectory) else np.asarray(actions)
        batched = rows.ndim == 3
        if rows.ndim not in (2, 3) or rows.shape[-2] == 0 or rows.shape[-2] % advance:
            nearest = max(1, round(rows.shape[-2] / advance)) * advance if rows.ndim in (2, 3) else advance
            raise InputError(f"actions of shape {list(rows.shape)} do not fit advance={advance}; nearest: {nearest}")
        if (len(rows) if batched else 1) != self._futures:
            wanted = [self._futures, *rows.shape[-2:]]
            raise InputError(f"actions of shape {list(rows.shape)} are not of {self._futures} futures; give {wanted}")
        told = self._told(actions, self._rollout.now + 1)
        parts = [self._rollout.step(part) for part in told.split(advance)]
        video = to_uint8(torch.cat(parts, dim=2)).permute(0, 2, 3, 4, 1).cpu().numpy()
        return video if batched else video[0]

    def _told(self, actions: np.ndarray | Trajectory, first: int) -> TimedActions:
        """Actions as the model takes them, the first of which arrives at a frame."""
        trajectories = [actions] if isinstance(actions, Trajectory) else self._trajectories(np.asarray(actions))
        worst = max(trajectories, key=self.statistics.outside)
        outside = self.statistics.outside(worst)
        if outside > UNLIKE and not self._warned:
            rule = f"of the actions are unlike what the model has seen of {self.layout}"
            logger.warning("%.0f %% %s: %s; check unit and form", 100 * outside, rule, self.statistics.farthest(worst))
            self._warned = True
        return timed_actions(trajectories, self.statistics, first)

    def _trajectories(self, rows: np.ndarray) -> list[Trajectory]:
        """One for each future: [B, A, D], or a single [A, D]."""
        times = np.arange(rows.shape[-2])  # any will do: each row is a frame
        return [
            Trajectory(each, times, None, self.layout, self.form) for each in (rows if rows.ndim == 3 else rows[None])
        ]

    def _past(self, rows: np.ndarray | Trajectory, futures: int) -> TimedActions:
        count = len(rows) if isinstance(rows, Trajectory) else rows.shape[-2]
        told = self._told(rows, 1 - count)
        if len(told.values) not in (1, futures):
            given = f"past is of {len(told.values)} futures and there are {futures}"
            raise InputError(f"{given}; give [P, D] or one for each")
        return told.expand(futures)

    def _goal(
        self, image: np.ndarray, mask: np.ndarray | None, frame: float, size: tuple[int, int], futures: int
    ) -> Segment:
        checks.real("the frame of a goal", frame)
        if not frame > 0:
            raise InputError(f"a goal at frame {frame:g} is not ahead; nearest: 1")
        shown = _frames(image)
        known = np.ones(size, dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
        for name, found in (("goal", shown.shape[1:3]), ("mask of a goal", known.shape)):
            if found != size:
                raise InputError(f"the {name} is of {list(found)}; it must be as large as the frames, {list(size)}")
        pixels = to_unit(torch.from_numpy(shown[:1])).permute(0, 3, 1, 2).expand(futures, 1, -1, -1, -1)
        given = torch.from_numpy(known)
        place = torch.full((futures, 1), float(frame), dtype=torch.float64)
        return encode_frames(self.pipe.codec, pixels, given.expand(futures, 1, 1, -1, -1), place)


def _frames(frames: np.ndarray) -> np.ndarray:
    """As uint8 [K, H, W, 3]."""
    frames = np.asarray(frames)
    frames = frames[None] if frames.ndim == 3 else frames
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise InputError(f"frames are {frames.dtype} {list(frames.shape)} and must be uint8 [H, W, 3] or [K, H, W, 3]")
    return np.require(frames, requirements=("C", "W"))  # torch warns of memory that it may not write


def environment(
    world: EgoWorld, frames: np.ndarray, text: str = "", past: np.ndarray | Trajectory | None = None
) -> Any:
    """The world as a gymnasium environment: an action is `settings.advance` rows, an observation the last frame.

    There is no reward, and no end but the caller's. Arguments as of `EgoWorld.reset`; a reset without a seed draws one.

    Raises:
        InputError: gymnasium is not installed.
    """
    try:
        import gymnasium
    except ImportError as error:
        raise InputError("gymnasium is not installed; run: pip install gymnasium") from error

    class EgoEnvironment(gymnasium.Env):
        """See `environment`."""

        observation_space = gymnasium.spaces.Box(0, 255, _frames(frames).shape[1:], np.uint8)
        action_space = gymnasium.spaces.Box(
            -np.inf, np.inf, (world.settings.advance, layout(world.layout).width), np.float32
        )

        def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
            super().reset(seed=seed)
            noise = int(self.np_random.integers(2**31)) if seed is None else seed
            world.reset(frames, text, past, seed=noise)
            return _frames(frames)[-1], {}

        def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
            made = world.step(action)
            return made[-1], 0.0, False, False, {"frames": made}

    return EgoEnvironment()
