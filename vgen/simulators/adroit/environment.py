"""Adroit simulation: a scripted five-finger hand that picks up a ball and carries it, in many ways.

The script reads where ball and goal are, draws a path for the palm (speeds, detours, pauses and tremor differ by seed),
and follows it with the hand's own actuators; some actions are disturbed.
"""

import zlib
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from vgen.errors import InputError
from vgen.simulators.adroit.settings import FPS
from vgen.simulators.counterfactual import FUTURE, HISTORY, Workspace, branch_point, branches, cut, edits, join
from vgen.simulators.looks import View
from vgen.simulators.paths import bursts, glide, wandering

try:
    from gymnasium_robotics.envs.adroit_hand.adroit_relocate import AdroitHandRelocateEnv

    from vgen.simulators.adroit.hand import Hand
    from vgen.simulators.cameras import physics, restore
except ImportError as error:
    raise InputError(
        f"recording Adroit needs its package ({error}); install it with: pip install gymnasium-robotics==1.4.2"
    ) from error

CAMERAS: dict[str, View | str] = {
    "first_person": View(90, -55, 0.85, np.array([-0.02, 0.05, 0.12]), fovy=45),
    "third_person": View(145, -30, 1.2, np.array([0.0, 0.0, 0.1]), fovy=45),
}
ROBOT = "forearm"  # a body of it
ROWS = ("state", "action", "joints", "ball", "physics", "path", "grip")  # of an AdroitEpisode
SUBSTEPS = 10  # of 2 ms per control step
NOISE_LEVELS = (0.0, 0.05, 0.12)  # of the largest action, one of them per episode
NOISE_SHARES = np.array([1.0] * 3 + [0.12] * 3 + [1.0] * 2 + [4.0] * 22)  # slides, hinges, wrist, fingers
TREMOR = 0.2  # metres, deviation of a path from the straight way per noise level
ATTEMPTS = 8
SPEEDS = (0.25, 0.6)  # metres per second, mean over a stretch of the path
HELD_AT = np.array([0.0, -0.021, 0.003])  # from the ball's centre to the palm's point that holds it best
WORKSPACE = Workspace(np.array([-0.2, -0.2, 0.08]), np.array([0.2, 0.2, 0.3]), 0.016)


@dataclass(frozen=True)
class PalmPath:
    """Where the palm should be and how far the fingers are shut, T steps: path [T, 3] in metres, grip [T], 0 to 1.

    steady: [T], 1 where nothing may disturb the hand, 0 elsewhere.
    """

    path: np.ndarray
    grip: np.ndarray
    steady: np.ndarray


@dataclass(frozen=True)
class AdroitEpisode:
    """One episode of T steps; row k is what was before action k.

    state: float32 [T, 72], the hand in the layout `adroit_hand`.
    action: float32 [T, 30], in [-1, 1]: a position per actuator, scaled to its range.
    joints: float32 [T, 30], positions of the hand's joints in the actuators' order, metres and radians.
    ball: float32 [T, 7], position in metres and quaternion (w first), in the world's frame.
    physics: [T, S], the simulator's whole state, from which each frame is drawn and any step can be gone on from.
    path, grip: [T, 3] and [T], what the hand was to do.
    goal: [3], where the ball was to be held.
    noise: level of the noise of its actions.
    success: the first step whose action brings the ball near the goal; None where none does.
    """

    state: np.ndarray
    action: np.ndarray
    joints: np.ndarray
    ball: np.ndarray
    physics: np.ndarray
    path: np.ndarray
    grip: np.ndarray
    goal: np.ndarray
    noise: float
    success: int | None


def make_env() -> tuple[AdroitHandRelocateEnv, Hand]:
    """Make the relocation environment at FPS control steps per second, and its hand."""
    env = AdroitHandRelocateEnv()
    env.frame_skip = SUBSTEPS
    assert round(1 / env.dt) == FPS, f"one control step takes {env.dt} s"
    return env, Hand(env.model, env.data, env.dt)


