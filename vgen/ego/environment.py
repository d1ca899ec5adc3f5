"""A world model as a gymnasium environment; gymnasium is installed on its own (`pip install gymnasium`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from vgen.ego.world import Array, EgoWorld, as_frames
from vgen.errors import InputError, unknown_key
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import Trajectory, find_layout

try:
    import gymnasium
except ImportError as error:
    raise InputError("gymnasium is not installed; run: pip install gymnasium") from error

RENDER_MODES = ["rgb_array"]


class EgoEnvironment(gymnasium.Env[np.ndarray, np.ndarray]):
    """An action is `settings.advance` rows of the world's layout and form, an observation the last frame.

    There is no reward, and no end but the caller's. `info["frames"]` of a step holds all its frames, uint8
    [advance, H, W, 3]. A reset without a seed draws the seed of the noise, so that each reset has another future.

    The bounds of the action space are what the model's statistics say of each column (`action_bounds`). A world takes
    actions beyond them, too, of which it has seen few.

    Args:
        world: which is reset with the environment.
        frames, text, past: as of `EgoWorld.reset`.
        render_mode: "rgb_array": `render` returns the latest frame; None: it returns nothing.

    Raises:
        InputError: frames that cannot be used, or another render mode.
    """

    def __init__(
        self,
        world: EgoWorld,
        frames: Array,
        text: str = "",
        past: Array | Trajectory | None = None,
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise unknown_key(render_mode, RENDER_MODES, "the render modes")
        self.metadata = {"render_modes": RENDER_MODES, "render_fps": world.rate}
        self.render_mode = render_mode
        self._world, self._given = world, (as_frames(frames).copy(), text, past)
        self._latest = self._given[0][-1]
        low, high = action_bounds(world.statistics)
        rows = (world.settings.advance, 1)
        self.action_space = gymnasium.spaces.Box(np.tile(low, rows), np.tile(high, rows), dtype=np.float32)
        self.observation_space = gymnasium.spaces.Box(0, 255, self._latest.shape, np.uint8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begins anew; the observation is the present frame, as it was given."""
        super().reset(seed=seed)
        noise = int(self.np_random.integers(2**31)) if seed is None else seed
        self._world.reset(*self._given, seed=noise)
        self._latest = self._given[0][-1]
        return self._latest.copy(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """The last of the frames that follow from an action [advance, D]."""
        made = self._world.step(action)
        self._latest = made[-1]
        return self._latest.copy(), 0.0, False, False, {"frames": made}

    def render(self) -> np.ndarray | None:
        """The latest frame, uint8 [H, W, 3]; None where no render mode was chosen."""
        return self._latest.copy() if self.render_mode == "rgb_array" else None


def action_bounds(statistics: Statistics) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and highest value of each column of an action, float32 [D] each.

    They are the quantiles 0.01 and 0.99 of what the model was trained on, beyond which it tells nothing apart, or four
    standard deviations about the mean, as the statistics are (`Statistics.usual_range`). Euler angles, which a model
    reads as rotation matrices, go from -pi to pi.
    """
    layout, bounds = find_layout(statistics.layout), []
    for part, (_, where) in zip(layout.parts, layout.network.slices(), strict=True):
        columns = range(where.start, where.stop)
        bounds += [(-np.pi, np.pi)] * 3 if part.euler else [statistics.usual_range(column) for column in columns]
    low, high = np.array(bounds, dtype=np.float32).T
    return low, high
