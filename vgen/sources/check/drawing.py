"""Episodes with their trajectory drawn over the frames where its place in them is known, beside them otherwise, and
what moves in the picture and in the trajectory below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vgen.files import whole_file
from vgen.media.sheet import ACCENT, BACKGROUND, FAINT, INK, Tile, draw_sheet, picture_of, spread, tile_size
from vgen.media.writing import VideoWriter
from vgen.sources.check.camera import axis_points, image_points, pinhole
from vgen.sources.check.delay import Delay
from vgen.sources.check.motion import CHUNK, Motion
from vgen.sources.check.recordings import INTRINSICS, POSE, Recording, Recordings
from vgen.trajectory.layouts import MANO, MEDIAPIPE
from vgen.trajectory.overlay import COLORS, Overlay
from vgen.trajectory.trajectory import Trajectory

TILES = 12  # frames of a sheet
STRIP = 96  # pixels of height of the curves below a frame
LETTERS, EDGE = 22, 6
TRAIL = 1.0  # seconds of the way of a hand that are drawn behind it
AXES = ((214, 39, 40), (44, 160, 44), (31, 119, 180))  # colours of x, y and z
CURVE = 640, 240  # width and height of the picture of a delay


class EpisodeDrawing:
    """Draws the rows of an episode.

    Args:
        recordings: that hold it.
        recording: the episode.
        motion: what was seen to move in it; its rows are those that are drawn.
        size: (H, W) of its frames.
    """

    def __init__(self, recordings: Recordings, recording: Recording, motion: Motion, size: tuple[int, int]) -> None:
        self.rows = len(motion.picture) + 1
        self._fps = recordings.fps
        self._trajectory = recordings.trajectory(recording).rows(0, self.rows)
        self._overlay = Overlay(self._trajectory, size)
        self._scale = (self._overlay.panels_at or self._overlay.size[1]) / size[1]
        self._size = size
        columns = {name: values[: self.rows] for name, values in recording.columns.items()}
        camera = pinhole(columns, POSE, 7), pinhole(columns, INTRINSICS, 4), size
        self._points = {} if self._overlay.on_image else image_points(self._trajectory, *camera) or {}
        self._axes = {} if self._overlay.on_image else axis_points(self._trajectory, *camera)
        self._lines = _bones(self._trajectory)
        self.motion = motion
        self._strip = curves(motion, self._overlay.size[1])

    @property
    def panels_at(self) -> int:
        """The column at which what stands beside the frame begins; 0 where nothing does."""
        return self._overlay.panels_at

    def draw(self, pixels: np.ndarray, row: int) -> np.ndarray:
        """A frame uint8 [H, W, 3] with its trajectory, uint8 and of even height and width."""
        drawn = Image.fromarray(self._overlay.draw(pixels, row / self._fps))
        height = drawn.height
        draw = ImageDraw.Draw(drawn)
        for body in self._points:
            self._draw_body(draw, body, row)
        image = Image.new("RGB", (drawn.width // 2 * 2, (height + STRIP) // 2 * 2), BACKGROUND)
        image.paste(drawn)
        image.paste(self._strip, (0, height))
        across = _across(row, self.rows, drawn.width)
        ImageDraw.Draw(image).line([(across, height), (across, height + STRIP)], fill=INK, width=2)
        return np.asarray(image)

    def _draw_body(self, draw: ImageDraw.ImageDraw, body: str, row: int) -> None:
        color = COLORS.get(body, ACCENT)
        first = max(0, row - round(TRAIL * self._fps))
        trail = self._pixels(self._points[body][first : row + 1, 0])
        if len(trail) > 1:
            draw.line([tuple(spot) for spot in trail], fill=color, width=2)
        spots = self._points[body][row]
        for one, other in self._lines:
            pair = self._pixels(spots[[one, other]])
            if len(pair) == 2:
                draw.line([tuple(spot) for spot in pair], fill=color, width=3)
        for x, y in self._pixels(spots):
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=color, outline=BACKGROUND)
        for axis, tone in zip(self._axes.get(body, np.zeros((self.rows, 0, 2)))[row], AXES, strict=False):
            pair = self._pixels(np.stack([spots[0], axis]))
            if len(pair) == 2:
                draw.line([tuple(spot) for spot in pair], fill=tone, width=3)

    def _pixels(self, shares: np.ndarray) -> list[list[float]]:
        """Those of the points [N, 2] that are known, in pixels of the drawn frame."""
        known = shares[np.isfinite(shares).all(1)]
        height, width = self._size
        spots: list[list[float]] = (known * np.array([width, height]) * self._scale).clip(-1e4, 1e4).tolist()
        return spots


def write_episode(recordings: Recordings, recording: Recording, motion: Motion, folder: Path) -> None:
    """Writes episode-N.mp4 and episode-N.png, its contact sheet.

    Raises:
        InputError: its frames cannot be read, or the folder must not be written to.
        TryAgain: the disk is full.
    """
    first = recordings.frames(recording.place, [0])
    drawing = EpisodeDrawing(recordings, recording, motion, first.shape[1:3])
    file = folder / f"episode-{recording.place.index:06}"
    shown = set(spread(drawing.rows, min(TILES, drawing.rows)))
    kept: dict[int, np.ndarray] = {}
    with VideoWriter(file.with_suffix(".mp4"), recordings.fps) as writer:
        for row, frames in _drawn(recordings, recording, drawing):
            writer.add(frames)
            kept |= {number: frames[number - row] for number in shown if row <= number < row + len(frames)}
    title = f"episode {recording.place.index}: {recordings.column} as {recordings.layout.name}"
    with whole_file(file.with_suffix(".png")) as aside:
        _sheet(title, kept, drawing, recordings.fps).save(aside, format="PNG")


def draw_delay(delay: Delay, fps: float) -> Image.Image:
    """Correlation against delay, the peak marked."""
    width, height = CURVE
    image = Image.new("RGB", CURVE, BACKGROUND)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    top, bottom = LETTERS + EDGE, height - LETTERS
    values = np.array(delay.curve)
    low, high = min(0.0, float(values.min())), max(0.5, float(values.max()) * 1.1)

    def spot(lag: float, value: float) -> tuple[float, float]:
        share = (lag + delay.reach) / (2 * delay.reach)
        return EDGE + share * (width - 2 * EDGE), bottom - (value - low) / (high - low) * (bottom - top)

    draw.line([spot(-delay.reach, 0), spot(delay.reach, 0)], fill=FAINT)
    draw.line([spot(0, low), spot(0, high)], fill=FAINT)
    lags = range(-delay.reach, delay.reach + 1)
    draw.line([spot(lag, value) for lag, value in zip(lags, delay.curve, strict=True)], fill=INK, width=2)
    if not delay.doubt:
        x, y = spot(delay.rows, delay.correlation)
        draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=ACCENT)
    told = "cannot be told" if delay.doubt else f"{delay.rows:+} rows ({delay.rows / fps:+.3g} s)"
    draw.text((EDGE, EDGE), f"{delay.signal}: {told}", INK, font)
    ends = f"-{delay.reach} rows: trajectory first", f"picture first: +{delay.reach} rows"
    draw.text((EDGE, bottom + 3), ends[0], FAINT, font)
    draw.text((width - EDGE - font.getlength(ends[1]), bottom + 3), ends[1], FAINT, font)
    return image


def curves(motion: Motion, width: int) -> Image.Image:
    """What moves in the picture and in the trajectory, each against its own strongest."""
    image = Image.new("RGB", (width, STRIP), BACKGROUND)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    draw.text((EDGE, 3), "motion: picture", INK, font)
    draw.text((EDGE + font.getlength("motion: picture  "), 3), "trajectory", ACCENT, font)
    for values, color in ((motion.picture, INK), (motion.hand, ACCENT)):
        known = np.flatnonzero(np.isfinite(values))
        if len(known) < 2:
            continue
        scale = float(np.quantile(values[known], 0.98)) or 1.0
        heights = STRIP - EDGE - np.clip(values[known] / scale, 0, 1) * (STRIP - LETTERS - 2 * EDGE)
        across = [_across(row + 0.5, len(values) + 1, width) for row in known.tolist()]
        draw.line(list(zip(across, heights.tolist(), strict=True)), fill=color, width=2)
    return image


def _across(row: float, rows: int, width: int) -> float:
    return EDGE + row / max(1, rows - 1) * (width - 2 * EDGE)


def _drawn(recordings: Recordings, recording: Recording, drawing: EpisodeDrawing) -> Iterator[tuple[int, np.ndarray]]:
    for first in range(0, drawing.rows, CHUNK):
        rows = range(first, min(first + CHUNK, drawing.rows))
        frames = recordings.frames(recording.place, rows)
        yield first, np.stack([drawing.draw(pixels, row) for pixels, row in zip(frames, rows, strict=True)])


def _sheet(title: str, frames: Mapping[int, np.ndarray], drawing: EpisodeDrawing, fps: float) -> Image.Image:
    numbers = sorted(frames)
    height = next(iter(frames.values())).shape[0] - STRIP
    over = {number: frames[number][:height, : drawing.panels_at or None] for number in numbers}
    size = tile_size(*over[0].shape[:2])
    sections = [("Frames", _tiles(over, fps, size))]
    if drawing.panels_at:
        beside = {number: frames[number][:height, drawing.panels_at :] for number in numbers[:: len(numbers) // 6 or 1]}
        sections.append(("Trajectory", _tiles(beside, fps, size)))
    sheet = draw_sheet(title, sections, size)
    image = Image.new("RGB", (sheet.width, sheet.height + STRIP), BACKGROUND)
    image.paste(sheet)
    image.paste(curves(drawing.motion, sheet.width), (0, sheet.height))
    return image


def _tiles(frames: Mapping[int, np.ndarray], fps: float, size: tuple[int, int]) -> list[Tile]:
    return [Tile(picture_of(each, size), f"{row / fps:.2f} s", f"row {row}", False) for row, each in frames.items()]


def _bones(trajectory: Trajectory) -> Sequence[tuple[int, int]]:
    """Which points of a hand are drawn joined."""
    if trajectory.layout == "hand_pose57":
        return [(0, tip) for tip in range(1, 6)]
    orders = {"keypoints": MEDIAPIPE, "adroit_hand": ("own wrist", *MEDIAPIPE), "keypoints_mano": MANO}
    order = orders.get(trajectory.layout, ())
    before = {name: f"{name[:-1]}{int(name[-1]) - 1}" if name[-1] != "1" else "wrist" for name in order if "_" in name}
    return [(order.index(name), order.index(other)) for name, other in before.items()]
