"""Curves of a training as a small picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT, EDGE = 480, 220, 36
COLOURS = ((31, 119, 180), (214, 39, 40), (44, 160, 44), (148, 103, 189))
INK = (60, 60, 60)

Curve = Sequence[tuple[float, float]]
"""Points (minutes, value)."""


def draw_curves(curves: Mapping[str, Curve], title: str, file: Path) -> None:
    """Writes a PNG of some curves over the minutes of a training, on one logarithmic scale.

    Args:
        curves: by name, four at most; each of two points or more, its values positive.
        title: what stands above them.
    """
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(picture)
    points = np.array([point for curve in curves.values() for point in curve], dtype=np.float64)
    (left, low), (right, high) = points.min(0), points.max(0)
    pen.rectangle((EDGE, EDGE, WIDTH - EDGE, HEIGHT - EDGE), outline=INK)
    pen.text((EDGE, 4), title, fill=INK)
    pen.text((2, EDGE), f"{high:.3g}", fill=INK)
    pen.text((2, HEIGHT - EDGE - 10), f"{low:.3g}", fill=INK)
    pen.text((EDGE, HEIGHT - EDGE + 4), f"{left:.1f}", fill=INK)
    pen.text((WIDTH - EDGE - 60, HEIGHT - EDGE + 4), f"{right:.1f} minutes", fill=INK)
    for place, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[place % len(COLOURS)]
        line = [(_scaled(x, left, right, EDGE, WIDTH - EDGE), _height(y, low, high)) for x, y in curve]
        pen.line(line, fill=colour, width=2)
        pen.text((EDGE + 6 + 110 * place, 18), name, fill=colour)
    picture.save(file, optimize=True)


def _height(value: float, low: float, high: float) -> float:
    return _scaled(float(np.log(value)), float(np.log(low)), float(np.log(high)), HEIGHT - EDGE, EDGE)


def _scaled(value: float, low: float, high: float, begin: float, end: float) -> float:
    return begin + (end - begin) * (value - low) / ((high - low) or 1.0)
