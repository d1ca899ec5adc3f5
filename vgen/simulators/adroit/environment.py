"""Adroit simulation: a scripted five-finger hand that does each task in many ways.

A script reads where things are and draws how the palm moves (speeds, detours, pauses and tremor differ by seed); the
hand follows with its own actuators, and some actions are disturbed.
"""

import zlib
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from vgen.errors import InputError
from vgen.simulators.counterfactual import FUTURE, HISTORY, branch_point, branches, cut, edits, join
from vgen.simulators.paths import bursts

try:
    from vgen.simulators.adroit.door import Door
    from vgen.simulators.adroit.hammer import Hammer
    from vgen.simulators.adroit.pen import Pen
    from vgen.simulators.adroit.relocate import Relocate
    from vgen.simulators.adroit.script import Motion, Script
    from vgen.simulators.cameras import physics, restore
except ImportError as error:
    raise InputError(
        f"recording Adroit needs its package ({error}); install it with: pip install gymnasium-robotics==1.4.2"
    ) from error

SCRIPTS: dict[str, type[Script]] = {script.name: script for script in (Relocate, Door, Hammer, Pen)}
ROBOT = "forearm"  # a body of it
ROWS = ("state", "action", "joints", "thing", "physics", "path", "grip", "targets")  # of an AdroitEpisode
NOISE_LEVELS = (0.0, 0.05, 0.12)  # of the largest action, one of them per episode
SLIDE, TURN, WRIST, FINGER = 1.0, 0.12, 1.0, 4.0  # share of the noise for an actuator of each kind
ATTEMPTS = 8


@dataclass(frozen=True)
class AdroitEpisode:
    """One episode of T steps; row k is what was before action k. A task has M actuators, N of them of arm and wrist.

    state: float32 [T, 72], the hand in the layout `adroit_hand`.
    action: float32 [T, M], in [-1, 1]: a position per actuator, scaled to its range.
    joints: float32 [T, M], positions of the hand's joints in the actuators' order, metres and radians.
    thing: float32 [T, 7], position in metres and quaternion (w first) of what is moved, in the world's frame.
    physics: [T, S], the simulator's whole state, from which each frame is drawn and any step can be gone on from.
    path, grip: [T, 3] and [T], what the hand was to do.
    targets: [T, N], where the joints of arm and wrist were to be.
    goal: [3], where something was to be in the end.
    noise: level of the noise of its actions.
    success: the first step whose action does the task; None where none does.
    """

    state: np.ndarray
    action: np.ndarray
    joints: np.ndarray
    thing: np.ndarray
    physics: np.ndarray
    path: np.ndarray
    grip: np.ndarray
    targets: np.ndarray
    goal: np.ndarray
    noise: float
    success: int | None


def simulate(script: Script, seed: int, max_steps: int, after: int = 0) -> AdroitEpisode | None:
    """Simulate the episode of a seed with the scripted policy, and `after` steps more in which the hand rests.

    A failed attempt is followed by another with a new layout and less noise; the last ones have none.

    Returns:
        The first attempt that does the task within `max_steps`, or None where none of them does.
    """
    rng = np.random.default_rng([zlib.crc32(script.name.encode()), seed])
    level = float(rng.choice(NOISE_LEVELS))
    for attempt in range(ATTEMPTS):
        noise = level * max(0.0, 1 - 2 * attempt / ATTEMPTS)
        script.env.reset(seed=int(rng.integers(2**31)))
        script.hand.settle()
        episode = _attempt(script, rng, noise, max_steps + after, after)
        if episode is not None and episode.success is not None and script.is_kept(episode.thing[-1], episode.goal):
            return episode
    return None


