"""Clips that are kept as they are: FFV1 in Matroska, the same bytes at every writing."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from vgen.media import pyav

CONTAINER = {"fflags": "+bitexact"}  # else Matroska would hold a random number
CODER = {"level": "3", "g": "1", "slices": "4", "slicecrc": "1", "flags": "+bitexact"}


def write_lossless(path: Path, video: np.ndarray, fps: float) -> None:
    """Writes uint8 `[T, H, W, 3]`, RGB, which reads back exactly. The folder must be there.

    Raises:
        InputError: PyAV is not installed.
        OSError: it cannot be written.
    """
    pyav.need(f"writing {path}")
    import av

    with av.open(str(path), "w", format="matroska", options=CONTAINER) as container:
        stream = container.add_stream("ffv1", rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width = video.shape[1:3]
        stream.pix_fmt, stream.options = "bgr0", CODER
        stream.thread_count = 1  # the output may depend on it
        for image in video:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="bgr0")))
        container.mux(stream.encode())
