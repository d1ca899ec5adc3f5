"""Contact sheets: headings and rows of labelled pictures, as one PNG."""

from __future__ import annotations

import logging
import math
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from vgen.notices import warn_once

logger = logging.getLogger(__name__)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

BACKGROUND, INK, FAINT, ACCENT = (250, 250, 248), (40, 42, 48), (132, 136, 144), (232, 93, 4)
TILE_AREA = 176 * 176  # of one picture, pixels: legible whatever the size of the video
# By their files' names, in which letters that Pillow's own font has not are looked for, wherever a system keeps fonts
FONTS = (
    "DejaVuSans.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSans-Regular.ttf",
    "wqy-microhei.ttc",
    "Arial Unicode.ttf",
    "arial.ttf",
    "msyh.ttc",
)
MOST_LETTERS = 12  # that a message names
COLUMNS, GAP, MARGIN, CAPTION, HEADING = 6, 14, 28, 24, 34


@dataclass(frozen=True)
class Tile:
    """A picture, what stands below it to the left and to the right, and whether it was given."""

    picture: Image.Image
    label: str
    note: str
    given: bool


def spread(total: int, count: int) -> list[int]:
    """Some of the numbers 0..total-1, evenly, with the first and the last."""
    return [int(number) for number in np.linspace(0, total - 1, count).round()]


def number_runs(numbers: Iterable[float]) -> str:
    """Numbers in their order as text, runs of whole ones joined: 0-4, 10.5, 12."""
    runs: list[list[float]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1 and number == int(number):
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{first:g}" if first == last else f"{first:g}-{last:g}" for first, last in runs)


def tile_size(height: int, width: int) -> tuple[int, int]:
    """(width, height) of a picture on the sheet."""
    scale = math.sqrt(TILE_AREA / (height * width))
    return round(width * scale), round(height * scale)


def picture_of(pixels: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """Pixels uint8 [H, W, 3] as a picture of (width, height); of another shape, as much of it as they fill."""
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return ImageOps.pad(picture, size, Image.Resampling.BICUBIC, BACKGROUND, centering=(0, 0))


def draw_sheet(title: str, sections: Sequence[tuple[str, Sequence[Tile]]], size: tuple[int, int]) -> Image.Image:
    """Lays out the headings and the rows of tiles, top to bottom."""
    step_x, step_y = size[0] + GAP, size[1] + CAPTION + GAP
    columns = min(COLUMNS, max(len(tiles) for _, tiles in sections))
    rows = sum(math.ceil(len(tiles) / columns) for _, tiles in sections)
    top = MARGIN + (HEADING if title else 0)
    height = top + len(sections) * HEADING + rows * step_y + MARGIN - GAP
    sheet = Image.new("RGB", (2 * MARGIN + columns * step_x - GAP, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    if title:
        _draw_text(draw, (MARGIN, MARGIN - 4), title, 20, INK, sheet.width - 2 * MARGIN)
    for heading, tiles in sections:
        _draw_text(draw, (MARGIN, top), heading, 16, FAINT, sheet.width - 2 * MARGIN)
        top += HEADING
        for index, tile in enumerate(tiles):
            row, column = divmod(index, columns)
            _draw_tile(sheet, draw, tile, (MARGIN + column * step_x, top + row * step_y))
        top += math.ceil(len(tiles) / columns) * step_y
    return sheet


def _draw_tile(sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, corner: tuple[int, int]) -> None:
    left, bottom = corner[0], corner[1] + tile.picture.height + 5
    sheet.paste(tile.picture, corner)
    draw.text((left, bottom), tile.label, ACCENT if tile.given else INK, _font(15))
    room = tile.picture.width - _font(15).getlength(tile.label) - 10
    ink = ACCENT if tile.given else FAINT
    _draw_text(draw, (left + tile.picture.width, bottom + 2), tile.note, 13, ink, room, anchor="ra")


def _draw_text(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    size: int,
    ink: tuple[int, int, int],
    room: float,
    anchor: str = "la",
) -> None:
    """Text in one line, cut to the room that it has, which lies to the right of its place, or to the left ("ra")."""
    text, font = _lettered(" ".join(text.split())[: int(room) + 1], size)  # a letter takes a pixel or more
    draw.text(place, _shortened(text, font, room), ink, font, anchor)


@cache
def _font(size: int) -> Font:
    return ImageFont.load_default(size)


@cache
def _other_fonts(size: int) -> list[Font]:
    """Those of `FONTS` that this machine has."""
    found: list[Font] = []
    for name in FONTS:
        with suppress(OSError):
            found.append(ImageFont.truetype(name, size))
    return found


def _lettered(text: str, size: int) -> tuple[str, Font]:
    """Text as it can be drawn, and the font: Pillow's own without accents where that is enough, as it is the same
    everywhere, or else the font of this machine that has most of the letters. "?" stands for what none has, which is
    told."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    if plain.isascii():
        return plain, _font(size)
    text = unicodedata.normalize("NFC", text)
    fonts = _other_fonts(size)
    if fonts:
        font = min(fonts, key=lambda each: len(_missing(text, each)))
        missing = _missing(text, font)
    else:
        text, font = plain, _font(size)
        missing = _missing(text, font)
    if missing:
        letters = "".join(dict.fromkeys(c for c in text if c in missing))[:MOST_LETTERS]
        how = 'so "?" stands for them on the sheet; install one that has, such as DejaVu Sans or Noto Sans CJK'
        warn_once(logger, f"no font that was found has {letters}, {how}")
    return "".join("?" if c in missing else c for c in text), font


def _missing(text: str, font: Font) -> set[str]:
    """Letters of a text that a font has not: it draws them all alike."""
    unknown = bytes(font.getmask("\uffff"))
    return {c for c in set(text) if not c.isspace() and bytes(font.getmask(c)) == unknown}


def _shortened(text: str, font: Font, room: float) -> str:
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "...") > room:
        text = text[:-1]
    return text + "..." if text else ""
