"""How much moves, and how smoothly, by the optical flow of Farnebäck.

VBench (arXiv 2311.17982, section 3.1) measures both with networks: its dynamic degree by the flow of RAFT, its motion
smoothness by frames that AMT interpolates. All else here is as there, and the names say what stands in for them: these
values are not to be compared with VBench's.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from bench_common.flow import opencv, optical_flow, warped

from bench_measures.completed import Completed, Measure

RATE = 8.0
"""Frames per second between which motion is measured."""
MOVES = 6.0
"""Pixels on a frame of 256 pixels, above which its motion counts."""
FASTEST = 0.05
"""Share of the pixels, those that move most, whose mean is a frame's motion."""


def of_motion() -> Measure:
    """The measure of both.

    Raises:
        InputError: OpenCV is not installed.
    """
    opencv()
    return motion


def motion(completed: Completed) -> dict[str, float]:
    """`motion_farneback`: the mean motion of frames, in pixels, as a share of that from which a frame counts as moving
    in `dynamic_degree_farneback`: 1 if enough frames move, otherwise 0. `motion_smoothness_farneback`: 1 - the mean
    absolute difference of every second frame from what its neighbours give, warped half-way along the flow between them
    and averaged, as a share of 255. Each of videos that have frames enough."""
    video = completed.video
    flow = lru_cache(maxsize=None)(lambda one, other: optical_flow(video[one], video[other]))
    values: dict[str, float] = {}
    step = max(1, round(completed.fps / RATE))
    frames = range(0, len(video), step)
    if len(frames) > 1:
        threshold = max(1.0, RATE / completed.fps) * MOVES * min(video.shape[1:3]) / 256
        speeds = [_fastest(flow(one, one + step)) for one in frames[:-1]]
        enough = max(1, round(4 * len(frames) / 16))
        values["motion_farneback"] = float(np.mean(speeds)) / threshold
        values["dynamic_degree_farneback"] = float(sum(speed > threshold for speed in speeds) >= enough)
    if len(video) > 2:
        between = [
            np.abs(_half_way(video[n - 1], video[n + 1], flow(n - 1, n + 1)).astype(np.int16) - video[n]).mean()
            for n in range(1, len(video) - 1, 2)
        ]
        values["motion_smoothness_farneback"] = float(1 - np.mean(between) / 255)
    return values


def _fastest(flow: np.ndarray) -> float:
    """The mean length of the longest vectors."""
    lengths = np.sort(np.hypot(flow[..., 0], flow[..., 1]), axis=None)
    return float(lengths[-max(1, int(lengths.size * FASTEST)) :].mean())


def _half_way(one: np.ndarray, other: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """The frame between two, uint8."""
    drawn = warped(one, -flow / 2).astype(np.uint16) + warped(other, flow / 2)
    return ((drawn + 1) // 2).astype(np.uint8)
