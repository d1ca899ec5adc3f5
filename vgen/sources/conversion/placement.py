"""Frames brought to one size, and what is told in the image brought along: boxes and intrinsics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vgen.media.image import cover
from vgen.trajectory.layouts import Layout, find_layout

INTRINSICS = "observation.intrinsics"


@dataclass(frozen=True)
class Placement:
    """Where frames go when they are scaled until they cover a size, and cut to it around their middle.

    Attributes:
        given: (H, W) of the frames as they are read.
        size: (H, W) of the frames as they are written.
        scale: of the columns and of the rows of pixels (x, y).
        start: what is cut off on the left and above, in pixels as they are read.
    """

    given: tuple[int, int]
    size: tuple[int, int]
    scale: tuple[float, float]
    start: tuple[float, float]

    @classmethod
    def of(cls, given: tuple[int, int], size: tuple[int, int] | None) -> Placement:
        """The placement of frames of one size.

        Args:
            given: their (H, W).
            size: that is wanted; None: their own, without the last row or column where that is odd, as h264 needs.
        """
        height, width = given
        if size is None:
            even = (height - height % 2, width - width % 2)
            return cls(given, even, (1.0, 1.0), (0.0, 0.0))
        scale = max(size[0] / height, size[1] / width)
        start = ((width - size[1] / scale) / 2, (height - size[0] / scale) / 2)
        return cls(given, size, (scale, scale), start)

    @property
    def moves(self) -> bool:
        """Whether anything in the image has another place than before."""
        return self.given != self.size

    def pixels(self, frames: np.ndarray) -> np.ndarray:
        """The frames, uint8 [T, H, W, 3]."""
        if self.scale == (1.0, 1.0) and self.start == (0.0, 0.0):
            return frames[:, : self.size[0], : self.size[1]]
        return cover(frames, self.size)

    def intrinsics(self, values: np.ndarray) -> np.ndarray:
        """fx, fy, cx, cy [T, 4], in pixels of which the first has its middle at (0, 0)."""
        scale, start = np.array(self.scale), np.array(self.start)
        middle = (values[:, 2:] + 0.5 - start) * scale - 0.5
        return np.concatenate([values[:, :2] * scale, middle], axis=1).astype(np.float32)

    def boxes(self, values: np.ndarray, layout: Layout) -> tuple[np.ndarray, int]:
        """The rows [T, D] of a layout with its boxes in the new image, cut to it; and how many hands were seen and are
        no more, since they lie in what is cut off."""
        placed, lost = values.copy(), 0
        for part, where in layout.slices():
            if part.type == "box":
                corners = values[:, where].reshape(-1, 2, 2)
                moved = (corners * self.given[::-1] - self.start) * self.scale / self.size[::-1]
                box = moved.clip(0, 1).reshape(-1, 4)
                gone = (box[:, 0] == box[:, 2]) | (box[:, 1] == box[:, 3])
                placed[:, where], hidden = box, 0
                flag = next((at for p, at in layout.slices() if p.type == "flag" and p.owner == part.owner), None)
                if flag is not None:
                    hidden = _hide(placed, where, flag, gone)
                lost += hidden
        return placed, lost


def _hide(rows: np.ndarray, box: slice, flag: slice, gone: np.ndarray) -> int:
    """Marks hands that are gone as not seen, in place: their boxes repeat the last that was. Returns how many."""
    seen = rows[:, flag.start] > 0.5
    hidden = seen & gone
    if hidden.any():
        rows[hidden, flag] = 0
        still = np.flatnonzero(seen & ~gone)
        if still.size:
            last = still[np.maximum(np.searchsorted(still, np.arange(len(rows)), side="right") - 1, 0)]
            unseen = rows[:, flag.start] <= 0.5
            rows[unseen, box] = rows[last[unseen], box]
    return int(hidden.sum())


def placed_columns(
    columns: Mapping[str, np.ndarray], layouts: Mapping[str, str], placements: Mapping[str, Placement]
) -> tuple[dict[str, np.ndarray], int]:
    """The columns of an episode as they are in its frames as written; and how many hands are seen no more.

    Args:
        columns: [T, D] by feature key.
        layouts: of some of them.
        placements: by camera; the first camera's is that of boxes and of `observation.intrinsics`.
    """
    first = next(iter(placements.values()), None)
    placed, lost = dict(columns), 0
    for key, values in columns.items():
        of_camera = key == INTRINSICS or key.startswith(INTRINSICS + ".")
        place = placements.get(key.removeprefix(INTRINSICS + "."), first)
        if place is None or not place.moves:
            continue
        if of_camera:
            placed[key] = place.intrinsics(values)
        elif key in layouts:
            layout = find_layout(layouts[key])
            if any(part.type == "box" for part in layout.parts):
                placed[key], more = place.boxes(values, layout)
                lost += more
    return placed, lost
