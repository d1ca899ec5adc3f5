"""What a clip's caption says: what moves, and which way, read off the very paths that it is drawn with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from vgen.simulators.pictures.motion import Path, sector

LONGEST = 63  # bytes: the tokens of a small text encoder of bytes, but for the one that ends a text
BRIEF = 0.2  # share of captions that begin with the shortest nouns


def fitting(rng: np.random.Generator, forms: Sequence[str], nouns: Sequence[Sequence[str]], otherwise: str = "") -> str:
    """A caption that is short enough.

    Args:
        rng: chooses.
        forms: sentences with places for nouns, such as "the camera pans left over {0}".
        nouns: for each place, a noun in long and in short; the longest that fit are taken most often.
        otherwise: the caption where none fits.
    """
    choices = list(product(*nouns))
    for chosen in reversed(choices) if rng.random() < BRIEF else choices:
        texts = [" ".join(form.format(*chosen).split()) for form in forms]
        short = [text for text in texts if len(text.encode()) <= LONGEST]
        if short:
            return str(rng.choice(short))
    return otherwise


def way(path: Path) -> str:
    """Which way a camera moves in all, such as "left" or "up and to the left"."""
    return sector(path.x[-1] - path.x[0], path.y[-1] - path.y[0])


def to_the(direction: str) -> str:
    """As a place: "to the left", "up", "up and to the left"."""
    return f"to the {direction}" if direction in ("left", "right") else direction


def pace(per_frame: float, slow: float, fast: float) -> str:
    """The word for a speed, "" for one between slow and fast."""
    return "slowly" if per_frame < slow else "quickly" if per_frame > fast else ""


def pan(rng: np.random.Generator, path: Path, unit: float, nouns: Sequence[str]) -> str:
    """Of a pan; unit: pixels of the frame's shorter side per 128."""
    steps = np.hypot(np.diff(path.x), np.diff(path.y))
    moves = f"{way(path)} {pace(float(steps.mean()) / unit, 0.5, 1.6)}"
    forms = [
        f"the camera pans {moves} over {{0}}",
        f"the camera moves {moves} over {{0}}",
        f"{{0}}, the camera pans {moves}",
    ]
    return fitting(rng, forms, [nouns], f"the camera pans {moves}".strip())


def curve(rng: np.random.Generator, path: Path, nouns: Sequence[str]) -> str:
    """Of a pan along a bend."""
    moves = f"the camera pans {way(path)} in a curve"
    return fitting(rng, [f"{moves} over {{0}}", f"{{0}}, {moves}"], [nouns], moves)


def zoom(rng: np.random.Generator, path: Path, nouns: Sequence[str]) -> str:
    """Of a zoom."""
    total = float(np.log(path.zoom[-1] / path.zoom[0]))
    where, speed = "in" if total > 0 else "out", pace(abs(total) / len(path), 0.008, 0.02)
    nearer = "closer to" if total > 0 else "away from"
    forms = [f"the camera zooms {where} {speed} on {{0}}", f"{{0}}, the camera zooms {where} {speed}"]
    return fitting(rng, [*forms, f"the camera moves {nearer} {{0}} {speed}"], [nouns])


def rotation(path: Path) -> str:
    """Which way the picture turns: the other one than the camera."""
    return "anticlockwise" if path.turn[-1] > path.turn[0] else "clockwise"


def turn(rng: np.random.Generator, path: Path, nouns: Sequence[str]) -> str:
    """Of a turn about the line of sight."""
    turns = f"{rotation(path)} {pace(abs(float(path.turn[-1] - path.turn[0])) / len(path), 0.012, 0.035)}"
    return fitting(rng, [f"the picture turns {turns}, {{0}}", f"{{0}}, turning {turns}"], [nouns])


def mixed(rng: np.random.Generator, path: Path, nouns: Sequence[str]) -> str:
    """Of a pan with a zoom, a turn, or both."""
    moves = f"the camera pans {way(path)}"
    if abs(np.log(path.zoom[-1])) > 0.1:
        moves += f" and zooms {'in' if path.zoom[-1] > 1 else 'out'}"
    turned = f"turning {rotation(path)}" if abs(path.turn[-1]) > 0.1 else ""
    return fitting(rng, [f"{moves}, {{0}} {turned}", f"{{0}} {turned}, {moves}"], [nouns], moves)


def still(rng: np.random.Generator, nouns: Sequence[str]) -> str:
    """Of a camera that stands."""
    forms = ["the camera holds still on {0}", "{0}, nothing moves", "a still view of {0}"]
    return fitting(rng, forms, [nouns])


def shake(rng: np.random.Generator, nouns: Sequence[str]) -> str:
    """Of a camera that is held in a hand."""
    return fitting(rng, ["a hand-held camera looks at {0}", "the camera shakes a little over {0}"], [nouns])


def loop(rng: np.random.Generator, path: Path, nouns: Sequence[str]) -> str:
    """Of a camera that comes back."""
    middle = len(path) // 2
    aside = abs(path.x[1] * path.y[middle] - path.y[1] * path.x[middle])
    if path.zoom[middle] != 1:
        moves = "zooms in and out again" if path.zoom[middle] > 1 else "zooms out and in again"
    elif aside > 1e-6:
        moves = "circles once"
    else:
        moves = f"pans {sector(path.x[middle], path.y[middle])} and back again"
    return fitting(
        rng, [f"the camera {moves} over {{0}}", f"{{0}}, the camera {moves}"], [nouns], f"the camera {moves}"
    )


def light(rng: np.random.Generator, gains: np.ndarray, nouns: Sequence[str]) -> str:
    """Of light that changes: gains [T, 3]."""
    brighter = float(np.log(gains[-1].mean() / gains[0].mean()))
    warmer = float(np.log(gains[-1, 0] / gains[-1, 2]) - np.log(gains[0, 0] / gains[0, 2]))
    if abs(brighter) >= abs(warmer):
        change = "brighter" if brighter > 0 else "darker"
        forms = [f"{{0}} getting {change}", f"the light gets {change} on {{0}}"]
    else:
        change = "warmer" if warmer > 0 else "colder"
        forms = [f"{{0}} in light that gets {change}", f"the light gets {change} on {{0}}"]
    return fitting(rng, forms, [nouns])


def parallax(rng: np.random.Generator, path: Path, near: Sequence[str], nouns: Sequence[str]) -> str:
    """Of a pan past something near."""
    moves = f"the camera pans {way(path)}"
    forms = [f"{moves} past {{0}} over {{1}}", f"{moves}, {{0}} before {{1}}"]
    return fitting(rng, forms, [near, nouns], f"{moves} past something near")


def over(rng: np.random.Generator, deed: str, things: Sequence[str], nouns: Sequence[str], joined: str = "over") -> str:
    """Of a thing that does something over a ground, or behind something."""
    return fitting(rng, [f"{{0}} {deed} {joined} {{1}}"], [things, nouns], f"{things[-1]} {deed}")


def between(rng: np.random.Generator, kind: str, direction: str, first: Sequence[str], second: Sequence[str]) -> str:
    """Of one picture that is led over into another."""
    if kind == "fade":
        forms, plain = ["a fade from {0} to {1}"], "one picture fades into another"
    elif kind == "wipe":
        forms = [f"a wipe {to_the(direction)} from {{0}} to {{1}}"]
        plain = f"one picture wipes {to_the(direction)} into another"
    else:
        forms = [f"a push {to_the(direction)} from {{0}} to {{1}}"]
        plain = f"one picture pushes another out {to_the(direction)}"
    return fitting(rng, [*forms, plain], [first, second], plain)