def simulate_branches(script: Script, seed: int, max_steps: int, count: int) -> list[tuple[str, AdroitEpisode]]:
    """Simulate a group: the episode of a seed, and `count` - 1 others that part from it in its middle.

    Returns:
        Kind and episode of 1 + HISTORY + FUTURE steps; empty where the script fails or the branches do not part.
    """
    expert = simulate(script, seed, max_steps, after=FUTURE)
    if expert is None or expert.success is None:
        return []
    rng = np.random.default_rng([zlib.crc32(script.name.encode()), seed, count])
    at = branch_point(rng, expert.success)
    past, ahead = cut(expert, ROWS, at - HISTORY, at), cut(expert, ROWS, at, at + 1 + FUTURE)
    others = edits(rng, ahead.path, ahead.grip, script.workspace)
    chosen = branches(ahead, others, partial(_branch, script, ahead), _wrist, count)
    return [(kind, join(past, episode, ROWS)) for kind, episode in chosen]


def _attempt(script: Script, rng: np.random.Generator, level: float, longest: int, after: int) -> AdroitEpisode | None:
    """Make the script's motions one after the other; None where they take more than `longest` steps."""
    episode: AdroitEpisode | None = None
    for motion in script.motions(rng, level, after):
        made = 0 if episode is None else len(episode.action)
        if made + len(motion.path) > longest:
            return None
        ahead = _follow(script, motion, _noise(script, rng, motion, level), level)
        episode = ahead if episode is None else _joined(episode, ahead)
    return episode


def _joined(past: AdroitEpisode, ahead: AdroitEpisode) -> AdroitEpisode:
    """Both, with the first success of the two."""
    both = join(past, ahead, ROWS)
    return both if past.success is None else replace(both, success=past.success)


def _noise(script: Script, rng: np.random.Generator, motion: Motion, level: float) -> np.ndarray:
    """Noise of the actions [T, M]; the fingers are left alone while they hold."""
    shares = np.array([_noise_share(name) for name in script.actuators()])
    noise: np.ndarray = bursts(rng, level, len(motion.path), len(shares)) * shares * (1 - motion.steady[:, None])
    noise[:, motion.joints.shape[1] :] *= (motion.grip == 0)[:, None]
    return noise


def _noise_share(actuator: str) -> float:
    return {"ART": SLIDE, "ARR": TURN, "WRJ": WRIST}.get(actuator[:3], FINGER)


def _follow(script: Script, motion: Motion, noise: np.ndarray, level: float) -> AdroitEpisode:
    """Make a motion, from the simulator's present state."""
    env, hand = script.env, script.hand
    joints = np.concatenate([motion.joints, motion.joints[-1:], motion.joints[-1:]])
    rows, success = [], None
    for k, grip in enumerate(motion.grip):
        before = physics(env.model, env.data)
        hand.settle()
        action = np.clip(hand.action(joints[k : k + 3], grip) + noise[k], -1, 1).astype(np.float32)
        rows.append((hand.state(), action, env.data.qpos[: env.model.nu].copy(), script.thing(), before))
        _, _, _, _, info = env.step(action)
        if success is None and info["success"]:
            success = k
    state, action, qpos, thing, states = (np.stack(column) for column in zip(*rows, strict=True))
    qpos, thing = qpos.astype(np.float32), thing.astype(np.float32)
    return AdroitEpisode(
        state, action, qpos, thing, states, motion.path, motion.grip, motion.joints, script.goal(), level, success
    )


def _branch(script: Script, expert: AdroitEpisode, path: np.ndarray, grip: np.ndarray) -> AdroitEpisode:
    """Lead the palm along a path [F, 3] with a grip [F], from the first state of `expert`."""
    restore(script.env.model, script.env.data, expert.physics[0])
    start = expert.targets[0]
    motion = Motion(path, grip, np.ones(len(path)), script.hand.reach(path, start, script.free_aim(start)))
    return _follow(script, motion, np.zeros((len(path), script.env.model.nu)), expert.noise)


def _wrist(episode: AdroitEpisode) -> np.ndarray:
    return episode.state[:, :3]
