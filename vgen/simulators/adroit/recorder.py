"""Records the Adroit hand as a LeRobot v3.0 dataset.

Cameras: `first_person` looks down over the forearm from where the head would be, `third_person` stands at the left;
each task has its own place for them. Both have a vertical field of view of 45 degrees. Goals are not drawn.

`observation.state` is the hand's trajectory (layout `adroit_hand`), one row per frame: action k, and the step from row
k to row k + 1, lead from frame k to frame k + 1.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from vgen.simulators import recording
from vgen.simulators.adroit.environment import ROBOT, SCRIPTS, AdroitEpisode, simulate, simulate_branches
from vgen.simulators.adroit.hand import LAYOUT, LAYOUT_NAMES
from vgen.simulators.adroit.settings import AdroitRecording
from vgen.simulators.cameras import FrameRenderer
from vgen.simulators.looks import NAMES as LOOK_NAMES
from vgen.simulators.recorder import RecordedEpisode, TaskRecorder

ACTUATORS = ["ARTx", "ARTy", "ARTz", "ARRx", "ARRy", "ARRz", "WRJ1", "WRJ0"]
ACTUATORS += [f"{finger}J{i}" for finger in ("FF", "MF", "RF") for i in (3, 2, 1, 0)]
ACTUATORS += [f"{finger}J{i}" for finger in ("LF", "TH") for i in (4, 3, 2, 1, 0)]
POSE_NAMES = ["x", "y", "z", "qw", "qx", "qy", "qz"]


class AdroitRecorder(TaskRecorder[AdroitEpisode]):
    """One Adroit task and its cameras."""

    names: ClassVar[Mapping[str, Sequence[str]]] = {
        "observation.state": LAYOUT_NAMES,
        "action": ACTUATORS,
        "observation.joints": ACTUATORS,
        "observation.object_pose": POSE_NAMES,
        "observation.camera_pose": POSE_NAMES,
        "observation.look": LOOK_NAMES,
    }
    layouts: ClassVar[Mapping[str, str]] = {"observation.state": LAYOUT}
    robot_type: ClassVar[str] = "adroit"

    def __init__(self, task: str, size: int) -> None:
        self._script = SCRIPTS[task]()
        env = self._script.env
        self._task, self._renderer = task, FrameRenderer(env.model, env.data, size, self._script.cameras, ROBOT)
        self._actuators = self._script.actuators()

    def _simulate(self, seed: int, max_steps: int) -> AdroitEpisode | None:
        return simulate(self._script, seed, max_steps)

    def _simulate_branches(self, seed: int, max_steps: int, count: int) -> Sequence[tuple[str, AdroitEpisode]]:
        return simulate_branches(self._script, seed, max_steps, count)

    def _hand_points(self, episode: AdroitEpisode) -> np.ndarray:
        return episode.state[:, 9:].reshape(-1, 21, 3)

    def _recorded(self, episode: AdroitEpisode, seed: int, **extra: object) -> RecordedEpisode:
        columns = {
            "observation.state": episode.state,
            "action": spread(episode.action, self._actuators),
            "observation.joints": spread(episode.joints, self._actuators),
            "observation.object_pose": episode.thing,
            "observation.camera_pose": self._renderer.camera_pose(episode.physics, "first_person"),
            "observation.look": np.tile(self._renderer.look.row(), (len(episode.action), 1)),
        }
        about = {"env": self._task, "seed": seed, "success": episode.success is not None, "noise": episode.noise}
        about["goal"] = episode.goal.tolist()
        return RecordedEpisode(columns, episode.physics, self._script.sentence(episode.goal), about | extra)


def spread(values: np.ndarray, actuators: Sequence[str]) -> np.ndarray:
    """Columns [T, M] of some actuators among all ACTUATORS, float32 [T, 30]; 0 where there is none."""
    columns = np.zeros((len(values), len(ACTUATORS)), dtype=np.float32)
    columns[:, [ACTUATORS.index(name) for name in actuators]] = values
    return columns


def record(settings: AdroitRecording) -> Path:
    """Record an Adroit dataset; see `vgen.simulators.recording.record`."""
    return recording.record(settings, AdroitRecorder)
