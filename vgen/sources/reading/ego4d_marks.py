"""What Ego4D's annotations of hands and objects tell of an interaction: in a few frames, where the hands are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vgen.errors import InputError
from vgen.sources.reading.hand_columns import HANDS

KINDS = ("pre_45", "pre_30", "pre_15", "pre_frame", "contact_frame", "pnr_frame", "post_frame")
"""The frames that are annotated, in the order that an interaction has them."""
MAIN = "fho_main.json"
SPLITS = {"train": "fho_hands_train.json", "val": "fho_hands_val.json"}

Place = tuple[float, ...]
"""A hand in pixels: its middle (x, y), or its box (x0, y0, x1, y1)."""


@dataclass(frozen=True)
class Mark:
    """An annotated frame.

    Attributes:
        frame: its number in the clip, counted from 0.
        hands: where the hands are, by "left" and "right"; those that are not told are not seen.
    """

    frame: int
    hands: Mapping[str, Place]


@dataclass(frozen=True)
class Interaction:
    """What the camera wearer does with an object, from 1.5 s before its precondition to after its change of state.

    Attributes:
        clip, video: their uids. Clips are parts of videos.
        split: of the makers, where they say one.
        marks: in the order of their frames, of which no two have the same.
        sentence: the narration, or "".
        size: width and height of the frames that were annotated, where they are told.
    """

    clip: str
    video: str
    split: str | None
    marks: tuple[Mark, ...]
    sentence: str
    size: tuple[float, float] | None


def interactions(folder: Path) -> Iterator[Interaction]:
    """All interactions of an annotations folder: those of fho_hands, with the boxes and narrations of fho_main where
    that is there; without fho_hands, those of fho_main that its annotators found valid.

    Raises:
        InputError: a file is damaged or of another format.
    """
    main = folder / MAIN
    videos = _read(main, "videos") if main.is_file() else []
    hands = {split: folder / name for split, name in SPLITS.items() if (folder / name).is_file()}
    try:
        if not hands:
            yield from _of_main(videos)
            return
        known = _Main(videos)
        for split, path in hands.items():
            yield from _of_hands(_read(path, "clips"), split, known)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__} {' '.join(str(error).split())}"
        raise InputError(f"the annotations in {folder} are not of Ego4D's FHO: {reason}; download them anew") from error


def _read(path: Path, key: str) -> list[Any]:
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path} is no JSON ({error}); download it anew") from error
    if not isinstance(found, dict) or not isinstance(found.get(key), list):
        raise InputError(f"{path} has no list of {key}; give Ego4D's annotations as its client downloads them")
    return list(found[key])


class _Main:
    """What fho_main tells of the same frames and actions: boxes, narrations, sizes of videos."""

    def __init__(self, videos: Iterable[Mapping[str, Any]]) -> None:
        self.sizes: dict[str, tuple[float, float]] = {}
        self.boxes: dict[tuple[str, int], dict[str, Place]] = {}
        self.sentences: dict[tuple[str, int, int], str] = {}
        for video in videos:
            uid = video["video_uid"]
            if size := _size(video):
                self.sizes[uid] = size
            for _, action in _actions(video):
                self.sentences[uid, action["start_frame"], action["end_frame"]] = _sentence(action)
                for frame in action.get("frames") or []:
                    self.boxes.setdefault((uid, frame["frame_number"]), {}).update(_hand_boxes(frame["boxes"]))


def _of_hands(clips: Iterable[Mapping[str, Any]], split: str, known: _Main) -> Iterator[Interaction]:
    for clip in clips:
        video = clip["video_uid"]
        for told in clip.get("frames") or []:
            marks = []
            for kind in KINDS:
                frame = told.get(kind)
                if frame and "clip_frame" in frame:
                    hands = dict(_points(frame.get("boxes") or []))
                    marks.append(Mark(int(frame["clip_frame"]), hands | known.boxes.get((video, frame["frame"]), {})))
            sentence = known.sentences.get((video, told.get("action_start_frame"), told.get("action_end_frame")), "")
            yield Interaction(clip["clip_uid"], video, split, _ordered(marks), sentence, known.sizes.get(video))


def _of_main(videos: Iterable[Mapping[str, Any]]) -> Iterator[Interaction]:
    for video in videos:
        for interval, action in _actions(video):
            whole, within = action.get("critical_frames") or {}, action.get("clip_critical_frames") or {}
            both = [kind for kind in KINDS if whole.get(kind) is not None and within.get(kind) is not None]
            if not both or not action.get("frames") or not interval.get("clip_uid"):
                continue
            shift = within[both[0]] - whole[both[0]]  # of the clip in its video, whose frames are those with boxes
            marks = [Mark(frame["frame_number"] + shift, _hand_boxes(frame["boxes"])) for frame in action["frames"]]
            sentence, size = _sentence(action), _size(video)
            yield Interaction(interval["clip_uid"], video["video_uid"], None, _ordered(marks), sentence, size)


def _actions(video: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """The actions of a video that were not rejected, each with the interval that it is in."""
    for interval in video.get("annotated_intervals") or []:
        for action in interval.get("narrated_actions") or []:
            rejected = action.get("is_rejected") or action.get("is_invalid_annotation")
            if not rejected and action.get("is_valid_action", True):
                yield interval, action


def _ordered(marks: Iterable[Mark]) -> tuple[Mark, ...]:
    """By frame; what is told of one frame under two names is put together."""
    frames: dict[int, dict[str, Place]] = {}
    for mark in marks:
        frames.setdefault(mark.frame, {}).update(mark.hands)
    return tuple(Mark(frame, frames[frame]) for frame in sorted(frames))


def _points(boxes: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Place]]:
    """The hands of a frame of fho_hands, of which each is told as [x, y], its middle, or as [x0, y0, x1, y1]."""
    for box in boxes:
        for hand in HANDS:
            if place := box.get(f"{hand}_hand"):
                if len(place) not in (2, 4):
                    raise ValueError(f"a hand is told by {len(place)} numbers")
                yield hand, tuple(float(value) for value in place)


def _hand_boxes(boxes: Iterable[Mapping[str, Any]]) -> dict[str, Place]:
    """The hands among the boxes of a frame of fho_main, which tell x, y, width and height."""
    found: dict[str, Place] = {}
    for box in boxes:
        hand = str(box.get("object_type")).removesuffix("_hand")
        if hand in HANDS and hand not in found:
            x, y, width, height = (float(box["bbox"][key]) for key in ("x", "y", "width", "height"))
            found[hand] = (x, y, x + width, y + height)
    return found


def _sentence(action: Mapping[str, Any]) -> str:
    """The narration without its tags and the C that stands for the wearer: "#C C cuts it" is "cuts it"."""
    plain = re.sub(r"#\w+", " ", str(action.get("narration_text") or ""))
    return re.sub(r"^C\s+", "", " ".join(plain.split()))


def _size(video: Mapping[str, Any]) -> tuple[float, float] | None:
    told = video.get("video_metadata") or {}
    return (float(told["width"]), float(told["height"])) if told.get("width") and told.get("height") else None
