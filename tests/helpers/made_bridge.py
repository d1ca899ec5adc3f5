"""Bridge's states and actions, and what a test looks for in an episode made of them."""

import numpy as np

from vgen.sources.source import Episode, Frames
from vgen.trajectory.conventions import pose7_to_bridge
from vgen.trajectory.trajectory import Trajectory


def states_and_actions(count: int, seed: int = 0, opened: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """States [T, 7] and actions [T - 1, 7] as recorded: the gripper follows the actions, of which 1 opens."""
    random = np.random.default_rng(seed)
    states, actions = random.uniform(-0.5, 0.5, (count, 7)), random.uniform(-0.05, 0.05, (count - 1, 7))
    actions[:, 6] = np.arange(count - 1) // 3 % 2
    opening = np.concatenate([[1.0], 0.1 + 0.8 * actions[:, 6]])
    states[:, 6] = opening if opened else 1 - opening
    return states, actions


def back(episode: Episode, opened: int = 1) -> np.ndarray:
    """The states of an episode as Bridge has them."""
    rows = episode.columns["observation.state"]
    return pose7_to_bridge(Trajectory(rows, np.arange(len(rows)) / 5, layout="pose7"), opened)


def shades(frames: Frames) -> list[int]:
    """Which t each frame shows, by its red."""
    return [round(float(red) / 20) for red in frames.read(0, len(frames))[..., 0].mean(axis=(1, 2))]
