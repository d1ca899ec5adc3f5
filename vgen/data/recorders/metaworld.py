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

from vgen.data.recorders import recording
from vgen.data.recorders.counterfactual import BRANCH_FRAME
from vgen.data.recorders.metaworld_env import (
    ACTION_NAMES,
    CAMERAS,
    POSE_NAMES,
    STATE_NAMES,
    Rollout,
    make_env,
    roll_out,
    roll_out_branches,
)
from vgen.data.recorders.metaworld_plan import MetaworldRecording
from vgen.data.recorders.metaworld_tasks import SENTENCES
from vgen.data.recorders.recording import Take
from vgen.data.recorders.studio import Studio


class MetaworldStage:
    """One Meta-World task and its cameras; a `vgen.data.recorders.recording.Stage`."""

    names: ClassVar[Mapping[str, Sequence[str]]] = {
        "observation.state": STATE_NAMES,
        "action": ACTION_NAMES,
        "observation.camera_pose": POSE_NAMES,
    }
    layouts: ClassVar[Mapping[str, str]] = {"observation.state": "position4"}
    robot_type: ClassVar[str] = "sawyer"

    def __init__(self, task: str, size: int) -> None:
        self._task, self._env = task, make_env(task)
        self._studio = Studio(self._env.model, self._env.data, size, CAMERAS)

    def play(self, seed: int, max_steps: int, counterfactuals: int) -> list[Take]:
        """The expert's episode, or a group of `counterfactuals` branches; empty without success."""
        if counterfactuals:
            group = roll_out_branches(self._env, self._task, seed, max_steps, counterfactuals)
            name = f"{self._task}-{seed}"
            return [
                self._take(rollout, seed, group=name, branch=i, trajectory=kind, branch_frame=BRANCH_FRAME)
                for i, (kind, rollout) in enumerate(group)
            ]
        rollout = roll_out(self._env, self._task, seed, max_steps)
        return [] if rollout is None else [self._take(rollout, seed)]

    def film(self, take: Take, camera: str) -> np.ndarray:
        """The frames of a take: uint8 [T, size, size, 3]."""
        return self._studio.film(take.physics, camera)

    def close(self) -> None:
        """Free the drawing context."""
        self._studio.close()

    def _take(self, rollout: Rollout, seed: int, **group: object) -> Take:
        pose = self._studio.pose(rollout.physics, "first_person")
        columns = {"observation.state": rollout.state, "action": rollout.action, "observation.camera_pose": pose}
        extra = {"env": self._task, "seed": seed, "success": rollout.success is not None, "noise": rollout.noise}
        return Take(columns, rollout.physics, SENTENCES[self._task], extra | group)


def record(settings: MetaworldRecording) -> Path:
    """Record a Meta-World dataset; see `vgen.data.recorders.recording.record`."""
    return recording.record(settings, MetaworldStage)