def simulate(env: AdroitHandRelocateEnv, hand: Hand, seed: int, max_steps: int, after: int = 0) -> AdroitEpisode | None:
    """Simulate the episode of a seed with the scripted policy, and `after` steps more in which the hand rests.

    A failed attempt is followed by another with a new layout and less noise; the last ones have none.

    Returns:
        The first attempt that ends within `max_steps` with the ball at its goal, or None where none of them does.
    """
    rng = np.random.default_rng([zlib.crc32(b"relocate"), seed])
    level = float(rng.choice(NOISE_LEVELS))
    for attempt in range(ATTEMPTS):
        noise = level * max(0.0, 1 - 2 * attempt / ATTEMPTS)
        env.reset(seed=int(rng.integers(2**31)))
        hand.settle()
        planned = _plan_path(rng, hand.palm(), _ball(env)[:3], _goal(env), noise)
        if len(planned.path) > max_steps:
            continue
        planned = _rested(planned, after)
        disturbance = _noise(rng, planned, noise)
        episode = _follow_path(env, hand, planned, hand.reach(planned.path, hand.joints()), disturbance, noise)
        if episode.success is not None and np.linalg.norm(episode.ball[-1, :3] - episode.goal) < 0.1:
            return episode
    return None


def simulate_branches(
    env: AdroitHandRelocateEnv, hand: Hand, seed: int, max_steps: int, count: int
) -> list[tuple[str, AdroitEpisode]]:
    """Simulate a group: the episode of a seed, and `count` - 1 others that part from it in its middle.

    Returns:
        Kind and episode of 1 + HISTORY + FUTURE steps; empty where the script fails or the branches do not part.
    """
    expert = simulate(env, hand, seed, max_steps, after=FUTURE)
    if expert is None or expert.success is None:
        return []
    rng = np.random.default_rng([zlib.crc32(b"relocate"), seed, count])
    at = branch_point(rng, expert.success)
    past, ahead = cut(expert, ROWS, at - HISTORY, at), cut(expert, ROWS, at, at + 1 + FUTURE)
    start = hand.reach(expert.path[: at + 1], expert.joints[0, :8].astype(np.float64))[-1]
    others = edits(rng, ahead.path, ahead.grip, WORKSPACE)
    chosen = branches(ahead, others, partial(_follow, env, hand, ahead, start), _wrist, count)
    return [(kind, join(past, episode, ROWS)) for kind, episode in chosen]


def _plan_path(
    rng: np.random.Generator, palm: np.ndarray, ball: np.ndarray, goal: np.ndarray, level: float
) -> PalmPath:
    """Draw a way to do it: over the ball, down, shut the fingers, up, and to the goal, with detours and pauses."""
    speed, at = rng.uniform(*SPEEDS), ball + HELD_AT
    detour = [rng.uniform(WORKSPACE.low, WORKSPACE.high)] if rng.random() < 0.4 else []
    above = at + rng.uniform((-0.03, -0.03, 0.06), (0.03, 0.03, 0.14))
    lifted = at + rng.uniform((-0.03, -0.03, 0.05), (0.03, 0.03, 0.12))
    carried = [rng.uniform(WORKSPACE.low, WORKSPACE.high)] if rng.random() < 0.3 else []
    path, grip, steady = [palm[None]], [np.zeros(1)], [np.zeros(1)]

    def move(to: np.ndarray, shut: float, calm: float, least: int) -> None:
        distance = np.linalg.norm(to - path[-1][-1])
        steps = max(least, round(distance / (speed * rng.uniform(0.8, 1.25)) * FPS))
        path.append(glide(path[-1][-1], to, steps))
        grip.append(np.linspace(grip[-1][-1], shut, steps + 1)[1:])
        steady.append(np.full(steps, calm))

    def pause(chance: float) -> None:
        if rng.random() < chance:
            move(path[-1][-1], grip[-1][-1], steady[-1][-1], int(rng.integers(4, 20)))

    for point in (*detour, above):
        move(point, 0.0, 0.0, 8)
        pause(0.2)
    move(at, 0.0, 1.0, 10)
    move(at, 1.0, 1.0, int(rng.integers(10, 18)))
    move(lifted, 1.0, 1.0, 12)
    for point in (*carried, goal + HELD_AT):
        pause(0.2)
        move(point, 1.0, 0.0, 8)
    move(path[-1][-1], 1.0, 0.0, 8)
    planned = PalmPath(np.concatenate(path), np.concatenate(grip), np.concatenate(steady))
    return _trembling(rng, planned, level)


