"""A trajectory drawn with frames: on them where it is of the image, otherwise beside them, since no camera is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vgen.media.sheet import ACCENT, BACKGROUND, FAINT, INK
from vgen.trajectory.convert import to_absolute
from vgen.trajectory.layouts import CAMERA
from vgen.trajectory.places import known_rows, place_of
from vgen.trajectory.trajectory import Trajectory

SIDE = 384  # pixels that a drawn frame has at least, so that lines and letters are legible
SHARE = 0.59  # of the shorter side that the panels beside a frame take
EDGE = 6  # pixels around them
LETTERS = 26  # pixels above a panel for what it shows
FONT = 18
STRIP = 0.4  # height of the lower panel, as a share of its width
LEAST = 0.05  # of the layout's unit: a panel shows no less, so that a hand at rest does not seem to move
POINTS = 240  # that a line has at most
COLORS = {"left": (0, 118, 186)}  # of bodies; all others have the accent


@dataclass(frozen=True, eq=False)
class _Path:
    """Where a body is: positions [A, d] at times [A] in seconds, and where they are known [A]."""

    places: np.ndarray
    times: np.ndarray
    known: np.ndarray
    color: tuple[int, int, int]

    def until(self, seconds: float) -> np.ndarray:
        """The known rows up to a time, no more than a line needs."""
        rows = np.flatnonzero(self.known & (self.times <= seconds + 1e-6))
        return np.concatenate([rows[: -1 : max(1, math.ceil(len(rows) / POINTS))], rows[-1:]])


@dataclass(frozen=True, eq=False)
class _Panel:
    """A plot of some columns of the paths: its box beside the frame, and the range [2, 2] (low, high) that it shows."""

    box: tuple[float, float, float, float]
    span: np.ndarray

    def pixels(self, points: np.ndarray) -> list[tuple[float, float]]:
        """Points [A, 2], the second upwards, in pixels of what is beside the frame."""
        left, top, right, bottom = self.box
        share = (points - self.span[0]) / (self.span[1] - self.span[0])
        return [(left + x * (right - left), bottom - y * (bottom - top)) for x, y in share.tolist()]


class Overlay:
    """Draws a trajectory with the frames of a video.

    Boxes of the image are drawn where they are. Anything else stands beside the frame: seen from above, the height over
    time below it, and the present marked. A trajectory of steps is drawn from an arbitrary origin.

    Args:
        trajectory: on the clock of the video, whose first frame is at 0 s.
        size: (H, W) of its frames.

    Attributes:
        size: (H, W) of what is drawn: the frames enlarged, so that lines are legible, and what stands beside them.
        panels_at: the column at which that begins; 0 where nothing does.
    """

    def __init__(self, trajectory: Trajectory, size: tuple[int, int]) -> None:
        scale = max(1, math.ceil(SIDE / min(size)))
        self._frame = size[0] * scale, size[1] * scale
        self.trajectory = _from_origin(trajectory)
        self._flat = len(trajectory.spec.place(trajectory.spec.bodies[0])[0]) == 2
        self.on_image = self._flat and trajectory.form == "absolute"
        self._upright = any(column.frame == CAMERA for column in trajectory.spec.columns)
        self._paths = {body: _path(self.trajectory, body) for body in trajectory.spec.bodies}
        self._beside = not self.on_image and any(path.known.any() for path in self._paths.values())
        self.size = self._frame[0], self._frame[1] + (self._ground.width if self._beside else 0)
        self.panels_at = self._frame[1] if self._beside else 0

    def draw(self, pixels: np.ndarray, seconds: float) -> np.ndarray:
        """A frame uint8 [H, W, 3] at a time, enlarged and drawn over."""
        frame = Image.fromarray(np.ascontiguousarray(pixels)).resize(self._frame[::-1], Image.Resampling.BICUBIC)
        if self.on_image:
            self._draw_boxes(frame, seconds)
        if not self._beside:
            return np.asarray(frame)
        image = Image.new("RGB", self.size[::-1])
        image.paste(frame)
        image.paste(self._draw_panels(seconds), (frame.width, 0))
        return np.asarray(image)

    def _draw_boxes(self, image: Image.Image, seconds: float) -> None:
        draw, whole = ImageDraw.Draw(image), np.array(self._frame[::-1])
        row = int(np.searchsorted(self.trajectory.times, seconds + 1e-6, side="right")) - 1
        for body, path in self._paths.items():
            _line(draw, [tuple(point) for point in (path.places[path.until(seconds)] * whole).tolist()], path.color, 2)
            if row >= 0 and path.known[row]:
                corners = self.trajectory.values[row, self.trajectory.spec.place(body)] * whole
                low, high = corners.min(0).tolist(), corners.max(0).tolist()
                draw.rectangle((*low, *high), outline=path.color, width=3)

    def _draw_panels(self, seconds: float) -> Image.Image:
        image = self._ground.copy()
        draw = ImageDraw.Draw(image)
        for path in self._paths.values():
            for panel, points in zip(self._panels, self._views(path, path.until(seconds)), strict=True):
                spots = panel.pixels(points)
                _line(draw, spots, path.color, 2)
                for x, y in spots[-1:]:
                    draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=path.color, outline=BACKGROUND)
        return image

    @cached_property
    def _ground(self) -> Image.Image:
        """The panels without the present: frames, letters, and the whole of every path, faint."""
        top, strip = self._panels
        width = math.ceil((top.box[2] + EDGE) / 2) * 2  # even, as videos are
        image = Image.new("RGB", (width, self._frame[0]), BACKGROUND)
        draw, font = ImageDraw.Draw(image), ImageFont.load_default(FONT)
        for panel in self._panels:
            draw.rectangle(panel.box, outline=FAINT)
        for path in self._paths.values():
            end = self.trajectory.times[-1]
            for panel, points in zip(self._panels, self._views(path, path.until(end)), strict=True):
                _line(draw, panel.pixels(points), FAINT, 1)
        wide = float(top.span[1, 0] - top.span[0, 0])
        unit = self.trajectory.spec.columns[self.trajectory.spec.place(self.trajectory.spec.bodies[0])[0][0]].unit
        across = f"in the image, {wide:.2g} wide" if self._flat else f"from above, {wide:.2g} {unit} wide"
        draw.text((top.box[0], top.box[1] - LETTERS + 1), across, INK, font)
        draw.text((strip.box[0], strip.box[1] - LETTERS + 1), "height over time", INK, font)
        return image

    @cached_property
    def _panels(self) -> tuple[_Panel, _Panel]:
        wide = SHARE * min(self._frame)
        end = self.trajectory.times[-1]
        views = [self._views(path, path.until(end)) for path in self._paths.values() if path.known.any()]
        above, height = (np.concatenate(points) for points in zip(*views, strict=True))
        middle = (above.min(0) + above.max(0)) / 2
        half = max(LEAST, *(above.max(0) - above.min(0))) * 0.6
        low, high = height[:, 1].min(), height[:, 1].max()
        rise = max(LEAST, high - low) * 0.6
        times = self.trajectory.times[[0, -1]] if len(self.trajectory) > 1 else np.array([0.0, 1.0])
        mean = (low + high) / 2
        top = (EDGE, LETTERS, EDGE + wide, LETTERS + wide)
        strip = (EDGE, top[3] + LETTERS, EDGE + wide, top[3] + LETTERS + STRIP * wide)
        return (
            _Panel(top, np.stack([middle - half, middle + half])),
            _Panel(strip, np.array([[times[0], mean - rise], [times[1], mean + rise]])),
        )

    def _views(self, path: _Path, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The positions of rows [n] from above, and their height over time: [n, 2] each."""
        places, times = path.places[rows], path.times[rows]
        if self._flat:  # of an image, whose y goes down
            return places * [1, -1], np.stack([times, -places[:, 1]], axis=1)
        across, up = ([0, 2], -places[:, 1]) if self._upright else ([0, 1], places[:, 2])
        return places[:, across], np.stack([times, up], axis=1)


def _from_origin(trajectory: Trajectory) -> Trajectory:
    """In absolute form; of steps without a start, from an origin where nothing is turned."""
    if trajectory.form == "absolute":
        return trajectory
    row: list[float] = []
    for part in trajectory.spec.parts:
        count = len(part.columns)
        six = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        row += {"rotation": six if count == 6 else [0.0] * count, "pose": [0.0] * 3 + six}.get(part.type, [0.0] * count)
    before = trajectory.times[:1] - np.diff(trajectory.times[:2]) if len(trajectory) > 1 else trajectory.times[:1] - 1.0
    return to_absolute(trajectory, Trajectory([row], before, None, trajectory.layout))


def _path(trajectory: Trajectory, body: str) -> _Path:
    known = known_rows(trajectory, body)
    return _Path(place_of(trajectory, body), trajectory.times, known, COLORS.get(body, ACCENT))


def _line(draw: ImageDraw.ImageDraw, spots: list[tuple[float, float]], color: tuple[int, int, int], width: int) -> None:
    if len(spots) > 1:
        draw.line(spots, fill=color, width=width, joint="curve")
