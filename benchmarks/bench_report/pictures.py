"""Videos side by side and rows of frames, as addresses that hold them."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from bench_run.completion import given_of
from PIL import Image, ImageDraw

from vgen.canvas.placed import PlacedCanvas
from vgen.media.pixels import to_uint8
from vgen.media.sheet import spread
from vgen.media.writing import write_video

TALLEST = 256  # pixels of a tile's shorter side
SMALLEST = 120  # which small ones are enlarged to, by a whole number
GAP = 4
FRAMES = 9  # of a row
LABEL = 64
QUALITY, CRF = 88, 23
SLOWEST_SECONDS = 2.0
"""A shorter video is played slower, so that it lasts as long."""
PAPER, INK, NOT_GIVEN = (250, 250, 248), (40, 42, 48), 205


def given_video(placed: PlacedCanvas) -> np.ndarray:
    """What was given, light grey elsewhere: uint8 `[T, H, W, 3]`."""
    canvas = placed.canvas
    video = np.full((canvas.frames, canvas.height, canvas.width, 3), NOT_GIVEN, np.uint8)
    given = given_of(placed)
    for number, pixels, mask in zip(given.frames[0].tolist(), given.pixels[0], given.masks[0], strict=True):
        inside = mask[0].numpy() > 0.5
        video[number][inside] = to_uint8(pixels.permute(1, 2, 0)).numpy()[inside]
    return video


def video_address(videos: Mapping[str, np.ndarray], fps: float) -> str:
    """Videos uint8 `[T, H, W, 3]` of one size, side by side, as an h264 file in a `data:` address."""
    frames = [_side_by_side([_tile(video[number]) for video in videos.values()]) for number in range(_length(videos))]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "video.mp4"
        write_video(file, np.stack(frames), min(fps, max(1.0, len(frames) / SLOWEST_SECONDS)), crf=CRF, gop=len(frames))
        return _address("video/mp4", file.read_bytes())


def rows_address(videos: Mapping[str, np.ndarray]) -> str:
    """Some frames of videos, a row each under its name, as a JPEG in a `data:` address."""
    numbers = spread(_length(videos), min(FRAMES, _length(videos)))
    rows = {name: _side_by_side([_tile(video[number]) for number in numbers]) for name, video in videos.items()}
    height, width = next(iter(rows.values())).shape[:2]
    sheet = Image.new("RGB", (LABEL + width, 16 + len(rows) * (height + GAP)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, number in enumerate(numbers):
        draw.text((LABEL + column * (width + GAP) // len(numbers), 2), f"frame {number}", INK)
    for row, (name, pixels) in enumerate(rows.items()):
        top = 16 + row * (height + GAP)
        draw.text((2, top + height // 2 - 6), name[:10], INK)
        sheet.paste(Image.fromarray(pixels), (LABEL, top))
    held = io.BytesIO()
    sheet.save(held, "JPEG", quality=QUALITY)
    return _address("image/jpeg", held.getvalue())


def _length(videos: Mapping[str, np.ndarray]) -> int:
    return min(len(video) for video in videos.values())


def _tile(frame: np.ndarray) -> np.ndarray:
    """A frame as it is shown: small ones enlarged, large ones made smaller; both sides even."""
    side = min(frame.shape[:2])
    scale = max(1, round(SMALLEST / side)) if side < SMALLEST else min(1.0, TALLEST / side)
    height, width = (max(2, 2 * round(length * scale / 2)) for length in frame.shape[:2])
    if (height, width) == frame.shape[:2]:
        return frame
    filter_ = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(frame).resize((width, height), filter_))


def _side_by_side(tiles: list[np.ndarray]) -> np.ndarray:
    gap = np.full((tiles[0].shape[0], GAP, 3), PAPER, np.uint8)
    parts = [part for tile in tiles for part in (tile, gap)]
    return np.concatenate(parts[:-1], axis=1)


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
