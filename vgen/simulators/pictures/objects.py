"""Pictures of objects: what is left of a picture whose background is transparent, and what it is called."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vgen.simulators.pictures.opencv import cv2
from vgen.simulators.pictures.sprites import article
from vgen.simulators.pictures.textures import COLOURS

LONGEST = 512  # pixels that are kept of the longer side
SHORTEST = 64  # pixels; a smaller object is left out
SEEN = 25  # of 255: alpha above it belongs to the object
SOLID = 230  # of 255: alpha above it hides what lies behind
LEAST_SOLID = 0.7  # share of an object that hides what lies behind: glass, flames and shadows are left out
LEAST_FILLED = 0.2  # share of its bounding box that an object fills
RULES = (LONGEST, SHORTEST, SEEN, SOLID, LEAST_SOLID, LEAST_FILLED)  # what is kept depends on these
ASIDE = 8  # one object in so many is for testing, by its name
ENLARGED = 1.5  # an object's pixels are shown so many times as large, at most

WORDS, BYTES = 5, 27  # of a noun, at most: what captions have room for
OPENINGS = ("a", "an", "the")  # words that a noun begins with
NO_NOUN = re.compile(r"\b(is|are|was|were|has|have|can|will|means?|lets?|you|your|its?)\b")  # they make a sentence
JOINTS = ("in", "on", "at", "with", "from", "for", "inside")  # they, and what follows them, may be left out
LOOKS = (*COLOURS, "golden", "silver", "small", "little", "large", "big", "great", "old", "young", "very")
QUOTES = str.maketrans({"\u2019": "'"} | dict.fromkeys('\u201c\u201d\u2018"', ""))  # curly and straight ones
THING = ("a thing",)


@dataclass(frozen=True)
class ObjectPicture:
    """An object that was found.

    name: its file's name without the suffix.
    file: where its pixels are kept, for `numpy.load`.
    held_out: whether it is for testing alone.
    words: a noun, in long and in short.
    longest: pixels of its longer side.
    """

    name: str
    file: str
    held_out: bool
    words: tuple[str, ...]
    longest: int

    def pixels(self) -> np.ndarray:
        """uint8 [H, W, 4], cut to the object; its colours are multiplied by alpha / 255."""
        return np.asarray(np.load(self.file))


def held_out(name: str) -> bool:
    """Whether an object is for testing alone."""
    return zlib.crc32(name.encode(errors="surrogateescape")) % ASIDE == 0


def cropped(pixels: np.ndarray) -> np.ndarray | None:
    """The object that a picture [H, W, 4] shows, as `ObjectPicture.pixels` has it; None where it shows none of use."""
    box = _box(pixels[..., 3])
    if box is None:
        return None
    pixels = pixels[box]
    alpha = pixels[..., 3]
    solid = (alpha > SOLID).sum() / (alpha > SEEN).sum()
    if min(alpha.shape) < SHORTEST or alpha.mean() < LEAST_FILLED * 255 or solid < LEAST_SOLID:
        return None
    share = alpha[..., None] / np.float32(255)
    premultiplied = np.concatenate([pixels[..., :3] * share, alpha[..., None]], axis=2)
    scale = min(1.0, LONGEST / max(alpha.shape))
    if scale < 1:
        premultiplied = cv2.resize(premultiplied, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(np.rint(premultiplied).astype(np.uint8))


def _box(alpha: np.ndarray) -> tuple[slice, slice] | None:
    """The rows and columns that hold all that is seen; None where nothing is."""
    rows, columns = (np.flatnonzero((alpha > SEEN).any(axis)) for axis in (1, 0))
    return (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)) if len(rows) else None


def on_grey(pixels: np.ndarray) -> np.ndarray:
    """Premultiplied pixels [H, W, 4] before mid-grey: uint8 [H, W, 3]."""
    shown = pixels[..., :3] + 128 * (1 - pixels[..., 3:] / np.float32(255))
    return np.asarray(np.clip(np.rint(shown), 0, 255).astype(np.uint8))


def description(file: Path) -> Path:
    """The text beside a picture: its first line says what the picture shows."""
    return file.with_suffix(".txt")


def words_of(file: Path) -> tuple[str, ...]:
    """What a picture's object is called, in long and in short: by the text beside it, or by the file's name."""
    try:
        with description(file).open(encoding="utf-8-sig", errors="replace") as text:
            said = noun(text.readline(500))
    except OSError:
        said = None
    fitting = [words for words in said or _named(file.stem) if len(words.encode()) <= BYTES]
    return tuple(fitting) or THING


def noun(line: str) -> tuple[str, ...] | None:
    """The noun that a description begins with ("A red kangaroo."), in long and in short; None of any other."""
    first = re.split(r"[.!?]", re.sub(r"\([^)]*\)", "", line), maxsplit=1)[0]
    words = first.translate(QUOTES).replace(" '", " ").rstrip("' \n").split()
    if (
        "\ufffd" in line
        or not 1 < len(words) <= WORDS
        or words[0].lower() not in OPENINGS
        or NO_NOUN.search(" ".join(words).lower())
    ):
        return None
    words[0] = words[0].lower()
    long = " ".join(words)
    short = _short(words)
    return (long,) if short == long else (long, short)


def _short(words: list[str]) -> str:
    """A noun without its colour, size and place: "a kangaroo" of "a red kangaroo", "a chick" of "a chick in an egg"."""
    end = next((place for place, word in enumerate(words) if place > 1 and word in JOINTS), len(words))
    if words[0] in ("a", "an") and all(word in LOOKS for word in words[1 : end - 1]):
        return article(words[end - 1])
    return " ".join(words[:end])


def _named(stem: str) -> tuple[str, ...]:
    """A file's name as words ("roast_turkey-2" is a roast turkey); a thing where they are none."""
    words = re.sub(r"[\s_-]*\d{0,2}$", "", stem).replace("-", "_").replace(" ", "_").lower().split("_")
    words = [word for word in words if word not in ("photo", "picture", "image")]
    if not 0 < len(words) <= 3 or not all(
        re.fullmatch(r"[a-z]*[aeiouy][a-z]*", word) and len(word) > 2 for word in words
    ):
        return THING
    return (article(" ".join(words)),)
