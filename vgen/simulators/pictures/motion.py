"""How a camera moves over a picture: smooth paths, and the motion between their frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FASTEST = 3.0  # pixels a frame, where the frame's shorter side has 128 of them
UNIT = 128  # pixels of the frame's shorter side that speeds are told for
STEEPEST = 0.9  # of the logarithm of a zoom over a whole clip: a factor of 2.5
SECTORS = (
    "right",
    "down and to the right",
    "down",
    "down and to the left",
    "left",
    "up and to the left",
    "up",
    "up and to the right",
)


@dataclass(frozen=True)
class Path:
    """Where a camera is, frame by frame: pixel p, counted from the middle of frame t, shows the point
    (x, y)[t] + R(turn[t]) p / zoom[t] of the picture, and R turns clockwise. All arrays are [T].

    x, y: in pixels of a frame at zoom 1; right and down are positive.
    zoom: above 0; larger shows less of the picture.
    turn: of the camera, clockwise, in radians: what it sees turns the other way.
    """

    x: np.ndarray
    y: np.ndarray
    zoom: np.ndarray
    turn: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def plus(self, other: Path) -> Path:
        """Both motions at once."""
        return Path(self.x + other.x, self.y + other.y, self.zoom * other.zoom, self.turn + other.turn)

    def times(self, share: float) -> Path:
        """A share of the motion."""
        return Path(self.x * share, self.y * share, self.zoom**share, self.turn * share)

    def steps(self) -> np.ndarray:
        """float32 [T, 4], what leads from each frame to the next: pixel p of frame t + 1 shows what pixel
        (dx, dy) + R(turn) p / zoom of frame t shows. Columns dx, dy, zoom, turn; the last row is that of no motion."""
        moved = np.stack([np.diff(self.x), np.diff(self.y)])
        cos, sin = np.cos(self.turn[:-1]), np.sin(self.turn[:-1])
        dx = self.zoom[:-1] * (cos * moved[0] + sin * moved[1])
        dy = self.zoom[:-1] * (-sin * moved[0] + cos * moved[1])
        steps = np.stack([dx, dy, self.zoom[1:] / self.zoom[:-1], np.diff(self.turn)], axis=1)
        return np.concatenate([steps, [[0, 0, 1, 0]]]).astype(np.float32)

    def bounds(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """The left, top, right and bottom of all that frames of `size` (H, W) show of the picture."""
        half_h, half_w = size[0] / 2, size[1] / 2
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        xs, ys = [], []
        for px, py in ((-half_w, -half_h), (half_w, -half_h), (half_w, half_h), (-half_w, half_h)):
            xs.append(self.x + (cos * px - sin * py) / self.zoom)
            ys.append(self.y + (sin * px + cos * py) / self.zoom)
        return float(np.min(xs)), float(np.min(ys)), float(np.max(xs)), float(np.max(ys))


def still(frames: int) -> Path:
    """A camera that stands."""
    return Path(np.zeros(frames), np.zeros(frames), np.ones(frames), np.zeros(frames))


def profile(rng: np.random.Generator, frames: int) -> np.ndarray:
    """How much of a motion is done at each frame, 0 to 1: steady, or with a soft start, end, or both; [T]."""
    u = np.linspace(0, 1, frames)
    shapes = (u, u, u**1.7, 1 - (1 - u) ** 1.7, u * u * (3 - 2 * u))
    return np.asarray(shapes[rng.integers(len(shapes))])


def speed(rng: np.random.Generator, least: float = 0.15) -> float:
    """Pixels a frame at 128 pixels, often slow."""
    return float(least + (FASTEST - least) * rng.random() ** 1.5)


def direction(rng: np.random.Generator) -> tuple[float, float]:
    """A unit vector: half of the time along an axis, otherwise anywhere."""
    angle = rng.integers(4) * np.pi / 2 if rng.random() < 0.5 else rng.uniform(0, 2 * np.pi)
    return float(np.cos(angle)), float(np.sin(angle))


def pan(rng: np.random.Generator, frames: int, unit: float, fastest: float = FASTEST) -> Path:
    """A straight pan. unit: pixels of the frame's shorter side per 128."""
    way = speed(rng) * fastest / FASTEST * unit * (frames - 1) * profile(rng, frames)
    dx, dy = direction(rng)
    path = still(frames)
    return Path(dx * way, dy * way, path.zoom, path.turn)


def curve(rng: np.random.Generator, frames: int, unit: float) -> Path:
    """A pan along a bend."""
    straight, u = pan(rng, frames, unit, fastest=0.8 * FASTEST), np.linspace(0, 1, frames)
    bend = rng.choice([-1, 1]) * rng.uniform(0.3, 1.0) * u * u
    x = straight.x * np.cos(bend) - straight.y * np.sin(bend)
    y = straight.x * np.sin(bend) + straight.y * np.cos(bend)
    return Path(x, y, straight.zoom, straight.turn)


def zoom(rng: np.random.Generator, frames: int, steepest: float = STEEPEST) -> Path:
    """A zoom in or out."""
    factor = rng.choice([-1, 1]) * rng.uniform(0.12, steepest)
    path = still(frames)
    return Path(path.x, path.y, np.exp(factor * profile(rng, frames)), path.turn)


def turn(rng: np.random.Generator, frames: int, widest: float = 1.6) -> Path:
    """A turn about the line of sight."""
    angle = rng.choice([-1, 1]) * rng.uniform(0.15, widest)
    path = still(frames)
    return Path(path.x, path.y, path.zoom, angle * profile(rng, frames))


def shake(rng: np.random.Generator, frames: int, unit: float, most: float = 3.0) -> Path:
    """The slow sway of a camera that is held in a hand, up to so many pixels, beginning at 0."""
    u = np.linspace(0, 1, frames) * frames / 33
    waves = []
    for size in (most * unit, most * unit, 0.02, 0.03):
        rates, phases = rng.uniform(0.6, 3.0, 3), rng.uniform(0, 2 * np.pi, 3)
        wave = sum(np.sin(2 * np.pi * r * u + p) / (1 + r) for r, p in zip(rates, phases, strict=True))
        waves.append(size * rng.uniform(0.5, 1) * (wave - wave[0]) / 1.5)
    return Path(waves[0], waves[1], np.exp(waves[2]), waves[3])


def loop(rng: np.random.Generator, frames: int, unit: float) -> Path:
    """There and back again, along a line, a circle, or a zoom: the last frame is the first."""
    path, phase = still(frames), 2 * np.pi * np.linspace(0, 1, frames)
    away = rng.uniform(5, 24) * unit * (1 - np.cos(phase))
    kind = rng.integers(4)
    if kind == 3:
        return Path(
            path.x, path.y, np.exp(rng.choice([-1, 1]) * rng.uniform(0.08, 0.3) * (1 - np.cos(phase))), path.turn
        )
    dx, dy = direction(rng)
    aside = rng.choice([-1, 1]) * rng.uniform(5, 24) * unit * np.sin(phase) if kind == 2 else 0
    return Path(dx * away - dy * aside, dy * away + dx * aside, path.zoom, path.turn)


def sector(dx: float, dy: float) -> str:
    """The words for a direction on the picture, such as "up and to the left"."""
    return SECTORS[round(np.arctan2(dy, dx) / (np.pi / 4)) % 8]
