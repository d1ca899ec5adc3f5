"""How a video looks from frame to frame: its colours, its sharpness, and what flickers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from bench_measures.completed import Completed

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def mean_colours(video: np.ndarray) -> np.ndarray:
    """Of each frame of uint8 `[T, H, W, 3]`, in grey levels: float64 `[T, 3]`."""
    return np.stack([frame.reshape(-1, 3).mean(0, dtype=np.float64) for frame in video])


def sharpness(video: np.ndarray) -> np.ndarray:
    """Variance of the Laplacian of each frame's luma (Pech-Pacheco et al., "Diatom autofocusing", ICPR 2000; four
    neighbours, without the border), uint8 `[T, H, W, 3]` -> float64 `[T]` in squared grey levels."""
    return np.array([_laplacian(frame @ LUMA).var(dtype=np.float64) for frame in video])


def _laplacian(grey: np.ndarray) -> np.ndarray:
    inner = grey[1:-1, 1:-1]
    around: np.ndarray = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return around - 4 * inner


def colours(completed: Completed) -> dict[str, float]:
    """How far the mean colour of frames lies from the truth's, in grey levels, as root of the mean square over the
    channels: `colour_error`, mean over frames; and `colour_drift`, what a straight line through the differences over
    time goes from the first frame to the last. Beside them `sharpness_ratio`, of the mean sharpness of frames to the
    truth's. Nothing where there is no truth."""
    if completed.truth is None:
        return {}
    apart = mean_colours(completed.video) - mean_colours(completed.truth)
    values = {"colour_error": float(np.sqrt((apart**2).mean(1)).mean())}
    if len(apart) > 1:
        slopes = np.polyfit(np.arange(len(apart)), apart, 1)[0]
        values["colour_drift"] = float(np.sqrt((slopes**2).mean()) * (len(apart) - 1))
    sharp = sharpness(completed.truth).mean()
    if sharp > 0:
        values["sharpness_ratio"] = float(sharpness(completed.video).mean() / sharp)
    return values


def flickering(completed: Completed) -> dict[str, float]:
    """`temporal_flickering` of VBench (arXiv 2311.17982, section 3.1): 1 - the mean absolute difference of frames that
    follow one another, as a share of 255; 1 is a still. VBench measures it on videos that were asked to stand still, of
    others its own mode for any video does as is done here: there, more motion is less."""
    frames = completed.video
    if len(frames) < 2:
        return {}
    steps = [np.abs(one.astype(np.int16) - other).mean() for one, other in pairwise(frames)]
    return {"temporal_flickering": float(1 - np.mean(steps) / 255)}