def _trembling(rng: np.random.Generator, planned: PalmPath, level: float) -> PalmPath:
    """A slow tremor of the palm, in proportion to the noise level, gone at both ends and where it must be steady."""
    steps = len(planned.path)
    ends = np.minimum(np.arange(steps), np.arange(steps)[::-1]) / 16
    calm = np.convolve(planned.steady, np.ones(31) / 16, mode="same")
    share = np.minimum(ends, 1 - calm).clip(0, 1)
    return replace(planned, path=planned.path + wandering(rng, TREMOR * level, steps) * share[:, None])


def _noise(rng: np.random.Generator, planned: PalmPath, level: float) -> np.ndarray:
    """Noise of the actions [T, 30]; the fingers are left alone while they hold."""
    noise: np.ndarray = bursts(rng, level, len(planned.path), 30) * NOISE_SHARES * (1 - planned.steady[:, None])
    noise[:, 8:] *= (planned.grip == 0)[:, None]
    return noise


def _rested(planned: PalmPath, steps: int) -> PalmPath:
    """The same path with further steps at its end, in which the hand stays."""
    return PalmPath(*(np.concatenate([part, np.repeat(part[-1:], steps, axis=0)]) for part in vars(planned).values()))


def _follow_path(
    env: AdroitHandRelocateEnv, hand: Hand, planned: PalmPath, joints: np.ndarray, noise: np.ndarray, level: float
) -> AdroitEpisode:
    """Follow the joints [T, 8] of a path from the simulator's present state."""
    joints = np.concatenate([joints, joints[-1:], joints[-1:]])
    rows, success = [], None
    for k, grip in enumerate(planned.grip):
        before = physics(env.model, env.data)
        hand.settle()
        action = np.clip(hand.action(joints[k : k + 3], grip) + noise[k], -1, 1).astype(np.float32)
        rows.append((hand.state(), action, env.data.qpos[:30].copy(), _ball(env), before))
        _, _, _, _, info = env.step(action)
        if success is None and info["success"]:
            success = k
    state, action, qpos, ball, states = (np.stack(column) for column in zip(*rows, strict=True))
    qpos, ball = qpos.astype(np.float32), ball.astype(np.float32)
    return AdroitEpisode(state, action, qpos, ball, states, planned.path, planned.grip, _goal(env), level, success)


def _follow(
    env: AdroitHandRelocateEnv, hand: Hand, expert: AdroitEpisode, start: np.ndarray, path: np.ndarray, grip: np.ndarray
) -> AdroitEpisode:
    """Lead the palm along a path [F, 3] with a grip [F], from the first state of `expert`."""
    restore(env.model, env.data, expert.physics[0])
    planned = PalmPath(path, grip, np.ones(len(path)))
    return _follow_path(env, hand, planned, hand.reach(path, start), np.zeros((len(path), 30)), expert.noise)


def _ball(env: AdroitHandRelocateEnv) -> np.ndarray:
    body = env.obj_body_id
    return np.concatenate([env.data.xpos[body], env.data.xquat[body]])


def _goal(env: AdroitHandRelocateEnv) -> np.ndarray:
    return np.array(env.data.site_xpos[env.target_obj_site_id])


def _wrist(episode: AdroitEpisode) -> np.ndarray:
    return episode.state[:, :3]
