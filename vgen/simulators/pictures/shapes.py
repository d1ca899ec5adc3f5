"""Outlines of simple shapes."""

from __future__ import annotations

import numpy as np

SHAPES = ("circle", "square", "triangle", "star", "leaf", "cross", "blob")


def outline(rng: np.random.Generator, shape: str) -> np.ndarray:
    """The corners [P, 2] of a shape about (0, 0), turned and stretched at random, within about 1 of it."""
    points = _upright(rng, shape)
    if shape != "circle":
        angle = rng.uniform(0, 2 * np.pi)
        cos, sin = np.cos(angle), np.sin(angle)
        points = points * (1, rng.uniform(0.7, 1)) if shape in ("triangle", "star", "blob") else points
        points = points @ np.array([[cos, sin], [-sin, cos]])
    return points


def _upright(rng: np.random.Generator, shape: str) -> np.ndarray:
    if shape == "circle":
        return around(np.ones(40))
    if shape == "square":
        return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * 0.7
    if shape == "triangle":
        return around(np.ones(3))
    if shape == "star":
        return around(np.array([1, 0.42] * 5))
    if shape == "leaf":
        along = np.linspace(-1, 1, 16)
        edge = 0.42 * (1 - along**2)
        return np.concatenate([np.stack([along, edge], 1), np.stack([along[::-1], -edge[::-1]], 1)])
    if shape == "cross":
        a, b = 0.3, 0.95
        corners = [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b), (-a, b), (-a, a), (-b, a)]
        return np.array([*corners, (-b, -a), (-a, -a)])
    return blob(rng)


def blob(rng: np.random.Generator, points: int = 64) -> np.ndarray:
    """A smooth closed line [P, 2] with a few bulges."""
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radii = np.ones(points)
    for rate in (2, 3, 4):
        radii += rng.uniform(0, 0.3 / rate * 2) * np.cos(rate * angles + rng.uniform(0, 2 * np.pi))
    return around(radii / radii.max())


def around(radii: np.ndarray) -> np.ndarray:
    """The points [P, 2] of a closed line that goes around (0, 0) at these distances."""
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False) - np.pi / 2
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
