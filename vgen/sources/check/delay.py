"""How many rows a trajectory lags behind the picture, or runs ahead of it.

What moves in the picture between two frames, and how fast the hand is between the two rows, rise and fall together. The
correlation of the two, one moved against the other, is highest where they are in time. It is taken of both as they are,
which is steady, and of how they change, which is sharp; the delay is where the mean of the two is highest. How certain
that is, is told by resampling the episodes (bootstrap: Efron and Tibshirani 1993, chapter 13).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

REACH = 0.75  # seconds to either side that are looked at
LEAST_REACH, MOST_REACH = 4, 40  # rows
SHORTEST = 12  # rows that a piece needs
PIECE = 240  # rows of a long episode that count as one, so that one long episode can be resampled too
FEWEST = 3  # pieces
RESAMPLES = 400
SHARE = 0.9  # of the resamples, whose peaks lie in the interval that is told
LOWEST = 0.2  # correlation, below which motion and trajectory have nothing to do with each other
WIDEST = 2, 0.05  # rows, or seconds where that is more: an interval that is wider tells nothing
SPREAD = 4.0  # standard errors that the correlation must lie above 0


@dataclass(frozen=True)
class Delay:
    """What was found.

    Attributes:
        rows: by which the trajectory comes after the picture; negative: before it.
        low, high: between which nine resamples in ten have it.
        correlation: of the two as they are, there.
        reach: rows to either side that were looked at.
        curve: the mean of both correlations at -reach … reach.
        pieces: of how many episodes, or pieces of long ones, it is.
        doubt: why it cannot be told; "" where it can.
        signal: whose motion in the picture, and of what in the data set, was compared.
    """

    rows: int
    low: int
    high: int
    correlation: float
    reach: int
    curve: tuple[float, ...]
    pieces: int
    doubt: str
    signal: str = ""

    @property
    def certain(self) -> bool:
        """Whether it can be told."""
        return not self.doubt


def reach_of(fps: float, lengths: Sequence[int]) -> int:
    """How many rows to either side are looked at, in pieces of such lengths: most of a piece must be left."""
    most = min(round(REACH * fps), MOST_REACH, int(np.median(lengths)) // 4 if len(lengths) else MOST_REACH)
    return max(LEAST_REACH, most)


def measure(pairs: Sequence[tuple[np.ndarray, np.ndarray]], fps: float, signal: str = "") -> Delay:
    """The delay between motion in the picture and in the trajectory.

    Args:
        pairs: for each episode of T rows, how much the picture changes from frame to frame, [T - 1], and the speed of
            what moves between the same rows, [T - 1]; NaN where either is not known.
        fps: rows per second.
        signal: what is compared, for the report.
    """
    pieces = [piece for energy, speed in pairs for piece in _pieces(np.sqrt(energy), np.sqrt(speed))]
    reach = reach_of(fps, [len(seen) for seen, _ in pieces])
    curves, weights = [], []
    for seen, told in pieces:
        level, rows = _curve(seen, told, reach)
        change, _ = _curve(np.diff(seen), np.diff(told), reach)
        if rows >= SHORTEST and np.any(level):
            curves.append((level, change))
            weights.append(rows)
    if len(curves) < FEWEST:
        doubt = f"only {len(curves)} episodes (or pieces of {PIECE} rows) have {SHORTEST} rows in which something moves"
        return Delay(0, -reach, reach, 0.0, reach, (0.0,) * (2 * reach + 1), len(curves), doubt, signal)
    return _found(np.array(curves), np.array(weights, dtype=np.float64), reach, fps, signal)


def _found(curves: np.ndarray, weights: np.ndarray, reach: int, fps: float, signal: str) -> Delay:
    both = curves.mean(axis=1)  # of level and change
    mean = np.average(both, axis=0, weights=weights)
    rows = int(mean.argmax()) - reach
    drawn = np.random.default_rng(0).integers(0, len(curves), (RESAMPLES, len(curves)))
    sums = np.einsum("rn,rnl->rl", weights[drawn], both[drawn])
    low, high = np.quantile(sums.argmax(1) - reach, [(1 - SHARE) / 2, (1 + SHARE) / 2], method="nearest").astype(int)
    at_peak = curves[:, 0, rows + reach]
    error = float(at_peak.std(ddof=1)) / np.sqrt(len(at_peak))
    told = float(np.average(at_peak, weights=weights)), int(low), int(high)
    doubt = _doubt(rows, *told, error, reach, fps)
    return Delay(rows, told[1], told[2], told[0], reach, tuple(mean.tolist()), len(curves), doubt, signal)


def _doubt(rows: int, correlation: float, low: int, high: int, error: float, reach: int, fps: float) -> str:
    """Why a delay cannot be told."""
    if correlation < max(LOWEST, SPREAD * error):
        return (
            f"motion in the picture and in the trajectory hardly rise and fall together (correlation {correlation:.2f})"
        )
    if abs(rows) == reach:
        return f"they are most alike at {rows:+} rows, the farthest that is looked at; the delay may be larger"
    if high - low > max(WIDEST[0], round(WIDEST[1] * fps)) or (rows and low <= 0 <= high):
        return f"they are most alike at {rows:+} rows, but of nine resamples in ten between {low:+} and {high:+}"
    return ""


def _pieces(seen: np.ndarray, told: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    count = max(1, len(seen) // PIECE)
    yield from zip(np.array_split(seen, count), np.array_split(told, count), strict=True)


def _curve(energy: np.ndarray, speed: np.ndarray, reach: int) -> tuple[np.ndarray, int]:
    """Correlation at -reach … reach of speed moved back by so many rows, and the fewest rows that one is of."""
    curve, fewest = np.zeros(2 * reach + 1), len(energy)
    for place, lag in enumerate(range(-reach, reach + 1)):
        seen = energy[max(0, -lag) : len(energy) - max(0, lag)]
        told = speed[max(0, lag) : len(speed) - max(0, -lag)]
        known = np.isfinite(seen) & np.isfinite(told)
        fewest = min(fewest, int(known.sum()))
        if fewest < SHORTEST:
            return curve, fewest
        one, other = seen[known] - seen[known].mean(), told[known] - told[known].mean()
        spread = np.sqrt((one**2).sum() * (other**2).sum())
        curve[place] = (one * other).sum() / spread if spread > 1e-12 else 0.0
    return curve, fewest
