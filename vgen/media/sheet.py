"""Contact sheets: headings and rows of labelled pictures, as one PNG."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

BACKGROUND, INK, FAINT, ACCENT = (250, 250, 248), (40, 42, 48), (132, 136, 144), (232, 93, 4)
TILE_AREA = 176 * 176  # of one picture, pixels: legible whatever the size of the video
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
        draw.text((MARGIN, MARGIN - 4), _shortened(title, _font(20), sheet.width - 2 * MARGIN), INK, _font(20))
    for heading, tiles in sections:
        draw.text((MARGIN, top), _shortened(heading, _font(16), sheet.width - 2 * MARGIN), FAINT, _font(16))
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
    note = _shortened(tile.note, _font(13), room)
    right = left + tile.picture.width - _font(13).getlength(note)
    draw.text((right, bottom + 2), note, ACCENT if tile.given else FAINT, _font(13))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _drawable(text: str) -> str:
    """Text in the letters of Pillow's own font: without accents, and a question mark for what it has not at all."""
    letters = unicodedata.normalize("NFKD", text)
    return "".join(c if c.isascii() else "?" for c in letters if not unicodedata.combining(c))


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> str:
    text = _drawable(" ".join(text.split())[: int(room) + 1])  # a letter takes a pixel or more
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "...") > room:
        text = text[:-1]
    return text + "..." if text else ""
