"""Videos of one's own hands, which are tracked: both hands as keypoints and as boxes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from vgen.checks import show
from vgen.data.videos.captions import Captioned, list_videos, with_text_file
from vgen.errors import InputError, unknown_key
from vgen.sources.conversion.placement import INTRINSICS
from vgen.sources.hands import mediapipe
from vgen.sources.hands.camera import focal_pixels
from vgen.sources.hands.footage import LENS, HandVideo, Lens, looked_at, same_shape, usual_rate
from vgen.sources.hands.sighting import HANDS, TRACKED
from vgen.sources.hands.smoothing import CUTOFF, filter_name
from vgen.sources.hands.tracking import HandTrack
from vgen.sources.hands.video_track import find_lens, track_hands
from vgen.sources.source import Episode, LeftOut, Reading, Source, Take
from vgen.trajectory.layouts import LAYOUTS

STATE, CAMERA = "observation.state", "view"
BESIDE = {name: f"observation.{name}" for name in TRACKED}
"""The column of each layout where it is not the state."""
FOCAL_FORM = "a number of millimetres (35 mm equivalent) from 8 to 1000, such as focal=26"
SIDES_MENDED = "frames in which the detector took a hand for the other"
GAP_ROWS = "rows in gaps, where the detector lost a hand, not valid"
BLINKS = "sightings under 0.1 s, taken for no hand"
REPEATED = "frames shown again, as the video has fewer in a second"


class HandsSource(Source):
    """Videos in a folder and its subfolders, in which hands are tracked."""

    options: ClassVar = {
        "videos": "JSON list of the videos' names in the folder (default: all)",
        "text": "what is done in all of them (default: NAME.txt beside each, or metadata.csv)",
        "focal": "of the lens in millimetres, as 35 mm equivalent (default: what the file says, else 28)",
        "smooth": "cut-off in Hz of the filter that takes the jitter out, 0 for none (default: 6)",
        "mirrored": "yes: they are mirror images, as some selfie cameras film, and are turned over (default: no)",
    }

    def __init__(self, reading: Reading) -> None:
        layout = reading.layout or "keypoints"
        if layout not in BESIDE:
            raise unknown_key(layout, BESIDE, "the layouts that hands are tracked to")
        if wrong := [camera for camera in reading.cameras if camera != CAMERA]:
            raise unknown_key(wrong[0], [CAMERA], "the cameras of a video of hands")
        self._detector = mediapipe.load()
        self._videos = _listed(reading)
        self._text = reading.more.get("text")
        self._focal = focal_length(reading.more.get("focal"))
        self._cutoff = cut_off(reading.more.get("smooth", f"{CUTOFF:g}"))
        self._mirrored = _yes(reading.more.get("mirrored", "no"))
        found = looked_at([video.path for video in self._videos])
        self.fps, self._size = reading.fps or usual_rate(found), (found[0].height, found[0].width)
        keys = {STATE if name == layout else key: name for name, key in BESIDE.items()}
        self.layouts = dict(sorted(keys.items(), reverse=True))
        self.columns = {key: LAYOUTS[name].names for key, name in self.layouts.items()}
        self.columns[INTRINSICS] = ["fx", "fy", "cx", "cy"]
        placed = (
            "tracked by MediaPipe; a hand stands where its keypoints are seen through a pinhole camera, whose focal"
        )
        placed += " length is that of the episode; all hands of an episode are as large as its median hand"
        told = {"keypoints": placed, "hand_boxes": "around the tracked keypoints, and a tenth wider on each side"}
        smoothed = f"smoothed: {filter_name(self._cutoff)}"
        self.conventions = {key: f"{told[name]}; {smoothed}" for key, name in self.layouts.items()}
        self.cameras, self.robot_type = [CAMERA], "hand"

    def takes(self) -> Sequence[Take]:
        """All videos; those of a subfolder are of one group, each of the others is one of its own."""
        takes = []
        for video in self._videos:
            name = video.name.rpartition(".")[0]
            takes.append(Take(name, name.rpartition("/")[0] or name, video))
        return takes

    def read(self, take: Take) -> Episode:
        """A video with its hands."""
        video = take.place
        assert isinstance(video, Captioned)
        if video.fault and self._text is None:
            raise LeftOut(f"its caption cannot be read: {video.fault}")
        frames = HandVideo(video.path, self.fps, self._mirrored)
        if not same_shape(frames.size, self._size):
            told = "its frames are of another shape than those of the first video: {}x{}, not {}x{}"
            raise LeftOut(told.format(*frames.size, *self._size))
        lens = find_lens(video.path, self._focal)
        track = track_hands(frames, self.fps, lens, self._cutoff, self._detector, take.name)
        rows = {"keypoints": track.keypoints, "hand_boxes": track.hand_boxes}
        columns = {key: rows[name] for key, name in self.layouts.items()}
        return Episode(
            columns | {INTRINSICS: _intrinsics(frames, lens)},
            {CAMERA: frames},
            video.caption if self._text is None else self._text,
            self._told(track, lens),
            {SIDES_MENDED: track.swaps, GAP_ROWS: track.gap_rows, BLINKS: track.blinks, REPEATED: frames.repeated},
        )

    def _told(self, track: HandTrack, lens: Lens) -> dict[str, object]:
        shares = {f"{hand}_seen": float(flags.mean()) for hand, flags in zip(HANDS, track.seen, strict=True)}
        told = {"gaps": track.gaps, "gap_rows": track.gap_rows, "swaps": track.swaps}
        lens_told = {"focal_35mm": lens.millimetres, "focal_said_by": lens.said_by}
        return shares | told | lens_told | {"smoothing": filter_name(self._cutoff)}


def focal_length(text: str | None) -> float | None:
    """A focal length in millimetres, as 35 mm equivalent; None where none is given.

    Raises:
        InputError: it is no number from 8 to 1000.
    """
    return None if text is None else _number("focal", text, *LENS, FOCAL_FORM)


def cut_off(text: str) -> float:
    """The cut-off of the smoothing in Hz.

    Raises:
        InputError: it is no number from 0 to 100.
    """
    return _number("smooth", text, 0, 100, "a number of Hz from 0 (none) to 100, such as smooth=6")


def _number(name: str, text: str, low: float, high: float, form: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not low <= value <= high:
        raise InputError(f"{name}={show(text)} is not {form}")
    return value


def _yes(text: str) -> bool:
    if text not in ("yes", "no"):
        raise InputError(f"mirrored={show(text)} is not yes or no; nearest: no")
    return text == "yes"


def _listed(reading: Reading) -> list[Captioned]:
    """The videos that are wanted.

    Raises:
        InputError: there is none, or two have one name.
    """
    if "videos" in reading.more:
        wanted: list[str] = json.loads(reading.more["videos"])
        found = [with_text_file(reading.folder / name, name) for name in wanted]
    else:
        found = list_videos(reading.folder)
    names: dict[str, str] = {}
    for video in found:
        name = video.name.rpartition(".")[0]
        if name in names:
            raise InputError(f"{reading.folder}: two videos are called {name}: {names[name]}, {video.name}; rename one")
        names[name] = video.name
    return found


def _intrinsics(frames: HandVideo, lens: Lens) -> np.ndarray:
    focal, (height, width) = focal_pixels(lens.millimetres, frames.size), frames.size
    row = [focal, focal, (width - 1) / 2, (height - 1) / 2]
    return np.tile(np.array(row, np.float32), (len(frames), 1))
