"""Jitter taken out of what was measured, without moving it in time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.signal import butter, sosfiltfilt

ORDER = 2
CUTOFF = 6.0  # Hz: what hands do on purpose is slower, and a detector's jitter is faster
HIGHEST = 0.45  # of the frames per second: half of them is the fastest that can be told at all
SHORTEST = 4  # frames of a run that can be smoothed
PADDING = 9  # frames by which a run is continued at both ends


def filter_name(cutoff: float) -> str:
    """The filter in words, as data sets and documents say it."""
    if not cutoff:
        return "none"
    return f"Butterworth of order {ORDER}, cut-off {cutoff:g} Hz, run forward and backward (no lag)"


def smooth(values: np.ndarray, fps: float, cutoff: float = CUTOFF) -> np.ndarray:
    """Values [T, ...] without what changes faster than a cut-off, each run of rows without NaN on its own.

    A Butterworth filter of order 2 runs forward and backward over a run (`scipy.signal.sosfiltfilt`): what it delays on
    one way it hurries on the other. Runs of fewer than 4 rows stay as they are.

    Args:
        values: NaN where not known.
        fps: rows per second.
        cutoff: in Hz; 0 leaves all as it is. At most 0.45 of the rows per second.
    """
    if not cutoff:
        return values
    sections = butter(ORDER, min(cutoff, HIGHEST * fps), fs=fps, output="sos")
    out = values.copy()
    for run in runs(np.isfinite(values).reshape(len(values), -1).all(1)):
        length = run.stop - run.start
        if length >= SHORTEST:
            out[run] = sosfiltfilt(sections, values[run], axis=0, padlen=min(PADDING, length - 1))
    return out


def runs(flags: np.ndarray) -> Iterator[slice]:
    """Where neighbouring flags [T] are all set."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    for start, stop in edges.reshape(-1, 2).tolist():
        yield slice(start, stop)
