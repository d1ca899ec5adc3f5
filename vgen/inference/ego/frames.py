"""The frames of a rollout as they come under a trajectory, or under a policy that goes on in turns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from vgen.ego.world import EgoWorld
from vgen.inference.ego.inputs import Context
from vgen.inference.ego.report import AT_ONCE
from vgen.inference.ego.trajectories import HandHistory, RolloutActions, joined
from vgen.state.model import StateModel
from vgen.state.predict import policy
from vgen.trajectory.convert import resample
from vgen.trajectory.trajectory import Trajectory


def whole_steps(frames: int, advance: int) -> int:
    """How many frames a rollout makes for so many: its last step may reach further."""
    return -(-frames // advance) * advance


def in_parts(
    chunks: Iterator[np.ndarray], start: np.ndarray, frames: int, seconds: dict[str, float]
) -> Iterator[np.ndarray]:
    """A video as it comes, in parts that are worth a key frame.

    Args:
        chunks: of its future; the last step of a rollout may go further than the video.
        start: uint8 [1, H, W, 3], the start frame.
        frames: of the future.
        seconds: where it is noted how long the chunks took, without what is done with them.
    """
    waiting = [start]
    for chunk in _timed(chunks, seconds):
        waiting.append(chunk[:frames])
        frames -= len(waiting[-1])
        if sum(map(len, waiting)) >= AT_ONCE:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def _timed(chunks: Iterator[np.ndarray], seconds: dict[str, float]) -> Iterator[np.ndarray]:
    """The same, with the seconds that they take, without those of whoever takes them."""
    seconds |= {"first": 0.0, "rollout": 0.0}
    while True:
        began = time.perf_counter()
        chunk = next(chunks, None)
        seconds["rollout"] += time.perf_counter() - began
        seconds["first"] = seconds["first"] or seconds["rollout"]
        if chunk is None:
            return
        yield chunk


def follow(world: EgoWorld, context: Context, actions: RolloutActions) -> Iterator[np.ndarray]:
    """The video under given actions: uint8 [advance, H, W, 3] at a time. Where they end within a step, the last one is
    repeated up to its end.

    Args:
        world: reset here.
        context: what it begins with.
        actions: in the world's form and at its rate.
    """
    advance = world.settings.advance
    rows = prolonged(actions.future, whole_steps(len(actions.future), advance))
    world.reset(context.history, context.text, actions.past, context.goals, seed=context.seed)
    for first in range(0, len(rows), advance):
        yield world.step(rows.rows(first, first + advance))


def prolonged(rows: Trajectory, count: int) -> Trajectory:
    """Rows that go on as the last one, up to so many."""
    more = count - len(rows)
    if more <= 0:
        return rows
    step = np.diff(rows.times[-2:]) if len(rows) > 1 else np.ones(1)
    last = replace(
        rows,
        values=np.repeat(rows.values[-1:], more, axis=0),
        times=rows.times[-1] + step * np.arange(1, more + 1),
        valid=np.repeat(rows.valid[-1:], more),
    )
    return joined(rows, last)


class Policy:
    """Predicts the hand, rolls the video out under it, and goes on from the frames that came of it, in turns.

    Args:
        model: Stage I.
        world: reset when it is played.
        context: what it begins with.
        past: absolute, at any rate, on the clock of the rollout, the state at the start frame last.
        hand: the same at the world's rate, as far back as the world reads it.

    Attributes:
        hand: all rows so far.
        texts: of the action, one for each turn.
        seconds: that predictions took.
    """

    def __init__(
        self, model: StateModel, world: EgoWorld, context: Context, past: Trajectory, hand: HandHistory
    ) -> None:
        self.model, self.world, self.context, self.hand = model, world, context, hand
        self.texts: list[str] = []
        self.seconds = 0.0
        self._past = past
        self._rate = model.rate(world.layout)
        self._generator = torch.Generator().manual_seed(context.seed)

    def play(self, frames: int) -> Iterator[np.ndarray]:
        """The frames that follow, a multiple of the advance: uint8 [advance, H, W, 3] at a time."""
        world, context = self.world, self.context
        arrived, seen, made = self.hand.past_actions(), context.history, 0
        while made < frames:
            actions = self._predict(seen, frames - made)
            if not made:  # the video follows from the text that is given, or from what was just told
                world.reset(context.history, context.text or self.texts[0], arrived, context.goals, seed=context.seed)
            for first in range(0, len(actions), world.settings.advance):
                chunk = world.step(actions.rows(first, first + world.settings.advance))
                seen = np.concatenate([seen, chunk])[-self._reach() :]
                yield chunk
            made += len(actions)

    def _predict(self, seen: np.ndarray, most: int) -> Trajectory:
        """The actions of one turn, at most so many, in the world's form."""
        began, advance, rate = time.perf_counter(), self.world.settings.advance, self.world.rate
        count = max(self.model.config.horizon, int(np.ceil(advance / rate * self._rate - 1e-6)))
        text, layout = self.context.text, self.world.layout
        future, written = policy(self.model, layout, self._look(seen), self._past, text, count, self._generator)
        made = min(most, int(count / self._rate * rate + 1e-6) // advance * advance)
        now = self._past.times[-1]
        times = now + np.arange(1, made + 1) / rate
        rows = replace(resample(future, times.clip(max=future.times[-1])), times=times)
        self.texts.append(written)
        self._past = self._latest(joined(self._past, rows))
        actions = self.hand.extend(rows)
        self.seconds += time.perf_counter() - began
        return actions

    def _look(self, seen: np.ndarray) -> np.ndarray:
        """Frames at the state model's rate, the present one last, as far back as they were seen."""
        back = np.rint(np.arange(self.model.config.states) * self.world.rate / self._rate).astype(int)
        return seen[len(seen) - 1 - back[back < len(seen)][::-1]]

    def _reach(self) -> int:
        """How many of the latest frames a prediction may look at."""
        return int(np.ceil((self.model.config.states - 1) * self.world.rate / self._rate)) + 1

    def _latest(self, rows: Trajectory) -> Trajectory:
        """Those of which the state model is told."""
        since = rows.times[-1] - (self.model.config.history + 1) / self._rate
        return rows.rows(int(np.searchsorted(rows.times, since)), len(rows))
