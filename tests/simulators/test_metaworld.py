import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

if importlib.util.find_spec("metaworld") is None:  # importorskip would import mujoco before MUJOCO_GL is set
    pytest.skip("metaworld is not installed", allow_module_level=True)

from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.errors import InputError, TryAgain
from vgen.simulators import recording
from vgen.simulators.cameras import FrameRenderer
from vgen.simulators.metaworld import environment as metaworld_env
from vgen.simulators.metaworld.recorder import MetaworldRecorder, record
from vgen.simulators.metaworld.settings import CAMERAS, MetaworldRecording
from vgen.simulators.metaworld.tasks import SENTENCES, UNSEEN_TASKS
from vgen.simulators.settings import check, episode_seeds

TASK = "reach-v3"  # the shortest episodes
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    out = tmp_path_factory.mktemp("metaworld") / "set"
    return MetaworldRecording(out, tasks=[TASK], train_seeds=1, test_seeds=0, size=64, cameras=["first_person"])


@pytest.fixture(scope="module")
def dataset(settings):
    return LeRobotDataset(record(settings))


@pytest.fixture(scope="module")
def scene():
    """An environment, its renderer at 32 x 32 and one rollout."""
    env = metaworld_env.make_env(TASK)
    renderer = FrameRenderer(env.model, env.data, 32, metaworld_env.CAMERAS, metaworld_env.ROBOT)
    yield env, renderer, metaworld_env.simulate(env, TASK, seed=0, max_steps=150)
    renderer.close()


def test_every_task_has_a_sentence_and_the_unseen_ones_exist():
    assert set(SENTENCES) == set(metaworld_env.ALL_V3_ENVIRONMENTS)
    assert len(set(SENTENCES.values())) == 50
    assert set(UNSEEN_TASKS) < set(SENTENCES) and len(UNSEEN_TASKS) == 5


def test_a_recorded_episode_holds_pictures_and_the_motion_that_they_show(dataset):
    episode, frames = dataset.episode(0), dataset.frames(0, "first_person")
    assert (len(dataset), episode.task, episode.fps) == (1, SENTENCES[TASK], 80)
    assert episode.extra | {"noise": None} == {"env": TASK, "seed": 0, "success": True, "noise": None, "look": 0}
    assert frames.shape == (episode.length, 64, 64, 3) and 20 < episode.length <= 150
    assert frames[0].std() > 20  # something is seen
    assert dataset.info["features"]["observation.state"]["info"] == {"layout": "position4"}
    state, action = episode.columns["observation.state"], episode.columns["action"]
    moved = np.linalg.norm(np.diff(state[:, :3], axis=0), axis=1)
    changed = np.abs(np.diff(frames.astype(int), axis=0)).mean((1, 2, 3))
    assert np.corrcoef(moved, changed)[0, 1] > 0.5
    assert np.abs(action).max() <= 1
    assert not dataset.path.with_name("set.recording").exists()


def test_the_first_person_camera_looks_forward_and_down_at_the_table(dataset):
    pose = dataset.episode(0).columns["observation.camera_pose"]
    assert np.array_equal(pose, np.broadcast_to(pose[0], pose.shape))
    (x, y, z), (w, i, j, k) = pose[0, :3], pose[0, 3:]
    forward = np.array([2 * (i * k + w * j), 2 * (j * k - w * i), 1 - 2 * (i * i + j * j)])
    assert np.allclose(forward, [0, np.cos(np.radians(42)), -np.sin(np.radians(42))], atol=1e-3)
    assert np.allclose(np.array([x, y, z]) + 0.85 * forward, [0, 0.65, 0.1], atol=1e-3)


def test_action_k_leads_from_row_k_to_row_k_plus_1(scene):
    _, _, rollout = scene
    commanded = np.diff(rollout.mocap, axis=0) * 100  # an action of 1 moves the control body by 1 cm
    inside = np.abs(commanded - rollout.action[:-1, :3]).max(axis=1) < 1e-4  # not stopped at the workspace's limits
    assert inside.mean() > 0.8
    assert (np.abs(commanded - rollout.action[1:, :3]).max(axis=1) < 1e-4).mean() < 0.2


def test_frames_drawn_afterwards_are_those_of_the_simulation(scene, monkeypatch):
    """Rollouts are drawn from stored joint positions, afterwards; frame k must be what was there before action k."""
    env, renderer, rollout = scene
    live, step = [], env.step

    def filmed_step(action):
        renderer._aim("first_person")
        live.append(renderer._renderer.render())
        return step(action)

    monkeypatch.setattr(env, "step", filmed_step)
    metaworld_env.simulate(env, TASK, seed=0, max_steps=150)
    afterwards = renderer.render(rollout.physics, "first_person")
    assert np.array_equal(afterwards, np.stack(live[-len(afterwards) :]))


def test_leaving_out_what_is_not_in_view_changes_no_pixel(scene, monkeypatch):
    _, renderer, rollout = scene
    states = rollout.physics[::20]
    culled = {camera: renderer.render(states, camera) for camera in CAMERAS}
    monkeypatch.setattr(renderer, "_in_view", lambda *_: np.ones_like(renderer._groups, dtype=bool))
    for camera in CAMERAS:
        assert np.array_equal(culled[camera], renderer.render(states, camera))
    assert culled["eye_in_hand"].std() > 10 and culled["third_person"].std() > 10


