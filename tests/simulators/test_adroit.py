import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

if importlib.util.find_spec("gymnasium_robotics") is None:
    pytest.skip("gymnasium-robotics is not installed", allow_module_level=True)

from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.errors import InputError
from vgen.simulators.adroit import environment as adroit_env
from vgen.simulators.adroit.hand import LAYOUT, LAYOUT_NAMES
from vgen.simulators.adroit.pen_turns import ENDS, POSTURES
from vgen.simulators.adroit.recorder import ACTUATORS, AdroitRecorder, record, spread
from vgen.simulators.adroit.settings import AdroitRecording, pen_turn, relocation
from vgen.simulators.cameras import physics, restore
from vgen.simulators.settings import check
from vgen.trajectory.trajectory import find_layout

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("adroit") / "set"
    return LeRobotDataset(record(AdroitRecording(out, train_seeds=1, test_seeds=0, size=64)))


@pytest.fixture(scope="module")
def scene():
    """The environment, its hand and one undisturbed rollout (seed 2)."""
    script = adroit_env.SCRIPTS["relocate"]()
    return script.env, script.hand, adroit_env.simulate(script, seed=2, max_steps=200)


def test_a_recorded_episode_carries_the_ball_to_its_goal_and_shows_it(dataset):
    episode, frames = dataset.episode(0), dataset.frames(0, "first_person")
    assert (len(dataset), episode.fps) == (1, 50) and episode.length == len(frames) <= 200
    ball, goal = episode.columns["observation.object_pose"], np.array(episode.extra["goal"])
    assert episode.extra["success"] and np.linalg.norm(ball[-1, :3] - goal) < 0.1
    assert ball[0, 2] < 0.04 and np.linalg.norm(ball[0, :3] - ball[-1, :3]) > 0.1
    assert episode.task == relocation(ball[0, :3], goal)
    state, action = episode.columns["observation.state"], episode.columns["action"]
    moved = np.linalg.norm(np.diff(state[:, :3], axis=0), axis=1)
    changed = np.abs(np.diff(frames.astype(int), axis=0)).mean((1, 2, 3))
    assert np.corrcoef(moved, changed)[0, 1] > 0.5
    assert np.abs(action).max() <= 1 and frames[0].std() > 20


def test_the_state_has_the_columns_of_its_layout(dataset):
    feature = dataset.info["features"]["observation.state"]
    assert feature["info"] == {"layout": LAYOUT} and feature["names"] == find_layout(LAYOUT).names


def test_keypoints_are_a_right_hand_in_mediapipe_order(scene):
    _, _, rollout = scene
    state = rollout.state[0].astype(np.float64)
    points = state[9:].reshape(21, 3)
    assert np.array_equal(points[0], state[:3])
    lengths = [np.linalg.norm(np.diff(points[i : i + 4], axis=0), axis=1) for i in range(1, 21, 4)]
    assert np.allclose(lengths[0], [0.038, 0.032, 0.0275], atol=1e-4)  # the thumb, by the model's file
    for bones in lengths[1:]:
        assert np.allclose(bones, [0.045, 0.025, 0.026], atol=1e-4)
    assert (np.diff(points[5:21:4, 0]) > 0).all()  # index to little finger from left to right: palm down, fingers ahead
    assert points[2, 0] < points[5, 0] and (points[[8, 12, 16, 20], 1] > points[0, 1] + 0.1).all()


def test_the_wrist_is_turned_as_its_six_columns_say(scene):
    _, _, rollout = scene
    for state in rollout.state[[0, -1]]:
        first, second = state[3:6], state[6:9]
        matrix = np.stack([first, second, np.cross(first, second)], axis=1)
        assert np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-5)
        index, little = state[9:].reshape(21, 3)[[5, 17]]
        inside = Rotation.from_matrix(matrix).inv().apply(np.stack([index, little]) - state[:3])
        assert np.allclose(inside[0, [0, 2]], [0.033, 0.129], atol=0.12) and inside[0, 0] > inside[1, 0]


def test_action_k_leads_from_row_k_to_row_k_plus_1(scene):
    env, hand, rollout = scene
    for k in (0, 40, len(rollout.action) - 2):
        restore(env.model, env.data, rollout.physics[k])
        hand.settle()
        assert np.array_equal(hand.state(), rollout.state[k])
        env.step(rollout.action[k])
        assert np.array_equal(physics(env.model, env.data), rollout.physics[k + 1])


def test_the_palm_follows_its_path(scene):
    env, hand, rollout = scene
    assert rollout.noise == 0
    for k in range(0, len(rollout.physics), 8):
        restore(env.model, env.data, rollout.physics[k])
        hand.settle()
        assert np.linalg.norm(hand.palm() - rollout.path[k]) < 0.04


def test_inverse_kinematics_reaches_points_above_the_table(scene):
    env, hand, _ = scene
    env.reset(seed=0)
    hand.settle()
    ways = np.array([[0.1, 0.1, 0.05], [-0.15, 0.2, 0.2], [0.0, -0.1, 0.3]])
    path = np.concatenate([np.repeat(point[None], 12, axis=0) for point in ways])
    joints = hand.reach(path, hand.joints())
    for point, found in zip(ways, joints[11::12], strict=True):
        env.data.qpos[:8] = found
        hand.settle()
        assert np.linalg.norm(hand.palm() - point) < 0.005


