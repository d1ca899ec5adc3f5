"""What a clip's caption says: what moves, and which way, read off the very paths that it is drawn with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from vgen.simulators.pictures.motion import Path, sector

LONGEST = 63  # bytes: the tokens of a small text encoder of bytes, but for the one that ends a text


def fitting(rng: np.random.Generator, texts: Iterable[str], otherwise: str = "") -> str:
    """One of the texts that are short enough, any of them; `otherwise` where none is."""
    texts = [" ".join(text.split()) for text in texts]
    short = [text for text in texts if len(text.encode()) <= LONGEST]
    return str(rng.choice(short)) if short else otherwise


def way(path: Path) -> str:
    """Which way a camera moves in all, such as "left" or "up and to the left"."""
    return sector(path.x[-1] - path.x[0], path.y[-1] - path.y[0])


def to_the(direction: str) -> str:
    """As a place: "to the left", "up", "up and to the left"."""
    return f"to the {direction}" if direction in ("left", "right") else direction


def pace(per_frame: float, slow: float, fast: float) -> str:
    """The word for a speed."""
    return "slowly" if per_frame < slow else "quickly" if per_frame > fast else ""


def pan_pace(path: Path, unit: float) -> str:
    """The word for the speed of a pan."""
    steps = np.hypot(np.diff(path.x), np.diff(path.y))
    return pace(float(steps.mean()) / unit, 0.5, 1.6)


def pan(rng: np.random.Generator, path: Path, unit: float, nouns: Sequence[str]) -> str:
    """Of a pan."""
    direction, speed = way(path), pan_pace(path, unit)
    texts = []
    for noun in nouns:
        texts += [
            f"the camera pans {direction} {speed} over {noun}",
            f"the camera moves {direction} {speed} over {noun}",
        ]
        texts.append(f"{noun}, the camera pans {direction} {speed}")
    return fitting(rng, texts)


def curve(rng: np.random.Generator, path: Path, nouns: Sequence[str]) -> str:
    """Of a pan along a bend."""
    return fitting(rng, (f"the camera pans {way(path)} in a curve over {noun}" for noun in nouns))


def zoom(rng: np.random.Generator, path: Path, nouns: Sequence[str]) -> str:
    """Of a zoom."""
    total = float(np.log(path.zoom[-1] / path.zoom[0]))
    where, speed = "in" if total > 0 else "out", pace(abs(total) / len(path), 0.008, 0.02)
    texts = []
    for noun in nouns:
        texts += [f"the camera zooms {where} {speed} on {noun}", f"{noun}, the camera zooms {where} {speed}"]
        texts.append(f"the camera moves {'closer to' if total > 0 else 'away from'} {noun} {speed}")
    return fitting(rng, texts)


def rotation(path: Path) -> str:
    """Which way the picture turns: the other one than the camera."""
    return "anticlockwise" if path.turn[-1] > path.turn[0] else "clockwise"


def turn(rng: np.random.Generator, path: Path, nouns: Sequence[str]) -> str:
    """Of a turn about the line of sight."""
    speed = pace(abs(float(path.turn[-1] - path.turn[0])) / len(path), 0.012, 0.035)
    texts = []
    for noun in nouns:
        texts += [f"the picture turns {rotation(path)} {speed}, {noun}", f"{noun}, turning {rotation(path)} {speed}"]
    return fitting(rng, texts)


def mixed(rng: np.random.Generator, path: Path, nouns: Sequence[str]) -> str:
    """Of a pan with a zoom, a turn, or both."""
    parts = [f"pans {way(path)}"]
    if abs(np.log(path.zoom[-1])) > 0.1:
        parts.append(f"zooms {'in' if path.zoom[-1] > 1 else 'out'}")
    turned = f"turning {rotation(path)}" if abs(path.turn[-1]) > 0.1 else ""
    texts = []
    for noun in nouns:
        texts += [
            f"the camera {' and '.join(parts)}, {noun} {turned}",
            f"{noun} {turned}, the camera {' and '.join(parts)}",
        ]
    return fitting(rng, texts, f"the camera {' and '.join(parts)}")


def still(rng: np.random.Generator, nouns: Sequence[str]) -> str:
    """Of a camera that stands."""
    texts = []
    for noun in nouns:
        texts += [f"the camera holds still on {noun}", f"{noun}, nothing moves", f"a still view of {noun}"]
    return fitting(rng, texts)


def shake(rng: np.random.Generator, nouns: Sequence[str]) -> str:
    """Of a camera that is held in a hand."""
    texts = []
    for noun in nouns:
        texts += [f"a hand-held camera looks at {noun}", f"the camera shakes a little over {noun}"]
    return fitting(rng, texts)


def loop(rng: np.random.Generator, path: Path, nouns: Sequence[str]) -> str:
    """Of a camera that comes back."""
    middle = len(path) // 2
    aside = abs(path.x[1] * path.y[middle] - path.y[1] * path.x[middle])
    if path.zoom[middle] != 1:
        what = "zooms in and out again" if path.zoom[middle] > 1 else "zooms out and in again"
    elif aside > 1e-6:
        what = "circles once"
    else:
        what = f"pans {sector(path.x[middle], path.y[middle])} and back again"
    return fitting(rng, (f"the camera {what} over {noun}" for noun in nouns), f"the camera {what}")


def light(rng: np.random.Generator, gains: np.ndarray, nouns: Sequence[str]) -> str:
    """Of light that changes: gains [T, 3]."""
    return fitting(rng, (f"{noun} {light_words(gains)}" for noun in nouns))


def light_words(gains: np.ndarray) -> str:
    """Such as "gets darker"."""
    brighter = float(np.log(gains[-1].mean() / gains[0].mean()))
    warmer = float(np.log(gains[-1, 0] / gains[-1, 2]) - np.log(gains[0, 0] / gains[0, 2]))
    if abs(brighter) >= abs(warmer):
        return "getting brighter" if brighter > 0 else "getting darker"
    return "in light that gets warmer" if warmer > 0 else "in light that gets colder"


def over(
    rng: np.random.Generator, deed: str, subjects: Sequence[str], nouns: Sequence[str], joined: str = "over"
) -> str:
    """Of a thing that does something over a ground, or behind something."""
    return fitting(rng, (f"{a} {deed} {joined} {b}" for a in subjects for b in nouns), f"{subjects[-1]} {deed}")


def between(rng: np.random.Generator, kind: str, direction: str, first: Sequence[str], second: Sequence[str]) -> str:
    """Of one picture that is led over into another."""
    if kind == "fade":
        texts = [f"a fade from {a} to {b}" for a in first for b in second]
        return fitting(rng, texts, "one picture fades into another")
    if kind == "wipe":
        texts = [f"a wipe {to_the(direction)} from {a} to {b}" for a in first for b in second]
        return fitting(rng, texts, f"one picture wipes {to_the(direction)} into another")
    texts = [f"a push {to_the(direction)} from {a} to {b}" for a in first for b in second]
    return fitting(rng, texts, f"one picture pushes another out {to_the(direction)}")
