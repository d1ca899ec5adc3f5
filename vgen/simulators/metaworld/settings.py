"""What to record of Meta-World."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from vgen.simulators.metaworld.tasks import SENTENCES, UNSEEN_TASKS
from vgen.simulators.settings import Recording

CAMERAS = ("first_person", "eye_in_hand", "third_person")
FPS = 80  # one frame per control step of 5 x 2.5 ms


@dataclass(frozen=True)
class MetaworldRecording(Recording):
    """What to record of Meta-World: all tasks and cameras, where none are named."""

    simulator: ClassVar[str] = "Meta-World"
    all_tasks: ClassVar[Sequence[str]] = tuple(SENTENCES)
    unseen: ClassVar[Sequence[str]] = UNSEEN_TASKS
    all_cameras: ClassVar[Sequence[str]] = CAMERAS
    fps: ClassVar[int] = FPS

    tasks: Sequence[str] = tuple(SENTENCES)
    cameras: Sequence[str] = CAMERAS
