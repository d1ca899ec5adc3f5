"""Records Meta-World's shipped experts as a LeRobot v3.0 dataset.

Cameras: `first_person` looks down at the table from where the robot's head is, `eye_in_hand` moves with the gripper,
`third_person` stands at the side. First and third person have a vertical field of view of 45 degrees, eye in hand 90.
Goals are not drawn.

`observation.state` is the hand's trajectory (layout `position4`), one row per frame: action k, and the step from row k
to row k + 1, lead from frame k to frame k + 1.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from vgen.simulators import recording
from vgen.simulators.cameras import FrameRenderer
from vgen.simulators.looks import NAMES as LOOK_NAMES
from vgen.simulators.metaworld.environment import (
    ACTION_NAMES,
    CAMERAS,
    POSE_NAMES,
    ROBOT,
    STATE_NAMES,
    MetaworldEpisode,
    make_env,
    simulate,
    simulate_branches,
)
from vgen.simulators.metaworld.settings import MetaworldRecording
from vgen.simulators.metaworld.tasks import SENTENCES
from vgen.simulators.recorder import RecordedEpisode, TaskRecorder


class MetaworldRecorder(TaskRecorder[MetaworldEpisode]):
    """One Meta-World task and its cameras."""

    names: ClassVar[Mapping[str, Sequence[str]]] = {
        "observation.state": STATE_NAMES,
        "action": ACTION_NAMES,
        "observation.camera_pose": POSE_NAMES,
        "observation.look": LOOK_NAMES,
    }
    layouts: ClassVar[Mapping[str, str]] = {"observation.state": "position4"}
    robot_type: ClassVar[str] = "sawyer"

    def __init__(self, task: str, size: int) -> None:
        self._env = make_env(task)
        self._task, self._renderer = task, FrameRenderer(self._env.model, self._env.data, size, CAMERAS, ROBOT)

    def _simulate(self, seed: int, max_steps: int) -> MetaworldEpisode | None:
        return simulate(self._env, self._task, seed, max_steps)

    def _simulate_branches(self, seed: int, max_steps: int, count: int) -> Sequence[tuple[str, MetaworldEpisode]]:
        return simulate_branches(self._env, self._task, seed, max_steps, count)

    def _hand_points(self, episode: MetaworldEpisode) -> np.ndarray:
        return episode.state[:, None, :3]

    def _recorded(self, episode: MetaworldEpisode, seed: int, **extra: object) -> RecordedEpisode:
        columns = {
            "observation.state": episode.state,
            "action": episode.action,
            "observation.camera_pose": self._renderer.camera_pose(episode.physics, "first_person"),
            "observation.look": np.tile(self._renderer.look.row(), (len(episode.action), 1)),
        }
        about = {"env": self._task, "seed": seed, "success": episode.success is not None, "noise": episode.noise}
        return RecordedEpisode(columns, episode.physics, SENTENCES[self._task], about | extra)


def record(settings: MetaworldRecording) -> Path:
    """Record a Meta-World dataset; see `vgen.simulators.recording.record`."""
    return recording.record(settings, MetaworldRecorder)
