"""Draws clips: pictures and cut-outs under paths, exact to a fraction of a pixel and without aliasing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vgen.simulators.pictures.motion import Path
from vgen.simulators.pictures.opencv import cv2

FINE = 2  # drawn at so many times the size of the frames, and averaged
SKIPPED = 1.25  # pixels of a layer per drawn pixel, at most: what cubic weights and the average still hide


@dataclass(frozen=True)
class Layer:
    """A picture under a path.

    pixels: uint8 [H, W, 3], opaque; or float32 [H, W, 4] in 0..255 with alpha, its colours multiplied by alpha / 255.
    corner: x, y of its left upper corner, and
    density: its pixels per unit in x and y, where a unit is a pixel of a frame at zoom 1.
    path: of the camera that sees it.
    """

    pixels: np.ndarray
    corner: tuple[float, float]
    density: tuple[float, float]
    path: Path


def fine_density(path: Path) -> float:
    """How dense pixels must be for a path: about as they are drawn where its zoom is least, so that none is skipped."""
    least, most = path.zoom.min(), path.zoom.max()
    return float(FINE * least * min(SKIPPED, most / least))


def draw_clip(layers: Sequence[Layer], size: tuple[int, int]) -> np.ndarray:
    """The frames of an opaque layer and of what lies over it, in order: float32 [T, H, W, 3], 0 to 255."""
    below = layers[0]
    frames = np.empty((len(below.path), *size, 3), np.float32)
    fine = (size[1] * FINE, size[0] * FINE)
    for t in range(len(frames)):
        drawn = _warped(below, t, fine, cv2.BORDER_REFLECT_101)
        for layer in layers[1:]:
            over = np.clip(_warped(layer, t, fine, cv2.BORDER_CONSTANT), 0, 255)  # cubic weights overshoot
            drawn = drawn * (1 - over[..., 3:] / 255) + over[..., :3]
        frames[t] = cv2.resize(drawn, size[::-1], interpolation=cv2.INTER_AREA)
    return frames


def _warped(layer: Layer, t: int, fine: tuple[int, int], border: int) -> np.ndarray:
    matrix = _sampling(layer, t, fine)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(layer.pixels, matrix, fine, flags=flags, borderMode=border))


def _sampling(layer: Layer, t: int, fine: tuple[int, int]) -> np.ndarray:
    """The matrix [2, 3] from the places of drawn pixels to those of the layer's; the middle of the first is (0, 0)."""
    path = layer.path
    cos, sin = np.cos(path.turn[t]) / path.zoom[t], np.sin(path.turn[t]) / path.zoom[t]
    density, corner = np.array(layer.density), np.array(layer.corner)
    turned = density[:, None] * np.array([[cos, -sin], [sin, cos]]) / FINE
    middle = density * (np.array([path.x[t], path.y[t]]) - corner) - 0.5
    first = (0.5 - np.array(fine) / 2) @ turned.T + middle
    return np.concatenate([turned, first[:, None]], axis=1)


def object_path(x: np.ndarray, y: np.ndarray, scale: np.ndarray, turn: np.ndarray) -> Path:
    """The path under which a layer about (0, 0) is seen at (x, y) from the frame's middle, scaled, and turned
    clockwise; all [T]."""
    cos, sin = np.cos(turn), np.sin(turn)
    return Path(-(cos * x + sin * y) / scale, -(-sin * x + cos * y) / scale, scale, -turn)