def test_seeds_give_different_motions_and_the_same_ones_again(scene):
    _, _, first = scene
    again = adroit_env.simulate(adroit_env.SCRIPTS["relocate"](), seed=2, max_steps=200)
    other = adroit_env.simulate(adroit_env.SCRIPTS["relocate"](), seed=3, max_steps=200)
    assert np.array_equal(first.action, again.action)
    assert first.action.shape != other.action.shape or not np.allclose(first.action, other.action)


@pytest.mark.parametrize("task", ["door", "hammer"])
def test_the_hand_opens_the_door_and_drives_the_nail_by_touch_alone(task):
    script = adroit_env.SCRIPTS[task]()
    episode = adroit_env.simulate(script, seed=1, max_steps=400)
    assert episode.success is not None and np.abs(episode.action).max() <= 1
    pushed = []
    for state in (episode.physics[0], episode.physics[-1]):
        restore(script.env.model, script.env.data, state)
        pushed.append(float(script.env.data.joint({"door": "door_hinge", "hammer": "nail_dir"}[task]).qpos[0]))
    assert abs(pushed[0]) < 1e-3 and pushed[1] > {"door": 1.3, "hammer": 0.075}[task]
    reached = np.linalg.norm(episode.state[:, 9:].reshape(-1, 21, 3) - episode.thing[:, None, :3], axis=2).min(axis=1)
    moved = np.linalg.norm(np.diff(episode.thing[:, :3], axis=0), axis=1)
    assert moved[: int(np.argmax(reached < 0.25))].max(initial=0) < 5e-3  # nothing moves before the hand is there
    assert not script.env.data.qfrc_applied.any() and not script.env.data.xfrc_applied.any()


def test_a_known_turn_brings_the_pen_where_it_is_said_to():
    script = adroit_env.SCRIPTS["pen"]()
    script.env.reset(seed=0)
    script.hand.take([np.zeros(24), *POSTURES[0]])
    motion = script._turning(1.0)
    before = script.thing()
    for grip in motion.grip:
        script.env.step(script.hand.action(motion.joints[:3], grip))
    data = script.env.data
    tip = data.site("object_top").xpos - data.site("object_bottom").xpos
    assert tip @ ENDS[0] / np.linalg.norm(tip) > 0.95 and abs(tip[0]) < 0.9 * np.linalg.norm(tip)  # it lay along x
    assert np.linalg.norm(script.thing()[:3] - before[:3]) < 0.075 and motion.joints.shape == (len(motion.grip), 0)
    assert POSTURES.shape == (len(ENDS), 3, 24) and np.allclose(np.linalg.norm(ENDS, axis=1), 1, atol=0.02)


def test_a_task_with_fewer_actuators_has_zeros_in_their_columns():
    columns = spread(np.array([[1.0, 2.0], [3.0, 4.0]]), ["WRJ1", "ARRx"])
    assert columns.shape == (2, 30) and columns.dtype == np.float32
    assert columns[:, ACTUATORS.index("WRJ1")].tolist() == [1, 3]
    assert columns[:, ACTUATORS.index("ARRx")].tolist() == [2, 4] and np.count_nonzero(columns) == 4


def test_names_of_actuators_are_those_of_the_model(scene):
    env, _, _ = scene
    assert [env.model.actuator(i).name.removeprefix("A_") for i in range(env.model.nu)] == ACTUATORS
    joints = [env.model.joint(i).name for i in range(30)]
    assert joints == ACTUATORS and len(LAYOUT_NAMES) == 72 and set(AdroitRecorder.layouts) < set(AdroitRecorder.names)


@pytest.mark.parametrize(
    ("point", "where"),
    [((-0.1, 0.2, 0.3), "far left"), ((0.0, 0.0, 0.2), "near middle"), ((0.1, -0.1, 0), "near right")],
)
def test_sentences_say_where(point, where):
    assert relocation(np.array(point), np.array([0, 0, 0.3])).startswith(f"pick up the ball on the {where} and hold it")
    height = "high" if point[2] > 0.25 else "low"
    assert relocation(np.zeros(3), np.array(point)).endswith(f"hold it {height} over the {where}")


def test_sentences_say_where_the_pen_points():
    assert pen_turn(np.array([0.0, 0.1, 0.99])) == "turn the pen until its tip points up"
    assert pen_turn(np.array([-0.6, -0.5, 0.6])) == "turn the pen until its tip points up and left and back"


def test_settings_that_cannot_be_recorded_are_input_errors():
    with pytest.raises(InputError, match="nearest: 'relocate'"):
        check(replace(AdroitRecording(Path("x")), tasks=["relocat"]))
    with pytest.raises(InputError, match="in pen the hand stays in its place"):
        check(replace(AdroitRecording(Path("x")), tasks=["door", "pen"], counterfactuals=2))


def test_the_command_reports_a_mistake_on_one_line(tmp_path):
    command = [sys.executable, "tools/record_adroit.py", "--out", str(tmp_path / "set"), "--cameras", "first-person"]
    result = subprocess.run(
        command, check=False, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == "error: 'first-person' is not in the cameras; nearest: 'first_person'"
