"""An object in a frame, without a network: what moves otherwise than the camera does, its outline found by GrabCut."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from bench_common.flow import opencv, optical_flow

SMALLEST, LARGEST = 0.03, 0.5  # share of a frame that an object may have
REACH = 2  # frames before and after, between which motion is looked for
STILL = 0.25  # pixels that the fastest of an object must move by, beyond the camera's own motion
AROUND = 0.25  # of the width and height of what moves: how far beyond it the object may reach
FLAT = 2.0  # grey levels: a spread of the pixels around one under which flow there is guessed from the edges nearby
TURNS = 5  # of GrabCut
MOTION = "motion and GrabCut"


class ObjectFinder(Protocol):
    """Finds objects in the frames of clips."""

    @property
    def name(self) -> str:
        """By what it finds them, as the manifest says it."""

    @property
    def sha256(self) -> str | None:
        """Of the network that it uses, if it uses one."""

    def find(self, clip: np.ndarray, frame: int) -> np.ndarray | None:
        """The object in a frame of a clip uint8 `[T, H, W, 3]`, bool `[H, W]`; None where there is none."""


class MotionFinder:
    """Objects by motion and GrabCut (Rother, Kolmogorov and Blake, SIGGRAPH 2004), from OpenCV.

    The camera's motion is taken as affine. What moves otherwise than it is thresholded (Otsu); the largest piece is
    what GrabCut begins with, in a box around it.
    """

    name, sha256 = MOTION, None

    def find(self, clip: np.ndarray, frame: int) -> np.ndarray | None:
        """See `ObjectFinder`."""
        moving = _largest(_moving(clip, frame), clip)
        if moving is None or not SMALLEST / 3 <= moving.mean() <= LARGEST:
            return None
        found = _largest(_grab_cut(clip[frame], moving), clip, moving)
        return found if found is not None and SMALLEST <= found.mean() <= LARGEST else None


def _moving(clip: np.ndarray, frame: int) -> np.ndarray:
    """Where a frame moves otherwise than its camera, bool `[H, W]`."""
    cv2 = opencv()
    flows = []
    if frame + REACH < len(clip):
        flows.append(optical_flow(clip[frame], clip[frame + REACH]))
    if frame >= REACH:
        flows.append(-optical_flow(clip[frame], clip[frame - REACH]))
    flow = np.mean(flows, axis=0)
    beyond = cv2.GaussianBlur(np.linalg.norm(flow - _camera(flow), axis=-1).astype(np.float32), (5, 5), 0)
    if beyond.max() < STILL:
        return np.zeros(beyond.shape, bool)
    levels = (beyond / beyond.max() * 255).astype(np.uint8)
    _, moving = cv2.threshold(levels, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return moving.astype(bool)


def _camera(flow: np.ndarray) -> np.ndarray:
    """The affine motion that most of a flow `[H, W, 2]` follows, of its shape: fitted, and fitted again to the half of
    the pixels that follow best."""
    height, width = flow.shape[:2]
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    places = np.stack([columns.ravel(), rows.ravel(), np.ones(height * width)], axis=1)
    target = flow.reshape(-1, 2).astype(np.float64)
    error = np.linalg.norm(target - np.median(target, axis=0), axis=1)
    for _ in range(3):
        kept = error <= np.median(error)
        motion, *_ = np.linalg.lstsq(places[kept], target[kept], rcond=None)
        error = np.linalg.norm(target - places @ motion, axis=1)
    return np.asarray((places @ motion).reshape(flow.shape))


def _grab_cut(image: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """What belongs to the thing that moves, bool `[H, W]`."""
    cv2 = opencv()
    rows, columns = (np.flatnonzero(moving.any(axis)) for axis in (1, 0))
    down, right = (int(AROUND * (ends[-1] - ends[0] + 1)) + 1 for ends in (rows, columns))
    around = np.zeros(moving.shape, bool)
    around[max(0, rows[0] - down) : rows[-1] + down + 1, max(0, columns[0] - right) : columns[-1] + right + 1] = True
    marks = np.where(around, cv2.GC_PR_BGD, cv2.GC_BGD).astype(np.uint8)
    marks[moving & ~_flat(image)] = cv2.GC_PR_FGD
    cv2.setRNGSeed(0)
    try:
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(np.ascontiguousarray(image[..., ::-1]), marks, None, *models, TURNS, cv2.GC_INIT_WITH_MASK)
    except cv2.error:  # of too few pixels on one side
        return moving
    return np.asarray((marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD))


def _flat(image: np.ndarray) -> np.ndarray:
    """Where nothing is seen that could move, bool `[H, W]`."""
    cv2 = opencv()
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    spread = cv2.blur(grey * grey, (7, 7)) - cv2.blur(grey, (7, 7)) ** 2
    return np.asarray(spread < FLAT**2)


def _largest(mask: np.ndarray, clip: np.ndarray, near: np.ndarray | None = None) -> np.ndarray | None:
    """The largest piece of a mask, or the one with most of `near`, smoothed and its holes filled; None of no piece."""
    cv2 = opencv()
    width = max(3, min(clip.shape[1:3]) // 40 | 1)  # odd
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    smooth = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc)
    smooth = cv2.morphologyEx(smooth, cv2.MORPH_CLOSE, disc)
    count, pieces = cv2.connectedComponents(smooth)
    if count < 2:
        return None
    weights = np.ones(mask.shape, bool) if near is None else near
    areas = np.bincount(pieces[weights], minlength=count)
    areas[0] = 0
    piece = (pieces == areas.argmax()).astype(np.uint8)
    outlines, _ = cv2.findContours(piece, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(piece, outlines, -1, 1, cv2.FILLED)
    return piece.astype(bool)
