"""Curves over the frames of a video as an SVG that stands in a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 38, 8, 22, 40
COLOURS = ("#e85d04", "#1d6996", "#38a6a5", "#73558c", "#94346e", "#6f7d3c", "#0f8554")
FAINT = "#b8bac0"
CAP = 60.0
"""dB, above which nothing more is to be seen: pixels that were put back have 100."""
LEAST = 4.0  # dB that the axis spans
STEPS = (1, 2, 5, 10, 20, 50)


def chart(curves: Mapping[str, Sequence[float]], title: str, given: Sequence[float] = ()) -> str:
    """A line for each curve.

    Args:
        curves: name -> dB of each frame, all of one length.
        title: above it.
        given: frames that are marked, as something is given there.
    """
    drawn = {name: [min(value, CAP) for value in curve] for name, curve in curves.items()}
    low, high = _range([value for curve in drawn.values() for value in curve])
    frames = max(len(curve) for curve in drawn.values())

    def x(frame: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * frame / max(frames - 1, 1)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    parts = [f'<text x="{LEFT}" y="13">{escape(title)}</text>']
    parts += [_level(value, y(value)) for value in _ticks(low, high)]
    parts += [_mark(x(frame)) for frame in given]
    parts += [
        f'<text x="{x(frame):.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{frame}</text>'
        for frame in sorted({0, (frames - 1) // 2, frames - 1})
    ]
    at = float(LEFT)
    for (name, curve), colour in zip(drawn.items(), COLOURS, strict=False):
        points = " ".join(f"{x(frame):.1f},{y(value):.1f}" for frame, value in enumerate(curve))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        parts.append(f'<rect x="{at:.0f}" y="{HEIGHT - 15}" width="9" height="9" fill="{colour}"/>')
        parts.append(f'<text x="{at + 12:.0f}" y="{HEIGHT - 6}">{escape(name)}</text>')
        at += 24 + 6.2 * len(name)
    inner = "".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">{inner}</svg>\n'


def mean_curve(curves: Sequence[Sequence[float]]) -> list[float]:
    """The mean of curves of one length, frame by frame."""
    return [math.fsum(values) / len(values) for values in zip(*curves, strict=True)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    slack = max(LEAST - (high - low), 0.1 * (high - low)) / 2
    return low - slack, high + slack


def _ticks(low: float, high: float) -> list[int]:
    step = next((step for step in STEPS if (high - low) / step <= 5), STEPS[-1])
    return list(range(math.ceil(low / step) * step, math.floor(high) + 1, step))


def _level(value: int, y: float) -> str:
    line = f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e4e0"/>'
    return f'{line}<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{value}</text>'


def _mark(x: float) -> str:
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="{FAINT}" stroke-dasharray="2 3"/>'
    )
