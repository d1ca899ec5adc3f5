"""Recordings for benches, made in memory: a textured square that moves over a textured ground."""

import numpy as np
from bench_sets.recordings import Recording

SIZE = 64


def square_video(frames=20, speed=2, seed=0, camera=0, size=SIZE):
    """uint8 [T, SIZE, SIZE, 3], and where the square is, bool [T, SIZE, SIZE]: it moves down by `speed` pixels a frame,
    and the ground to the left by `camera`."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(0, 110, (size, size + camera * frames, 3), dtype=np.uint8)
    square = rng.integers(150, 256, (20, 20, 3), dtype=np.uint8)
    video, where = np.empty((frames, size, size, 3), np.uint8), np.zeros((frames, size, size), bool)
    for frame in range(frames):
        top = 2 + speed * frame
        video[frame] = ground[:, camera * frame : camera * frame + size]
        video[frame, top : top + 20, 20:40] = square[: max(0, size - top)]
        where[frame, top : top + 20, 20:40] = True
    return video, where


def recording(name, video, caption="", fps=15.0, file="absent"):
    """A recording of a video that is held in memory."""
    return Recording(name, caption, lambda: (len(video), fps), lambda frames: video[list(frames)], file)
