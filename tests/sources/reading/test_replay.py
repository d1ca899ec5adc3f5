"""Recorded states in MuJoCo itself: poses, cameras and pictures fit together."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

if importlib.util.find_spec("mujoco") is None or importlib.util.find_spec("h5py") is None:
    pytest.skip("mujoco or h5py is not installed", allow_module_level=True)

from demonstration_files import BASE, MODEL, states, write_assets, write_demonstrations
from scipy.spatial.transform import Rotation

from vgen.sources.reading.replay import ARMS, Scene
from vgen.sources.robosuite import RobosuiteSource
from vgen.sources.source import LeftOut, Reading


@pytest.fixture
def folder(tmp_path):
    write_assets(tmp_path / "assets")
    arrays = {"states": states(5), "actions": np.zeros((5, 7))}
    write_demonstrations(tmp_path / "assets" / "demonstrations" / "demo.hdf5", {"demo_1": arrays}, env="Stack")
    return tmp_path


@pytest.fixture
def scene(folder):
    made = Scene(MODEL, [folder / "assets"], (96, 128))
    yield made
    made.close()


def test_the_hand_is_told_in_the_frame_of_the_robots_base(scene):
    rows = states(5)
    told = scene.pose7(rows, ARMS[0])
    yaw = rows[:, 3]  # about the hand's z, which points down: the other way round seen from above
    np.testing.assert_allclose(told[:, :3], np.stack([rows[:, 1], -rows[:, 2], np.full(5, -0.1)], axis=1), atol=1e-9)
    wanted = Rotation.from_euler("x", np.pi) * Rotation.from_euler("z", yaw[:, None])
    turned = Rotation.from_euler("xyz", told[:, 3:6])
    assert (turned * wanted.inv()).magnitude().max() < 1e-6
    np.testing.assert_allclose(told[:, 6], np.linspace(1, 0, 5), atol=1e-9)


def test_the_camera_of_the_world_stands_where_the_model_says(scene):
    pose = scene.camera_pose(states(2), "agentview", ARMS[0])[0]
    left = Rotation.from_euler("z", np.pi / 2)
    np.testing.assert_allclose(left.apply(pose[:3]) + BASE, [0.9, 0.1, 0.9], atol=1e-6)
    ahead = (left * Rotation.from_quat(pose[3:], scalar_first=True)).apply([0, 0, 1])
    assert ahead[0] < -0.5
    assert ahead[2] < -0.5


def test_the_hand_is_drawn_where_the_columns_say(folder):
    """A red ball lies at the end effector: its middle in the picture is the projection of the pose."""
    source = RobosuiteSource(Reading(folder, more={"size": "128"}))
    episode = source.read(source.takes()[0])
    picture = episode.frames["agentview"].read(3, 5)
    columns = episode.columns
    for frame, row in zip(picture.astype(int), (3, 4), strict=True):
        red = (frame[..., 0] > 2 * frame[..., 1]) & (frame[..., 0] > 2 * frame[..., 2])
        middle = np.argwhere(red).mean(0)[::-1]
        pose, (fx, fy, cx, cy) = columns["observation.camera_pose"][row], columns["observation.intrinsics"][row]
        away = columns["observation.state"][row, :3] - pose[:3]
        x, y, z = Rotation.from_quat(pose[3:], scalar_first=True).inv().apply(away)
        np.testing.assert_allclose(middle, [fx * x / z + cx, fy * y / z + cy], atol=1.0)


@pytest.mark.parametrize("camera", ["agentview", "robot0_eye_in_hand"])
def test_what_is_left_out_of_the_drawing_is_not_seen(scene, camera, monkeypatch):
    drawn = scene.render(states(3), camera)
    monkeypatch.setattr(scene, "_hide_unseen", lambda camera: None)
    scene.model.geom_group[:] = scene._groups
    np.testing.assert_array_equal(drawn, scene.render(states(3), camera))


def test_a_model_whose_files_are_gone_is_left_out(folder):
    (folder / "assets" / "moved" / "tip.obj").unlink()
    source = RobosuiteSource(Reading(folder))
    with pytest.raises(LeftOut, match=r"assets=DIR: meshes/tip\.obj"):
        source.read(source.takes()[0])


@pytest.mark.parametrize("spoil", [lambda rows: rows[:, :-1], lambda rows: np.where(rows > 0.29, np.nan, rows)])
def test_states_of_another_model_or_that_are_no_numbers_are_left_out(scene, spoil):
    with pytest.raises(LeftOut, match=r"states are not|not a number"):
        scene.check(spoil(states(5)))


def test_robosuites_own_lift_is_read_where_it_is_installed():
    found = importlib.util.find_spec("robosuite")
    if found is None or not found.submodule_search_locations:
        pytest.skip("robosuite is not installed")
    root = next(iter(found.submodule_search_locations))
    source = RobosuiteSource(Reading(Path(root) / "models" / "assets" / "demonstrations" / "lift"))
    episode = source.read(source.takes()[0])
    assert episode.sentence == "lift the cube"
    assert episode.frames["eye_in_hand"].read(0, 1).std() > 5
