"""A video of a variable rate, made in the set-up of tests."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

TICKS = [0, 10, 20, 30, 120, 210, 300]  # of 1/300 s: 30 frames/s, then one in 0.3 s


def write_uneven(file: Path) -> Path:
    """Frames of 32x32, grey of 20, 50, 80 ... 200, shown at `TICKS`."""
    with av.open(str(file), "w") as out:
        stream = out.add_stream("libx264", rate=30)
        stream.width = stream.height = 32
        stream.codec_context.time_base = Fraction(1, 300)
        for number, ticks in enumerate(TICKS):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 + 30 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = ticks, Fraction(1, 300)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return file
