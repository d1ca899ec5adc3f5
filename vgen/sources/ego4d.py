"""Ego4D (Grauman et al. 2022, arXiv 2110.07058): hands of the FHO annotations, and the clips that they are in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from vgen.checks import show
from vgen.errors import InputError, unknown_key
from vgen.media.video import open_video
from vgen.sources.reading.ego4d_marks import MAIN, SPLITS, Interaction, Mark, Place, interactions
from vgen.sources.reading.frames import VideoFrames
from vgen.sources.reading.hand_columns import HANDS, box_columns
from vgen.sources.source import Episode, LeftOut, Reading, Source, Take
from vgen.trajectory.layouts import find_layout

CAMERA_NAME = "ego"
STATE, ANNOTATED = "observation.state", "observation.annotated"
FPS = 30
SIDE = "0.25"
SLACK = 0.05  # of the rate: clips are of 30 or of 29.97 frames per second


class Ego4DSource(Source):
    """Takes are interactions, from the first to the last of their annotated frames, as `hand_boxes`."""

    options: ClassVar[Mapping[str, str]] = {
        "side": f"of the square about a hand that is told as a point, a share of the image's height (default {SIDE})",
    }
    conventions: Mapping[str, str] = {
        STATE: "annotated in up to seven frames; between two that show a hand, it goes straight at even speed",
        ANNOTATED: "1 in rows that are annotated for the hand; boxed: 1 where a box is, not only the hand's middle",
    }

    def __init__(self, reading: Reading) -> None:
        self._annotations, self._clips = _folders(reading.folder)
        self._side = _side(reading.more.get("side", SIDE))
        for camera in reading.cameras:
            if camera != CAMERA_NAME:
                raise unknown_key(camera, (CAMERA_NAME,), "the cameras of Ego4D's clips")
        names = [f"{hand}_{what}" for what in ("annotated", "boxed") for hand in HANDS]
        self.columns: Mapping[str, Sequence[str]] = {STATE: find_layout("hand_boxes").names, ANNOTATED: names}
        self.layouts, self.cameras = {STATE: "hand_boxes"}, (CAMERA_NAME,)
        self.fps, self.robot_type = FPS, "human hands"

    def takes(self) -> Sequence[Take]:
        """A take for each interaction, named by its clip and frames. All of a video are a group."""
        found, count = [], Counter[str]()
        for interaction in interactions(self._annotations):
            frames = [mark.frame for mark in interaction.marks] or [0]
            name = f"{interaction.clip}_{frames[0]:06d}_{frames[-1]:06d}"
            count[name] += 1
            name += f"_{count[name]}" if count[name] > 1 else ""
            found.append(Take(name, interaction.video, interaction, interaction.split))
        if not found:
            raise InputError(f"{self._annotations} has no interaction that is annotated")
        return found

    def read(self, take: Take) -> Episode:
        """The hands of an interaction, and the frames of its clip."""
        interaction = take.place
        assert isinstance(interaction, Interaction)
        marks = interaction.marks
        if not any(mark.hands for mark in marks):
            raise LeftOut("no hand is annotated in it")
        numbers = np.arange(marks[0].frame, marks[-1].frame + 1)
        path = self._clips / f"{interaction.clip}.mp4"
        frames = VideoFrames(path, numbers)
        if len(numbers) > 1 and abs(np.diff(frames.times).mean() * FPS - 1) > SLACK:
            raise LeftOut(f"its clip is not of {FPS} frames per second: {1 / np.diff(frames.times).mean():.2f}")
        info = open_video(path).info
        width, height = interaction.size or (info.width, info.height)
        boxes, flags = _boxes(marks, (width, height), self._side)
        columns = {STATE: box_columns(boxes), ANNOTATED: flags}
        extra = {"clip_uid": interaction.clip, "video_uid": interaction.video, "first_frame": marks[0].frame}
        return Episode(columns, {CAMERA_NAME: frames}, interaction.sentence, extra, _counts(boxes, flags))


def _folders(folder: Path) -> tuple[Path, Path]:
    """The folders of annotations and of clips, in the folder, in one such as v2 below it, or the folder itself."""
    roots = [folder, *sorted(path for path in folder.glob("v*") if path.is_dir())]
    places = [place for root in roots for place in (root / "annotations", root)]
    names = (*SPLITS.values(), MAIN)
    annotations = next((place for place in places if any((place / name).is_file() for name in names)), None)
    if annotations is None:
        raise InputError(
            f"{folder} has none of {', '.join(names)}, nor has its annotations folder; give Ego4D's folder"
        )
    clips = next((root / "clips" for root in roots if (root / "clips").is_dir()), None)
    if clips is None:
        raise InputError(f"{folder} has no folder clips, of CLIP_UID.mp4; download Ego4D's data set clips")
    return annotations, clips


def _side(value: str) -> float:
    try:
        side = float(value)
    except ValueError:
        side = np.nan
    if not 0 < side <= 1:
        raise InputError(f"side={show(value)} is no share of the height; give a number above 0 to 1, such as {SIDE}")
    return side


def _boxes(marks: Sequence[Mark], size: tuple[float, float], side: float) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [2, T, 4] in shares of the image, NaN where a hand is not seen; and the rows of ANNOTATED [T, 4]."""
    start = marks[0].frame
    rows = marks[-1].frame - start + 1
    boxes, flags = np.full((2, rows, 4), np.nan), np.zeros((rows, 4), np.float32)
    for number, hand in enumerate(HANDS):
        before = None
        for mark in marks:
            row = mark.frame - start
            place = mark.hands.get(hand)
            if place is not None:
                boxes[number, row] = _box(place, size, side)
                flags[row, [number, 2 + number]] = 1, len(place) == 4
                if before is not None:
                    shares = np.linspace(0, 1, row - before + 1)[1:-1, None]
                    first, last = boxes[number, before], boxes[number, row]
                    boxes[number, before + 1 : row] = first + shares * (last - first)
            before = row if place is not None else None
    return boxes, flags


def _box(place: Place, size: tuple[float, float], side: float) -> np.ndarray:
    """x0, y0, x1, y1 in shares of width and height; about a point, a square."""
    half = side * size[1] / 2
    x0, y0, x1, y1 = place if len(place) == 4 else (*(v - half for v in place), *(v + half for v in place))
    return np.array([x0, y0, x1, y1]) / (*size, *size)


def _counts(boxes: np.ndarray, flags: np.ndarray) -> dict[str, int]:
    """For the report: rows without a hand, rows between annotated ones, and hands without a box."""
    seen = np.isfinite(boxes).all(axis=2)
    counts = {f"rows in which the {hand} hand is not seen": int((~seen[i]).sum()) for i, hand in enumerate(HANDS)}
    counts["hands between annotated frames, interpolated"] = int(seen.sum() - flags[:, :2].sum())
    counts["hands told as a point, with a square put about it"] = int((flags[:, :2] - flags[:, 2:]).sum())
    return {what: count for what, count in counts.items() if count}
