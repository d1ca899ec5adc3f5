"""What came out, to look at: the trajectory drawn over the frames, and the contact sheet of a rollout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from vgen.files import whole_file
from vgen.inference.ego.inputs import Inputs
from vgen.inference.output import write_frames
from vgen.media.sheet import COLUMNS, Tile, draw_sheet, picture_of, spread, tile_size
from vgen.trajectory.files import write_trajectory
from vgen.trajectory.overlay import Overlay
from vgen.trajectory.trajectory import Trajectory

AT_ONCE = 32  # frames of a part of the video, so that memory does not grow with its length
ROWS = 1  # of the sheet for each section, so that what belongs together lies one below the other


def sheet_frames(total: int, goals: Iterable[float] = ()) -> list[int]:
    """Which of the frames 0..total-1 a contact sheet shows: the start and, evenly, others up to the last; but the frame
    of a goal rather than the one next to it."""
    shown = set(spread(total, min(total, ROWS * COLUMNS)))
    wanted = sorted({frame for goal in goals if 0 < (frame := round(goal)) < total} - shown)
    for frame in wanted[: len(shown) - 1]:
        shown.remove(min(shown - {0, *wanted}, key=lambda other: abs(other - frame)))
        shown.add(frame)
    return sorted(shown)


def draw_over(
    read: Callable[[Sequence[int]], np.ndarray],
    inputs: Inputs,
    trajectory: Trajectory,
    folder: Path,
    fps: float,
    shown: Sequence[int],
) -> dict[int, np.ndarray]:
    """Writes trajectory.mp4, .npz and .json; returns, at some of its frames, what a contact sheet shows of the
    trajectory: where it is drawn beside the frames, that alone."""
    for suffix in ("npz", "json"):
        write_trajectory(folder / f"trajectory.{suffix}", trajectory)
    overlay, total = Overlay(trajectory, inputs.observation.size), inputs.frames + 1

    def parts() -> Iterator[np.ndarray]:
        for first in range(0, total, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, total))
            drawn = zip(read(numbers), numbers, strict=True)
            yield np.stack([overlay.draw(pixels, number / inputs.rate) for pixels, number in drawn])

    drawn, _ = write_frames(parts(), folder / "trajectory.mp4", fps, set(shown), total)
    return {number: pixels[:, overlay.panels_at :] for number, pixels in drawn.items()}


def recorded_frames(inputs: Inputs, shown: Sequence[int]) -> list[tuple[str, dict[int, np.ndarray]]]:
    """The recorded frames beside those that are shown, as far as the recording goes."""
    numbers = [number for number in shown if number <= inputs.observation.ahead(inputs.rate)]
    if len(numbers) < 2:
        return []
    frames = inputs.observation.at(np.array(numbers) / inputs.rate)
    return [(inputs.truth, dict(zip(numbers, frames, strict=True)))]


def contact_sheet(
    file: str | PathLike[str],
    title: str,
    sections: Sequence[tuple[str, Mapping[int, np.ndarray]]],
    rate: float,
    goals: Mapping[float, np.ndarray],
) -> None:
    """Draws one PNG: goals that were given, then every section of frames with their times in seconds.

    Args:
        file: Where the PNG is written, whole or not at all.
        title: One line above, such as the sentence.
        sections: What each shows, and its frames uint8 `[H, W, 3]` by number, 0 the start frame. The first one's shape
            is that of the tiles.
        rate: Frames per second.
        goals: Images uint8 `[H, W, 3]` by their frame.
    """
    size = tile_size(*next(iter(sections[0][1].values())).shape[:2])
    given = [_tile(pixels, frame, rate, size, given=True) for frame, pixels in sorted(goals.items())]
    rows = [
        (name, [_tile(pixels, number, rate, size, given=number == 0) for number, pixels in sorted(frames.items())])
        for name, frames in sections
    ]
    with whole_file(file) as aside:
        draw_sheet(title, [("Goals", given), *rows] if given else rows, size).save(aside, format="PNG")


def _tile(pixels: np.ndarray, frame: float, rate: float, size: tuple[int, int], given: bool) -> Tile:
    note = "start" if frame == 0 else f"frame {frame:g}"
    return Tile(picture_of(pixels, size), f"{frame / rate:.2f} s", note, given)
