"""How sharp a clip is, and how much moves in it; kept, so that a build that was interrupted goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench_common.flow import opencv, optical_flow

from vgen.data.jsonl import read_summed, summed_line
from vgen.files import append, writing

PAIRS = 16  # of neighbouring frames that flow is measured between, spread over a clip
CUT = 0.35  # share of the pixels whose colours come or go from a frame to the next where the scene changes
COLOURS, HSV = (8, 4, 4), (0, 180, 0, 256, 0, 256)  # bins of hue, saturation and value, and what they reach over


@dataclass(frozen=True)
class Look:
    """What is measured of a clip.

    Attributes:
        sharpness: Variance of the Laplacian of the grey values 0 to 255, mean over its frames.
        flow: Mean length of the optical flow from a frame to the next, pixels; see `bench_common.flow`.
        cut: Whether the scene changes in it.
    """

    sharpness: float
    flow: float
    cut: bool


def look(clip: np.ndarray) -> Look:
    """Measures a clip, uint8 `[T, H, W, 3]`, at its own size.

    Raises:
        InputError: OpenCV is not installed.
    """
    cv2 = opencv()
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip]
    sharpness = np.mean([cv2.Laplacian(grey, cv2.CV_64F).var() for grey in greys])
    starts = np.unique(np.linspace(0, len(clip) - 2, min(PAIRS, len(clip) - 1)).round().astype(int))
    flows = [np.linalg.norm(optical_flow(clip[start], clip[start + 1]), axis=-1).mean() for start in starts]
    return Look(_short(sharpness), _short(np.mean(flows)), _has_cut(clip))


def _has_cut(clip: np.ndarray) -> bool:
    """Whether the colours of a frame are other ones than those of the frame before."""
    cv2 = opencv()
    pictures = [cv2.cvtColor(frame, cv2.COLOR_RGB2HSV) for frame in clip]
    shares = np.stack([cv2.calcHist([picture], [0, 1, 2], None, COLOURS, HSV) for picture in pictures])
    steps = np.abs(np.diff(shares / clip[0, ..., 0].size, axis=0)).sum(axis=(1, 2, 3)) / 2
    return bool(steps.max() > CUT)


def _short(value: float) -> float:
    """A value of so many digits as two machines agree on."""
    return float(f"{value:.5g}")


class Looks:
    """Looks by the key of their clip, in a file that is appended to; what broke off in it is looked at again."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, Look] = {}
        for record in read_summed(file):
            match record:
                case [str(key), int() | float() as sharpness, int() | float() as flow, bool(cut)]:
                    self._known[key] = Look(sharpness, flow, cut)

    def get(self, key: str) -> Look | None:
        """The look of a clip, if it was looked at."""
        return self._known.get(key)

    def add(self, key: str, seen: Look) -> None:
        """Keeps a look. Raises: InputError, or TryAgain where the disk is full."""
        self._known[key] = seen
        with writing(self._file):
            append(self._file, summed_line([key, seen.sharpness, seen.flow, seen.cut]))
