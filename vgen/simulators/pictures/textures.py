"""Drawn textures: dead leaves, 1/f noise, fractals, waves, checks, stripes, letters, gradients, each with its words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vgen.simulators.pictures.opencv import cv2
from vgen.simulators.pictures.shapes import SHAPES, outline

COLOURS = {
    "red": (205, 40, 40),
    "orange": (240, 140, 40),
    "yellow": (240, 215, 70),
    "green": (60, 160, 70),
    "teal": (40, 150, 150),
    "blue": (50, 90, 200),
    "purple": (130, 60, 170),
    "pink": (240, 140, 180),
    "brown": (125, 80, 45),
    "white": (240, 240, 235),
    "grey": (130, 130, 130),
    "black": (25, 25, 28),
}
PLURALS = {"leaf": "leaves", "cross": "crosses"}
APART = 55  # mean difference of two colours
SUBPIXEL = 4  # bits of the places that OpenCV draws at


@dataclass(frozen=True)
class Texture:
    """A drawn picture.

    pixels: uint8 [H, W, 3].
    words: what it is, such as "red and white stripes"; the shortest that says it is last.
    """

    pixels: np.ndarray
    words: tuple[str, ...]


def apart(rng: np.random.Generator) -> tuple[str, str]:
    """The names of two colours that are told apart at a glance."""
    while True:
        first, second = (str(name) for name in rng.choice(list(COLOURS), 2, replace=False))
        if np.abs(np.subtract(COLOURS[first], COLOURS[second])).mean() >= APART:
            return first, second


def tint(rng: np.random.Generator, name: str, spread: float = 14) -> np.ndarray:
    """One colour of a name: float [3], 0 to 255."""
    return np.clip(np.array(COLOURS[name]) + rng.normal(0, spread, 3), 0, 255)


def draw(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Texture:
    """A texture of any kind.

    Args:
        rng: decides which.
        size: height and width in pixels.
        unit: pixels of the shorter side of what a frame shows: the texture's grain follows it.
    """
    names = sorted(KINDS)
    return KINDS[names[rng.choice(len(names), p=[SHARES[name] for name in names])]](rng, size, unit)


def leaves(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Texture:
    """Dead leaves: shapes of all sizes over each other, as things in a scene cover each other (radii as 1/r^3; A. Lee,
    D. Mumford and J. Huang, Occlusion models for natural images, 2001)."""
    shape = str(rng.choice(SHAPES))
    first, second = apart(rng)
    mottled = rng.random() < 0.35
    pixels = np.empty((*size, 3), np.uint8)
    pixels[:] = tint(rng, first)
    least, most = rng.uniform(0.03, 0.07) * unit, rng.uniform(0.2, 0.45) * unit
    for _ in range(int(0.18 * size[0] * size[1] / least**2)):
        radius = least / np.sqrt(1 - rng.random() * (1 - (least / most) ** 2))
        middle = rng.uniform((-radius, -radius), (size[1] + radius, size[0] + radius))
        name = str(rng.choice(list(COLOURS))) if mottled else (first, second)[rng.integers(2)]
        colour = tuple(float(each) for each in tint(rng, name, 26))
        points = middle + radius * outline(rng, shape)
        cv2.fillPoly(pixels, [np.round(points * 2**SUBPIXEL).astype(np.int32)], colour, cv2.LINE_AA, SUBPIXEL)
    words = "colourful" if mottled else f"{first} and {second}"
    return Texture(pixels, (f"{words} {PLURALS.get(shape, shape + 's')}", "shapes"))


def noise(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Texture:
    """Clouds: noise whose amplitude falls as one over a power of its frequency."""
    power = rng.uniform(1.1, 1.8)
    if rng.random() < 0.3:
        channels = [_noise(rng, size, power) for _ in range(3)]
        shared = _noise(rng, size, power)
        pixels = np.stack([0.5 + 0.16 * (channel + shared) for channel in channels], axis=2)
        return Texture(_bytes(255 * pixels), ("colourful clouds", "clouds"))
    return _between(rng, 0.5 + 0.3 * _noise(rng, size, power), "clouds", "clouds")


def waves(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Texture:
    """Plasma: sums of a few plane and round waves."""
    ys, xs = _grid(size, unit)
    total = np.zeros(size, np.float32)
    for _ in range(rng.integers(2, 5)):
        rate, angle, phase = rng.uniform(1, 5) * 2 * np.pi, rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi)
        if rng.random() < 0.4:
            cy, cx = rng.uniform(-1, 1, 2)
            total += np.sin(rate * np.hypot(ys - cy, xs - cx) + phase)
        else:
            total += np.sin(rate * (np.cos(angle) * xs + np.sin(angle) * ys) + phase)
    return _between(rng, 0.5 + 0.5 * np.sin(total * rng.uniform(1, 2)), "waves", "waves")


def fractal(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Texture:
    """A Julia set of z^2 + c with c near the edge of the Mandelbrot set, by its smooth time of escape."""
    angle = rng.uniform(0, 2 * np.pi)
    c = 0.5 * np.exp(1j * angle) - 0.25 * np.exp(2j * angle) + rng.uniform(0.0, 0.06) * np.exp(1j * angle)
    small = (max(2, size[0] * 2 // 3), max(2, size[1] * 2 // 3))
    ys, xs = _grid(small, unit * 2 / 3)
    spin = np.exp(1j * rng.uniform(0, 2 * np.pi)) * rng.uniform(0.7, 1.3)
    z = ((xs + 1j * ys) * spin).astype(np.complex64)
    time, inside = np.zeros(small, np.float32), np.ones(small, bool)
    for step in range(48):
        z[inside] = z[inside] ** 2 + np.complex64(c)
        gone = inside & (np.abs(z) > 8)
        time[gone] = step + 1 - np.log2(np.log(np.abs(z[gone])))
        inside &= ~gone
    time[inside] = 48
    value = 0.5 - 0.5 * np.cos(np.sqrt(np.maximum(time, 0)) * rng.uniform(1.5, 3))
    smooth = cv2.GaussianBlur(value, (0, 0), 0.7)
    return _between(
        rng, cv2.resize(smooth, size[::-1], interpolation=cv2.INTER_CUBIC), "fractal", "a fractal", one=True
    )


def checks(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Texture:
    """A checkerboard, turned."""
    ys, xs = _turned(rng, size, unit)
    rate, soft = rng.uniform(2, 7) * np.pi, unit / 2
    value = np.sin(xs * rate) * np.sin(ys * rate) * soft / rate * 2
    return _between(rng, 0.5 + value, "checkerboard", "a checkerboard", one=True)


def stripes(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Texture:
    """Stripes, turned."""
    _, xs = _turned(rng, size, unit)
    rate = rng.uniform(2, 9) * np.pi
    return _between(rng, 0.5 + np.sin(xs * rate) * unit / rate, "stripes", "stripes")


def gradient(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Texture:
    """From one colour to another, with a little grain."""
    _, xs = _turned(rng, size, unit)
    value = 0.5 + xs * rng.uniform(0.35, 0.8) + 0.04 * _noise(rng, size, 1.0)
    return _between(rng, value, "gradient", "a gradient", one=True)


def letters(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Texture:
    """Lines of letters and figures, as on a page."""
    ink, paper = apart(rng)
    pixels = np.empty((*size, 3), np.uint8)
    pixels[:] = tint(rng, paper)
    scale = rng.uniform(0.0025, 0.006) * unit
    alphabet, pen = np.array(list("abcdefghijklmnopqrstuvwxyzABCDEFGH0123456789    ")), tint(rng, ink).tolist()
    for y in np.arange(0, size[0] + 30 * scale, 34 * scale):
        line = "".join(rng.choice(alphabet, int(size[1] / (14 * scale)) + 4))
        place = (int(-rng.uniform(0, 30) * scale), int(y))
        cv2.putText(pixels, line, place, cv2.FONT_HERSHEY_SIMPLEX, scale, pen, max(1, round(2.2 * scale)), cv2.LINE_AA)
    return Texture(pixels, (f"{ink} letters on {paper}", "letters"))


KINDS: dict[str, Callable[[np.random.Generator, tuple[int, int], float], Texture]] = {
    "checks": checks,
    "fractal": fractal,
    "gradient": gradient,
    "leaves": leaves,
    "letters": letters,
    "noise": noise,
    "stripes": stripes,
    "waves": waves,
}
SHARES = {"checks": 0.06, "fractal": 0.14, "gradient": 0.03, "leaves": 0.38, "letters": 0.06} | {
    "noise": 0.17,
    "stripes": 0.06,
    "waves": 0.1,
}


def _bytes(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(pixels, 0, 255).round().astype(np.uint8))


def _between(rng: np.random.Generator, value: np.ndarray, name: str, short: str, one: bool = False) -> Texture:
    """A texture of two colours: `value` float [H, W] leads from one (0) to the other (1)."""
    first, second = apart(rng)
    low, high = tint(rng, first).astype(np.float32), tint(rng, second).astype(np.float32)
    share = np.clip(value, 0, 1).astype(np.float32)[..., None]
    words = f"{'a ' if one else ''}{first} and {second} {name}"
    return Texture(_bytes(low * (1 - share) + high * share), (words, short))


def _noise(rng: np.random.Generator, size: tuple[int, int], power: float) -> np.ndarray:
    """float32 [H, W] of mean 0 and deviation 1."""
    rows, columns = (cv2.getOptimalDFTSize(side) for side in size)
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None] * rows, np.fft.rfftfreq(columns)[None] * columns)
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal((rows, columns), dtype=np.float32)) / frequency**power
    spectrum[0, 0] = 0
    value = np.fft.irfft2(spectrum, (rows, columns))[: size[0], : size[1]]
    return np.asarray((value / value.std()).astype(np.float32))


def _grid(size: tuple[int, int], unit: float) -> tuple[np.ndarray, np.ndarray]:
    """y and x of each pixel, from the middle, in shorter sides of a frame."""
    ys, xs = np.mgrid[: size[0], : size[1]].astype(np.float32)
    return (ys - size[0] / 2) / unit, (xs - size[1] / 2) / unit


def _turned(rng: np.random.Generator, size: tuple[int, int], unit: float) -> tuple[np.ndarray, np.ndarray]:
    ys, xs = _grid(size, unit)
    angle = rng.uniform(0, np.pi) if rng.random() < 0.7 else rng.integers(2) * np.pi / 2
    return ys * np.cos(angle) - xs * np.sin(angle), ys * np.sin(angle) + xs * np.cos(angle)
