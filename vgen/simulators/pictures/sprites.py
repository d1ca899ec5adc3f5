"""Things that move over a ground: drawn shapes and letters, parts that are cut out of photographs, and pictures of
objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vgen.simulators.pictures.opencv import cv2
from vgen.simulators.pictures.shapes import SHAPES, blob, outline
from vgen.simulators.pictures.textures import SUBPIXEL, apart, tint

LETTERS = "ABCDEFGHJKLMNPRSTUVXYZ2345789"
TRIES = 4  # places of a photograph that are tried for a cut-out
FILLED = (0.2, 0.8)  # share of its square that a good cut-out fills
CLEAR = 1  # pixels around an object in its square
CUT_AT = 96  # pixels a side of the square that GrabCut divides


@dataclass(frozen=True)
class Sprite:
    """Something that is cut out.

    pixels: float32 [N, N, 4] in 0..255, its colours multiplied by alpha / 255; its middle is the sprite's.
    words: a noun, in long and in short.
    picture: the photograph or object that it is of, "" where it is drawn.
    """

    pixels: np.ndarray
    words: tuple[str, ...]
    picture: str = ""


def shape(rng: np.random.Generator, side: int) -> Sprite:
    """A shape or letter of one colour, plain, shaded, rimmed or striped; `side` pixels wide."""
    first, second = apart(rng)
    if rng.random() < 0.15:
        letter = str(rng.choice(list(LETTERS)))
        alpha, words = _letter(letter, side), (f"a {first} letter {letter}", "a letter")
    else:
        name = str(rng.choice(SHAPES))
        alpha, words = _filled(0.96 * outline(rng, name), side), (article(f"{first} {name}"), article(name))
    low, high = tint(rng, first), tint(rng, second)
    colours = np.empty((side, side, 3), np.float32)
    colours[:] = low
    look = rng.integers(4)
    if look == 1:  # lit from one side
        angle = rng.uniform(0, 2 * np.pi)
        ys, xs = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
        colours *= (1 + 0.35 * (np.cos(angle) * xs + np.sin(angle) * ys))[..., None]
    elif look == 2:  # with a rim
        inner = cv2.erode(alpha, np.ones((3, 3), np.uint8), iterations=max(1, side // 24))
        colours += (1 - inner[..., None].astype(np.float32) / 255) * (high - low)
    elif look == 3 and rng.random() < 0.5:  # striped
        stripes = np.sin(np.linspace(0, rng.uniform(2, 6) * 2 * np.pi, side))
        colours += np.clip(0.5 + stripes * 3, 0, 1)[:, None, None] * (high - low) * 0.6
    return Sprite(_premultiplied(np.clip(colours, 0, 255), alpha), words)


def cut_out(rng: np.random.Generator, pixels: np.ndarray, name: str, side: int) -> Sprite:
    """A part of a photograph [H, W, 3]: an object by GrabCut where that finds one, otherwise a soft-edged blob."""
    for _ in range(TRIES):
        square = _square(rng, pixels)
        found = _object(square, int(rng.integers(2**31)))
        if found is not None:
            return Sprite(_scaled(square, found, side), ("a cut-out", "a thing"), name)
    alpha = _filled(0.93 * blob(rng), square.shape[0])
    return Sprite(_scaled(square, alpha, side), ("a piece of a photo", "a piece"), name)


def of_object(rng: np.random.Generator, pixels: np.ndarray, name: str, words: tuple[str, ...], side: int) -> Sprite:
    """An object in a square as wide as its longer side, half of the time mirrored.

    Args:
        rng: mirrors.
        pixels: uint8 [H, W, 4], cut to the object, its colours multiplied by alpha / 255.
        name: the object's.
        words: a noun, in long and in short.
        side: of the square, in pixels.
    """
    share = (side - 2 * CLEAR) / max(pixels.shape[:2])
    height, width = (max(1, round(share * each)) for each in pixels.shape[:2])
    way = cv2.INTER_AREA if share < 1 else cv2.INTER_CUBIC
    scaled = np.clip(cv2.resize(pixels.astype(np.float32), (width, height), interpolation=way), 0, 255)
    scaled[..., :3] = np.minimum(scaled[..., :3], scaled[..., 3:])  # cubic weights overshoot
    square = np.zeros((side, side, 4), np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = scaled[:, ::-1] if rng.random() < 0.5 else scaled
    return Sprite(square, words, name)


def article(noun: str) -> str:
    """The noun with its article."""
    vowel = noun[0].lower() in "aeiou" and not noun.lower().startswith(("uni", "use", "eu"))
    return f"{'an' if vowel or noun.lower().startswith(('hour', 'honest')) else 'a'} {noun}"


def _filled(points: np.ndarray, side: int) -> np.ndarray:
    """uint8 [side, side]: what a line around the middle encloses; 1 of its units is half a side."""
    alpha = np.zeros((side, side), np.uint8)
    places = (points + 1) * side / 2 - 0.5
    cv2.fillPoly(alpha, [np.round(places * 2**SUBPIXEL).astype(np.int32)], 255, cv2.LINE_AA, SUBPIXEL)
    return alpha


def _letter(letter: str, side: int) -> np.ndarray:
    alpha = np.zeros((side, side), np.uint8)
    thick = max(2, side // 7)
    scale = side / 34
    (width, height), _ = cv2.getTextSize(letter, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    scale *= min(1.0, 0.9 * side / (width + thick), 0.9 * side / (height + thick))
    (width, height), _ = cv2.getTextSize(letter, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    place = ((side - width) // 2, (side + height) // 2)
    cv2.putText(alpha, letter, place, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thick, cv2.LINE_AA)
    return alpha


def _square(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """A square part of a picture: uint8 [S, S, 3]."""
    side = int(rng.uniform(0.2, 0.6) * min(pixels.shape[:2]))
    y, x = (int(rng.integers(most - side + 1)) for most in pixels.shape[:2])
    return np.ascontiguousarray(pixels[y : y + side, x : x + side])


def _object(square: np.ndarray, seed: int) -> np.ndarray | None:
    """uint8 [S, S], the alpha of what stands out in a square; None where nothing of a good size does."""
    small = cv2.resize(square, (CUT_AT, CUT_AT), interpolation=cv2.INTER_AREA)
    if small.std((0, 1)).mean() < 12:
        return None
    mask = np.zeros((CUT_AT, CUT_AT), np.uint8)
    cv2.setRNGSeed(seed)
    edge = CUT_AT // 12
    models = np.zeros((1, 65)), np.zeros((1, 65))
    try:
        cv2.grabCut(small, mask, (edge, edge, CUT_AT - 2 * edge, CUT_AT - 2 * edge), *models, 2, cv2.GC_INIT_WITH_RECT)
    except cv2.error:  # a rim or a middle of one colour
        return None
    found = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    front = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(front)
    if len(stats) < 2:
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    if not FILLED[0] < stats[largest, cv2.CC_STAT_AREA] / CUT_AT**2 < FILLED[1]:
        return None
    whole = cv2.morphologyEx((labels == largest).astype(np.float32) * 255, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    alpha = cv2.resize(cv2.GaussianBlur(whole, (0, 0), 1.5), square.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip((alpha - 127.5) * 2 + 127.5, 0, 255).astype(np.uint8))


def _scaled(square: np.ndarray, alpha: np.ndarray, side: int) -> np.ndarray:
    pixels = _premultiplied(square.astype(np.float32), alpha)
    way = cv2.INTER_AREA if side < len(square) else cv2.INTER_CUBIC
    return np.asarray(np.clip(cv2.resize(pixels, (side, side), interpolation=way), 0, 255))


def _premultiplied(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha.astype(np.float32)[..., None]
    return np.concatenate([colours * share / 255, share], axis=2).astype(np.float32)
