"""How things move over the frames: they enter, leave, cross, stay, come closer, turn, circle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vgen.simulators.pictures.captions import pace, to_the
from vgen.simulators.pictures.layers import object_path
from vgen.simulators.pictures.motion import Path, direction, profile, sector, speed

DEEDS = ("move", "move", "move", "enter", "enter", "leave", "leave", "cross", "closer", "turn", "circle", "fall")


@dataclass(frozen=True)
class Flight:
    """Where a thing is, frame by frame, and what it does.

    x, y: its middle from the frame's, in pixels; right and down are positive; [T].
    scale: of its size, [T].
    turn: clockwise, in radians; [T].
    deed: in words, such as "moves to the left".
    """

    x: np.ndarray
    y: np.ndarray
    scale: np.ndarray
    turn: np.ndarray
    deed: str

    def path(self) -> Path:
        """Of the camera that sees it so."""
        return object_path(self.x, self.y, self.scale, self.turn)


def fly(rng: np.random.Generator, frames: int, size: tuple[int, int], radius: float, deed: str | None = None) -> Flight:
    """A flight of a thing of some radius over frames of `size` (H, W), any of `DEEDS` unless one is named."""
    deed = str(rng.choice(DEEDS)) if deed is None else deed
    done, ones = profile(rng, frames), np.ones(frames)
    inside = rng.uniform(-0.3, 0.3, 2) * (size[1], size[0])
    if deed in ("enter", "leave", "cross"):
        return _through(rng, deed, done, size, radius, inside)
    if deed == "closer":
        grown = float(rng.choice([-1, 1]) * rng.uniform(0.3, 0.8))
        scale = np.exp(grown * (done - 0.5))
        return Flight(inside[0] * ones, inside[1] * ones, scale, 0 * ones, "comes closer" if grown > 0 else "goes away")
    if deed == "turn":
        turned = rng.choice([-1, 1]) * rng.uniform(0.5, 3.5) * done
        words = f"turns {'clockwise' if turned[-1] > 0 else 'anticlockwise'}"
        return Flight(inside[0] * ones, inside[1] * ones, ones, turned, words)
    if deed == "circle":
        wide, phase = rng.uniform(0.12, 0.3) * min(size), rng.uniform(0, 2 * np.pi)
        angle = phase + rng.choice([-1, 1]) * rng.uniform(0.6, 1.3) * 2 * np.pi * done
        return Flight(wide * np.cos(angle), wide * np.sin(angle), ones, 0 * ones, "moves in a circle")
    if deed == "fall":
        start, stop = -rng.uniform(0.2, 0.65) * size[0], rng.uniform(0.25, 0.6) * size[0]
        u = np.linspace(0, 1, frames)
        return Flight(inside[0] + 0 * u, start + (stop - start) * u * u, ones, rng.uniform(-1, 1) * u, "falls")
    return _move(rng, done, size, radius)


def _through(
    rng: np.random.Generator, deed: str, done: np.ndarray, size: tuple[int, int], radius: float, inside: np.ndarray
) -> Flight:
    """Over the edge of the frames: in, out, or both."""
    dx, dy = direction(rng)
    gone = min((size[1] / 2 + radius) / max(abs(dx), 1e-9), (size[0] / 2 + radius) / max(abs(dy), 1e-9))
    aside = rng.uniform(-0.2, 0.2) * min(size)
    start, stop = {"enter": (-gone, 0.0), "leave": (0.0, gone), "cross": (-gone, gone)}[deed]
    along = start + (stop - start) * done
    x, y = dx * along - dy * aside, dy * along + dx * aside
    words = {
        "enter": f"comes in from {from_the(sector(-dx, -dy))}",
        "leave": f"leaves {to_the(sector(dx, dy))}",
        "cross": f"crosses {to_the(sector(dx, dy))}",
    }
    return Flight(x, y, np.ones_like(done), rng.choice([0, 0, 1]) * rng.uniform(-1.5, 1.5) * done, words[deed])


def _move(rng: np.random.Generator, done: np.ndarray, size: tuple[int, int], radius: float) -> Flight:
    dx, dy = direction(rng)
    far = min(speed(rng) * min(size) / 128 * (len(done) - 1), 0.75 * min(size))
    middle = rng.uniform(-0.15, 0.15, 2) * (size[1], size[0])
    along = far * (done - 0.5)
    words = f"moves {to_the(sector(dx, dy))} {pace(far / (len(done) - 1) / min(size) * 128, 0.5, 1.6)}".strip()
    turned = rng.choice([0, 0, 1]) * rng.uniform(-1, 1) * done
    return Flight(middle[0] + dx * along, middle[1] + dy * along, np.ones_like(done), turned, words)


def from_the(side: str) -> str:
    """As a place to come from: "the left", "above", "above on the left"."""
    vertical = "above" if side.startswith("up") else "below" if side.startswith("down") else ""
    across = next((each for each in ("left", "right") if side.endswith(each)), "")
    if not vertical:
        return f"the {across}"
    return f"{vertical} on the {across}" if across else vertical
