"""Windows on episodes of a trajectory: a present frame, the steps before it and the steps that follow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Windows:
    """Every frame of every episode that a step follows is the present of one window.

    Step k leads from frame k to frame k + 1 and has the time of its arrival: seen from present frame p it has time
    k + 1 - p. The step that led to the present has time 0, the next one time 1.

    Args:
        steps: of each episode float32 [T - 1, D]; whatever where not valid.
        valid: of each episode bool [T - 1].
        rest: of each episode float32 [D], the step of a body that stays where the episode left it.
    """

    def __init__(self, steps: Sequence[np.ndarray], valid: Sequence[np.ndarray], rest: Sequence[np.ndarray]) -> None:
        self._steps, self._valid, self._rest = list(steps), list(valid), list(rest)
        self._first = np.concatenate([[0], np.cumsum([len(part) for part in steps])]).astype(np.int64)

    def __len__(self) -> int:
        """The number of windows."""
        return int(self._first[-1])

    def present(self, number: int) -> tuple[int, int]:
        """The episode (its place) and the present frame of window `number` (0 .. len - 1)."""
        episode = int(np.searchsorted(self._first, number, side="right")) - 1
        return episode, int(number - self._first[episode])

    def steps(self, number: int, times: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """The steps at some times: float32 [A, D], zero where the episode has none, and valid bool [A]."""
        episode, present = self.present(number)
        steps, valid = self._steps[episode], self._valid[episode]
        rows = present + np.asarray(times, dtype=np.int64) - 1
        there = (rows >= 0) & (rows < len(steps))
        rows = rows.clip(0, len(steps) - 1)
        there = there & valid[rows]
        return np.where(there[:, None], steps[rows], np.float32(0)), there

    def future(self, number: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The next `count` steps, as `steps`, but after the episode's end the body rests, and that is valid. So whoever
        learns them is not told when an episode ends, which nobody knows beforehand."""
        steps, valid = self.steps(number, range(1, count + 1))
        episode, present = self.present(number)
        over = present + np.arange(count) >= len(self._steps[episode])
        return np.where(over[:, None], self._rest[episode], steps), valid | over

    def frames(self, number: int, times: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """The frames of the episode at some times: int64 [S], the nearest one where the episode has none, and whether
        it has: bool [S]."""
        episode, present = self.present(number)
        wanted = present + np.asarray(times, dtype=np.int64)
        frames = wanted.clip(0, len(self._steps[episode]))
        return frames, frames == wanted
