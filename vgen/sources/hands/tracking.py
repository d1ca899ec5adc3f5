"""Two hands followed through a video: `keypoints` and `hand_boxes` of each frame, and what there is to say of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vgen.sources.hands.camera import of_one_size, place_hands
from vgen.sources.hands.identity import choose_sides
from vgen.sources.hands.sighting import Detector, Sighting
from vgen.sources.hands.smoothing import runs, smooth

LOOKED_AT = 1280  # pixels of the longer side that a detector is given: it needs no more to find a hand
BLINK = 0.1  # seconds: what is seen for less is taken for no hand
GAP = 0.5  # seconds: a hand that is away for no longer was lost by the detector, and is where nobody knows
MARGIN = 0.1  # of a box, on each side: flesh around the keypoints


@dataclass(frozen=True, eq=False)
class HandTrack:
    """Both hands in T frames, smoothed.

    A hand that is not seen for up to half a second between two sightings was lost by the detector: the rows of this gap
    are NaN, so that they are not valid. A hand that is away for longer, or has not come yet, is not seen: its flag is 0
    and its other columns repeat the last that was, or the first that will be; 0 of a hand that never comes.

    Attributes:
        keypoints, hand_boxes: float32 [T, 128] and [T, 10], in the layouts of these names.
        seen: bool [2, T], whether the left and the right hand is seen.
        gaps: how many there are, of both hands.
        gap_rows: how many rows they make invalid.
        swaps: frames in which the detector took a hand for the other.
        blinks: sightings that were too short to be a hand.
    """

    keypoints: np.ndarray
    hand_boxes: np.ndarray
    seen: np.ndarray
    gaps: int
    gap_rows: int
    swaps: int
    blinks: int

    def __len__(self) -> int:
        return len(self.keypoints)


def see_all(frames: Iterable[np.ndarray], detector: Detector) -> list[Sequence[Sighting]]:
    """What a detector sees in frames uint8 [H, W, 3] of one size, in their pixels."""
    return [_see(frame, detector) for frame in frames]


def follow(
    seen: Sequence[Sequence[Sighting]], size: tuple[int, int], fps: float, focal: float, cutoff: float
) -> HandTrack:
    """The two hands in what a detector saw.

    Args:
        seen: of each frame.
        size: (H, W) of the frames in pixels.
        fps: frames per second.
        focal: of the camera, in pixels.
        cutoff: of the smoothing, in Hz; 0 is none.
    """
    sides = choose_sides(seen, fps)
    spots, shapes = _gathered(seen, sides.chosen)
    blinks = _leave_out_blinks(spots, fps)
    whole = np.array(size[::-1], dtype=np.float64)
    placed = place_hands(spots.reshape(-1, 21, 2), of_one_size(shapes).reshape(-1, 21, 3), focal, whole / 2)
    points = np.stack([smooth(hand, fps, cutoff) for hand in placed.reshape(shapes.shape)])
    spots[np.isnan(points).any((2, 3))] = np.nan
    boxes = np.stack([_boxes(smooth(hand, fps, cutoff) / whole) for hand in spots])
    known = np.isfinite(points).all((2, 3))
    gaps = [_gaps(hand, fps) for hand in known]
    lost = gaps[0] | gaps[1]
    keypoints, boxes = (_rows(each.reshape(2, len(seen), -1), known, lost) for each in (points, boxes))
    count = sum(len(list(runs(hand))) for hand in gaps)
    return HandTrack(keypoints, boxes, known, count, int(lost.sum()), sides.swaps, blinks)


def _see(frame: np.ndarray, detector: Detector) -> Sequence[Sighting]:
    """The hands in a frame, of which the detector is given a smaller one where it is large."""
    scale = LOOKED_AT / max(frame.shape[:2])
    if scale >= 1:
        return detector.see(frame)
    size = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
    smaller = np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BOX))
    back = np.array(frame.shape[1::-1]) / size
    return [Sighting(each.spots * back, each.shape, each.right) for each in detector.see(smaller)]


def _gathered(seen: Sequence[Sequence[Sighting]], chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints in the picture [2, T, 21, 2] and shapes [2, T, 21, 3] of both hands, NaN where not seen."""
    spots, shapes = (np.full((2, len(seen), 21, axes), np.nan) for axes in (2, 3))
    for hand, number in np.argwhere(chosen >= 0).tolist():
        sighting = seen[number][chosen[hand, number]]
        spots[hand, number], shapes[hand, number] = sighting.spots, sighting.shape
    return spots, shapes


def _leave_out_blinks(spots: np.ndarray, fps: float) -> int:
    """Makes NaN what is seen too shortly, unless it is all that there is; returns how often."""
    count = 0
    for hand in spots:
        for run in runs(np.isfinite(hand[:, 0, 0])):
            if run.stop - run.start < BLINK * fps and run.stop - run.start < len(hand):
                hand[run] = np.nan
                count += 1
    return count


def _gaps(known: np.ndarray, fps: float) -> np.ndarray:
    """Where in [T] a hand is away between two sightings for no longer than a gap lasts."""
    lost = np.zeros_like(known)
    for run in runs(~known):
        if run.start > 0 and run.stop < len(known) and run.stop - run.start <= GAP * fps:
            lost[run] = True
    return lost


def _boxes(spots: np.ndarray) -> np.ndarray:
    """Boxes [T, 4] around keypoints [T, 21, 2] in shares of the picture, in which they end."""
    low, high = spots.min(1), spots.max(1)
    margin = MARGIN * (high - low)
    boxes: np.ndarray = np.concatenate([low - margin, high + margin], axis=1).clip(0, 1)
    return boxes


def _rows(hands: np.ndarray, known: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Rows [T, 2 D + 2] of a layout of two hands [2, T, D] and their flags."""
    held = [_held(hand, flags) for hand, flags in zip(hands, known, strict=True)]
    rows = np.concatenate([*held, known.T], axis=1)
    rows[lost] = np.nan
    return rows.astype(np.float32)


def _held(hand: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Values [T, D] that repeat the last that was known, or the first that will be."""
    if not known.any():
        return np.zeros_like(hand)
    last = np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))
    return hand[np.where(last < 0, known.argmax(), last)]
