"""Meta-World simulation: seeded environments, noisy experts, and what could have happened instead."""

import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from vgen.errors import InputError
from vgen.simulators.counterfactual import FUTURE, HISTORY, Workspace, branch_point, branches, cut, edits, join
from vgen.simulators.looks import View
from vgen.simulators.metaworld.settings import FPS
from vgen.simulators.paths import bursts

try:
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    from metaworld.policies import ENV_POLICY_MAP
    from metaworld.policies.policy import Policy
    from metaworld.sawyer_xyz_env import SawyerXYZEnv

    from vgen.simulators.cameras import physics, restore
except ImportError as error:
    raise InputError(
        f"recording Meta-World needs its package ({error}); install it with: pip install metaworld"
    ) from error

STATE_NAMES = ["x", "y", "z", "gripper"]
ACTION_NAMES = ["dx", "dy", "dz", "gripper"]
POSE_NAMES = ["x", "y", "z", "qw", "qx", "qy", "qz"]

NOISE_LEVELS = (0.0, 0.15, 0.4)  # of the largest action, one of them per episode
ATTEMPTS = 8
STEPS_AFTER_SUCCESS = 6
ROWS = ("state", "action", "physics", "mocap")  # of a MetaworldEpisode
STEP = 0.01  # metres that the control body moves in a step under an action of 1
WORKSPACE = Workspace(np.array([-0.25, 0.45, 0.08]), np.array([0.25, 0.75, 0.3]), STEP)

CAMERAS: dict[str, View | str] = {
    "first_person": View(90, -42, 0.85, np.array([0.0, 0.65, 0.1]), fovy=45),
    "third_person": View(135, -30, 1.3, np.array([0.0, 0.55, 0.1]), fovy=45),
    "eye_in_hand": "gripperPOV",
}
ROBOT = "hand"  # a body of it


@dataclass(frozen=True)
class MetaworldEpisode:
    """One episode of T steps; row k is what was before action k.

    state: float32 [T, 4], hand position x, y, z in metres in the world frame and gripper opening (0 shut, 1 open).
    action: float32 [T, 4], in [-1, 1]: hand displacement in units of 1 cm, and gripper effort (1 shuts).
    physics: [T, S], the simulator's whole state, from which each frame is drawn and any step can be gone on from.
    mocap: [T, 3], where the control body is, which pulls the hand along, in metres.
    noise: noise level that the expert's actions were disturbed with.
    success: the first step whose action succeeds; None where none does.
    """

    state: np.ndarray
    action: np.ndarray
    physics: np.ndarray
    mocap: np.ndarray
    noise: float
    success: int | None


def make_env(task: str) -> SawyerXYZEnv:
    """Make a Meta-World environment whose layout follows `env.seed` and whose experts see the goal."""
    env = ALL_V3_ENVIRONMENTS[task]()
    env._partially_observable = False
    del env.sawyer_observation_space  # cached for the hidden goal; its bounds would clip the goal to zero
    env._freeze_rand_vec = False
    env.seeded_rand_vec = True
    env._set_task_called = True
    assert round(1 / env.dt) == FPS, f"one control step of {task} takes {env.dt} s"
    return env


def simulate(
    env: SawyerXYZEnv, task: str, seed: int, max_steps: int, after: int = STEPS_AFTER_SUCCESS
) -> MetaworldEpisode | None:
    """Simulate the episode of (task, seed) with its noisy expert until `after` steps after success.

    A failed attempt is followed by another with a new layout and less noise; the last ones have none.

    Returns:
        The first attempt that succeeds within `max_steps` steps, or None where none of them does.
    """
    rng = np.random.default_rng([zlib.crc32(task.encode()), seed])
    level = float(rng.choice(NOISE_LEVELS))
    policy: Callable[[], Policy] = ENV_POLICY_MAP[task]
    for attempt in range(ATTEMPTS):
        noise = level * max(0.0, 1 - 2 * attempt / ATTEMPTS)
        env.seed(int(rng.integers(2**31)))
        expert: Policy = policy()
        episode = _attempt(env, expert, _noise(rng, noise, max_steps), noise, after)
        if episode is not None:
            return episode
    return None


def simulate_branches(
    env: SawyerXYZEnv, task: str, seed: int, max_steps: int, count: int
) -> list[tuple[str, MetaworldEpisode]]:
    """Simulate a group: the episode of (task, seed), and `count` - 1 others that part from it in its middle.

    Returns:
        Kind and episode of 1 + HISTORY + FUTURE steps; empty where the expert fails or the branches do not part.
    """
    expert = simulate(env, task, seed, max_steps + FUTURE, after=FUTURE)
    if expert is None or expert.success is None:
        return []
    rng = np.random.default_rng([zlib.crc32(task.encode()), seed, count])
    at = min(branch_point(rng, expert.success), len(expert.action) - FUTURE - 1)
    if at < HISTORY:
        return []
    past, ahead = cut(expert, ROWS, at - HISTORY, at), cut(expert, ROWS, at, at + 1 + FUTURE)
    others = edits(rng, ahead.mocap, ahead.action[:, 3], WORKSPACE)
    chosen = branches(ahead, others, partial(_follow, env, ahead, at), _hand, count)
    return [(kind, join(past, episode, ROWS)) for kind, episode in chosen]


def _noise(rng: np.random.Generator, level: float, steps: int) -> np.ndarray:
    """Noise of the actions [steps, 4]; the gripper is left alone."""
    return np.pad(bursts(rng, level, steps, 3), ((0, 0), (0, 1)))


def _attempt(env: SawyerXYZEnv, expert: Policy, noise: np.ndarray, level: float, after: int) -> MetaworldEpisode | None:
    observation, _ = env.reset()
    rows, success = [], None
    for k, disturbance in enumerate(noise):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # experts ask for more than the largest action
            wanted = expert.get_action(observation)
        action = np.clip(np.clip(wanted, -1, 1) + disturbance, -1, 1).astype(np.float32)
        rows.append(_row(env, observation, action))
        observation, _, _, _, info = env.step(action)
        if success is None and info["success"]:
            success = k
        if success is not None and k == success + after:
            break
    return None if success is None else _stack(rows, level, success)


def _follow(
    env: SawyerXYZEnv, expert: MetaworldEpisode, at: int, path: np.ndarray, grip: np.ndarray
) -> MetaworldEpisode:
    """Lead the control body along a path [F, 3] with a grip [F], from the first state of `expert`, its step `at`."""
    restore(env.model, env.data, expert.physics[0])
    env.curr_path_length = at
    observation, rows, success = expert.state[0], [], None
    for k, effort in enumerate(grip):
        wanted = path[min(k + 1, len(path) - 1)] - env.data.mocap_pos[0]
        action = np.clip(np.append(wanted / STEP, effort), -1, 1).astype(np.float32)
        rows.append(_row(env, observation, action))
        observation, _, _, _, info = env.step(action)
        if success is None and info["success"]:
            success = k
    return _stack(rows, expert.noise, success)


def _row(env: SawyerXYZEnv, observation: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, ...]:
    return observation[:4], action, physics(env.model, env.data), env.data.mocap_pos[0].copy()


def _stack(rows: list[tuple[np.ndarray, ...]], level: float, success: int | None) -> MetaworldEpisode:
    state, action, states, mocap = (np.stack(column) for column in zip(*rows, strict=True))
    return MetaworldEpisode(state.astype(np.float32), action, states, mocap, level, success)


def _hand(episode: MetaworldEpisode) -> np.ndarray:
    return episode.state[:, :3]
