"""The hands of a whole video file, from its frames to a track or a trajectory."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from os import PathLike
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vgen.checks import show
from vgen.errors import InputError
from vgen.sources.hands import mediapipe
from vgen.sources.hands.camera import USUAL_FOCAL, focal_pixels
from vgen.sources.hands.footage import HandVideo, Lens, lens_of, looked_at, usual_rate
from vgen.sources.hands.sighting import Detector
from vgen.sources.hands.smoothing import CUTOFF
from vgen.sources.hands.tracking import HandTrack, follow, see_all
from vgen.sources.source import LeftOut
from vgen.trajectory.trajectory import Trajectory


def find_lens(path: Path, given: float | None) -> Lens:
    """The lens of a video: as it is given, as its file says, or that of a usual phone.

    Raises:
        LeftOut: the file cannot be read.
    """
    if given is not None:
        return Lens(given, "given")
    told = lens_of(path)
    return Lens(USUAL_FOCAL, "assumed") if told is None else Lens(told, "file")


def track_hands(
    video: HandVideo, fps: int, lens: Lens, cutoff: float, make: Callable[[], Detector], name: str
) -> HandTrack:
    """Both hands in all frames of a video.

    Args:
        video: at the rate `fps`.
        fps: frames per second.
        lens: of its camera.
        cutoff: of the smoothing, in Hz.
        make: makes a detector, which is used for this video alone.
        name: stands before the progress bar.

    Raises:
        LeftOut: a frame is damaged, or no hand is seen in any.
    """
    detector = make()
    quiet = multiprocessing.parent_process() is not None  # of several at once, no bar can be read
    try:
        bar = tqdm(video.each(), name, len(video), leave=False, delay=2, unit="frame", disable=quiet)
        seen = see_all(bar, detector)
    finally:
        detector.close()
    track = follow(seen, video.size, fps, focal_pixels(lens.millimetres, video.size), cutoff)
    if not track.seen.any():
        raise LeftOut(f"no hand is seen in it: {len(track)} frames")
    return track


def hand_trajectory(path: str | PathLike[str], layout: str) -> Trajectory:
    """The trajectory of the hands in a video file, a row for each of its frames and 30 a second at most.

    Args:
        path: of the video.
        layout: one of `TRACKED`.

    Raises:
        InputError: it is no video, or no hand is seen in it, or MediaPipe is not installed.
    """
    file, make = Path(path), mediapipe.load()
    fps = usual_rate(looked_at([file]))
    try:
        track = track_hands(HandVideo(file, fps), fps, find_lens(file, None), CUTOFF, make, file.stem)
    except LeftOut as reason:
        raise InputError(f"{show(str(file))}: {reason}") from reason
    rows = track.keypoints if layout == "keypoints" else track.hand_boxes
    return Trajectory(rows, np.arange(len(rows)) / fps, np.isfinite(rows).all(1), layout)