def test_a_varied_look_shows_the_same_motion_and_the_plain_one_comes_back():
    recorder = MetaworldRecorder(TASK, 32)

    def render(episode):
        return recorder.render(replace(episode, physics=episode.physics[::20]), "first_person")

    plain = recorder.simulate(0, 150, 0)[0]
    before = render(plain)
    varied = recorder.simulate(0, 150, 0, look=1, cameras=["first_person"])[0]
    seen = render(varied)
    look, pose = varied.columns["observation.look"], varied.columns["observation.camera_pose"]
    again = recorder.simulate(0, 150, 0)[0]
    after = render(again)
    recorder.close()
    assert np.array_equal(plain.physics, varied.physics) and (varied.extra["look"], plain.extra["look"]) == (1, 0)
    assert np.abs(seen.astype(int) - before).mean() > 10 and np.array_equal(before, after)
    assert np.allclose(plain.columns["observation.look"][0, :7], [90, -42, 0.85, 0, 0.65, 0.1, 45])
    assert (
        (look == look[0]).all() and look[0, -1] > 0 and np.abs(look[0] - plain.columns["observation.look"][0]).max() > 1
    )
    (w, i, j, k), (azimuth, elevation) = pose[0, 3:], np.radians(look[0, :2])
    forward = np.array([2 * (i * k + w * j), 2 * (j * k - w * i), 1 - 2 * (i * i + j * j)])
    ahead = [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)]
    assert np.allclose(forward, ahead, atol=1e-5)
    assert np.allclose(pose[0, :3] + look[0, 2] * forward, look[0, 3:6], atol=1e-5)
    right = np.array([np.sin(azimuth), -np.cos(azimuth), 0])
    down = np.cross(forward, right)
    slope = np.tan(np.radians(look[0, 6] / 2))  # an own projection of the hand, by the columns alone
    ways = varied.columns["observation.state"][:, :3] - pose[0, :3]
    assert (np.abs(ways @ right) < slope * (ways @ forward)).all()
    assert (np.abs(ways @ down) < slope * (ways @ forward)).all()


def test_seeds_give_different_futures_and_the_same_ones_again(scene):
    env, _, first = scene
    other = metaworld_env.simulate(env, TASK, seed=1, max_steps=150)
    again = metaworld_env.simulate(metaworld_env.make_env(TASK), TASK, seed=0, max_steps=150)
    assert np.array_equal(first.action, again.action)
    assert first.action.shape != other.action.shape or not np.allclose(first.action, other.action)


def test_noise_is_correlated_in_time_and_spares_the_gripper():
    noise = metaworld_env._noise(np.random.default_rng(0), 0.4, 2000)
    assert (noise[:, 3] == 0).all()
    silent = (noise[:, :3] == 0).all(axis=1).mean()
    assert 0.3 < silent < 0.7
    present = noise[np.abs(noise[:, 0]) > 0, 0]
    assert 0.3 < present.std() < 0.5 and np.corrcoef(present[:-1], present[1:])[0, 1] > 0.7


def test_an_interrupted_recording_goes_on_where_it_stopped(settings, tmp_path, monkeypatch, dataset):
    again = replace(settings, out=tmp_path / "set")
    monkeypatch.setattr(recording, "_assemble", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(TryAgain, match="No space left"):
        record(again)
    monkeypatch.undo()
    with pytest.raises(InputError, match="interrupted recording with other settings"):
        record(replace(again, size=32))
    monkeypatch.setattr(recording, "_record_seeds", None)  # nothing is left to record
    copy = LeRobotDataset(record(again))
    assert np.array_equal(copy.frames(0, "first_person"), dataset.frames(0, "first_person"))


def test_an_existing_dataset_is_left_alone(settings, dataset):
    with pytest.raises(InputError, match="name another folder"):
        record(settings)


def test_unseen_tasks_and_seeds_are_kept_apart():
    settings = MetaworldRecording(Path("x"), tasks=[TASK, UNSEEN_TASKS[0]], train_seeds=2, unseen_seeds=1)
    listed = [(seed.split, seed.task, seed.seed) for seed in episode_seeds(settings)]
    assert listed == [
        ("train", TASK, 0),
        ("train", TASK, 1),
        ("test", TASK, 10_000),
        ("test", TASK, 10_001),
        ("unseen", UNSEEN_TASKS[0], 10_000),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ["drawer-opn-v3"]}, "nearest: 'drawer-open-v3'"),
        ({"tasks": [TASK, TASK]}, "twice"),
        ({"cameras": ["first-person"]}, "nearest: 'first_person'"),
        ({"size": 65}, "nearest: 66"),
        ({"workers": 0}, "workers=0"),
        ({"train_seeds": -1}, "train_seeds=-1"),
        ({"counterfactuals": 1}, "counterfactuals=1 is not 0 or 2 to 8; nearest: 2"),
        ({"counterfactuals": 9}, "nearest: 8"),
        ({"train_seeds": 0, "test_seeds": 0, "unseen_seeds": 0}, "no episode to record"),
    ],
)
def test_settings_that_cannot_be_recorded_are_input_errors(changes, message):
    with pytest.raises(InputError, match=message):
        check(replace(MetaworldRecording(Path("x")), **changes))


def test_the_command_reports_a_mistake_on_one_line(tmp_path):
    command = [sys.executable, "tools/record_metaworld.py", "--out", str(tmp_path / "set"), "--tasks", "reach-v2"]
    result = subprocess.run(
        command, check=False, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    lines = [line for line in result.stderr.splitlines() if "OpenGL_accelerate" not in line]
    assert result.returncode == 2
    assert lines == ["error: 'reach-v2' is not in the Meta-World tasks; nearest: 'reach-v3'"]
