"""What moves in the picture, and how fast what is told of moves meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from vgen.sources.check.camera import image_points, pinhole
from vgen.sources.check.recordings import INTRINSICS, POSE, Place, Recording, Recordings
from vgen.trajectory.places import known_rows
from vgen.trajectory.trajectory import Trajectory

ROWS = 1200  # of an episode that are looked at; what a delay needs is many episodes
CHUNK = 64  # frames that are decoded at once
CELLS = 64  # of a frame's shorter side, into which its changes are summed up
MARGIN = 0.1  # of the picture around the points of a hand
ARM = 0.5  # metres: how much a camera's turn counts beside its way
MIRRORS = {"": (False, False), "x": (True, False), "y": (False, True), "x and y": (True, True)}


@dataclass(frozen=True, eq=False)
class Motion:
    """Motion of an episode of T rows, between each two; NaN where it is not known.

    Attributes:
        place: of the episode.
        picture: [T - 1], mean change of brightness, 0 to 255.
        around: the same, around the hands alone; None where it is not known where they are in the picture.
        hand: [T - 1], speed of the hands: shares of the picture per second where that is known, else their own unit.
        camera: [T - 1], its speed; None where that is not told, or it stands still.
        turned: total change around the hands, and where they would be if x, y or both were turned round.
    """

    place: Place
    picture: np.ndarray
    around: np.ndarray | None
    hand: np.ndarray
    camera: np.ndarray | None
    turned: dict[str, float]


def motion_of(recordings: Recordings, recording: Recording) -> Motion:
    """Looks at an episode, its first rows where it is long.

    Raises:
        InputError: its frames cannot be read.
    """
    rows = min(ROWS, recording.place.length)
    trajectory = recordings.trajectory(recording).rows(0, rows)
    columns = {name: values[:rows] for name, values in recording.columns.items()}
    pose, lens = pinhole(columns, POSE, 7), pinhole(columns, INTRINSICS, 4)
    points, picture, around, totals = None, [], [], dict.fromkeys(MIRRORS, 0.0)
    for row, (size, change) in enumerate(_changes(recordings, recording.place, rows)):
        if points is None:
            points = image_points(trajectory, pose, lens, size) or {}
        picture.append(float(change.mean()))
        if points:
            around.append(_around(change, points, row, totals))
    shown = points or {body: trajectory.values[:, trajectory.spec.points(body)] for body in trajectory.spec.bodies}
    hand = _hand_speed(trajectory, shown, recordings.fps)
    camera = camera_speed(pose, recordings.fps) if pose is not None else None
    return Motion(recording.place, np.array(picture), np.array(around) if around else None, hand, camera, totals)


def camera_speed(pose: np.ndarray, fps: float) -> np.ndarray | None:
    """[A - 1], m/s of a camera of poses [A, 7] and of a point before it; None where it stands still."""
    sound = np.isfinite(pose).all(1) & (np.linalg.norm(pose[:, 3:], axis=1) > 0)
    both = sound[1:] & sound[:-1]
    speed = np.full(len(pose) - 1, np.nan)
    quaternions = np.where(sound[:, None], pose[:, 3:], [1.0, 0.0, 0.0, 0.0])
    turns = Rotation.from_quat(np.roll(quaternions, -1, axis=1))
    angles = (turns[1:] * turns[:-1].inv()).magnitude() if len(pose) > 1 else np.zeros(0)
    speed[both] = ((np.linalg.norm(np.diff(pose[:, :3], axis=0), axis=1) + ARM * angles) * fps)[both]
    return speed if np.nan_to_num(speed).max(initial=0.0) > 1e-4 else None


def _hand_speed(trajectory: Trajectory, points: dict[str, np.ndarray], fps: float) -> np.ndarray:
    """[A - 1], mean of all points of the hands that are known in both rows."""
    steps = []
    for body, places in points.items():
        known = known_rows(trajectory, body)
        step = np.linalg.norm(np.diff(places.astype(np.float64), axis=0), axis=2)
        steps.append(np.where((known[1:] & known[:-1])[:, None], step, np.nan))
    joined = np.concatenate(steps, axis=1)
    count = np.isfinite(joined).sum(1)
    mean: np.ndarray = np.where(count > 0, np.nansum(joined, axis=1) / np.maximum(count, 1), np.nan) * fps
    return mean


def _changes(recordings: Recordings, place: Place, rows: int) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    """Size of the frames and change of each cell of the picture, [h, w], from frame to frame."""
    before = np.zeros((0, 0, 0))
    for first in range(0, rows, CHUNK):
        frames = recordings.frames(place, range(first, min(first + CHUNK, rows)))
        cells = _cells(frames)
        joined = np.concatenate([before, cells]) if before.size else cells
        yield from ((frames.shape[1:3], change) for change in np.abs(np.diff(joined, axis=0)))
        before = cells[-1:]


def _cells(frames: np.ndarray) -> np.ndarray:
    """Mean brightness of cells of the frames, float32 [T, h, w]."""
    side = max(1, min(frames.shape[1:3]) // CELLS)
    height, width = (length // side for length in frames.shape[1:3])
    grey = frames[:, : height * side, : width * side].mean(axis=3, dtype=np.float32)
    cells: np.ndarray = grey.reshape(len(frames), height, side, width, side).mean((2, 4))
    return cells


def _around(change: np.ndarray, points: dict[str, np.ndarray], row: int, totals: dict[str, float]) -> float:
    """Mean change around the hands from a row to the next; adds what it is there, and turned round, to the totals."""
    found = []
    for places in points.values():
        spots = places[row : row + 2].reshape(-1, 2)
        if not np.isfinite(spots).all():
            continue
        low, high = spots.min(0) - MARGIN, spots.max(0) + MARGIN
        if (high < 0).any() or (low > 1).any():
            continue
        windows = {name: _window(change, low, high, mirrors) for name, mirrors in MIRRORS.items()}
        found.append(windows[""])
        for name, value in windows.items():
            totals[name] += value
    return float(np.mean(found)) if found else np.nan


def _window(change: np.ndarray, low: np.ndarray, high: np.ndarray, mirrors: tuple[bool, bool]) -> float:
    """Mean change in a box of the picture, which may be turned round."""
    spans = []
    for axis, turned in enumerate(mirrors):
        first, last = (1 - high[axis], 1 - low[axis]) if turned else (low[axis], high[axis])
        length = change.shape[1 - axis]
        begin = int(np.clip(first * length, 0, length - 1))
        spans.append(slice(begin, max(begin + 1, int(np.ceil(min(last, 1.0) * length)))))
    return float(change[spans[1], spans[0]].mean())
