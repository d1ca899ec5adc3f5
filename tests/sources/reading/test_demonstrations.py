"""Demonstrations of robosuite and LIBERO: what is found, left out and mended, with a simulator that only counts."""

import json
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("h5py")

from demonstration_files import states, write_demonstrations

from vgen import sources
from vgen.errors import InputError
from vgen.sources.libero import LiberoSource
from vgen.sources.reading.demonstrations import rows_at
from vgen.sources.robosuite import RobosuiteSource
from vgen.sources.source import LeftOut, Reading


class FakeScene:
    """One arm for every "robot" in the model; all poses are the number of the state's row."""

    def __init__(self, xml, assets, size):
        self.arms = [types.SimpleNamespace(camera=f"robot{arm}_eye_in_hand") for arm in range(xml.count("robot;"))]
        self.closed = False
        self._fingers = {} if "no fingers" in xml else {7: np.array([0, 0.04])}

    def close(self):
        self.closed = True

    def check(self, rows):
        if rows.shape[1] != 11:
            raise LeftOut(f"its states are not those of its model: {list(rows.shape)}")

    def fingers(self, arm):
        return self._fingers

    def has_camera(self, name):
        return name in ("agentview", "robot0_eye_in_hand", "robot1_eye_in_hand")

    def pose7(self, rows, arm):
        return np.repeat(rows[:, 1:2], 7, axis=1)

    camera_pose = None

    def intrinsics(self, camera):
        return np.array([100.0, 100.0, 64.0, 64.0])


FakeScene.camera_pose = lambda self, rows, camera, arm: np.zeros((len(rows), 7))


@pytest.fixture(autouse=True)
def fake_replay(monkeypatch):
    """The simulator is not needed to find and to read demonstrations."""
    replay = types.ModuleType("vgen.sources.reading.replay")
    replay.POSE_NAMES, replay.INTRINSICS_NAMES = ("x", "y", "z", "qw", "qx", "qy", "qz"), ("fx", "fy", "cx", "cy")
    replay.Scene = FakeScene
    replay.ReplayedFrames = lambda scene, rows, camera: (camera, rows)
    monkeypatch.setitem(sys.modules, "vgen.sources.reading.replay", replay)
    monkeypatch.setattr(sources, "replay", replay, raising=False)


def write(file, count=6, width=7, model="<robot;>", rate=20.0, demos=("demo_1",), **about):
    rng = np.random.default_rng(len(demos))
    arrays = {"states": states(count, rate), "actions": rng.uniform(-1, 1, (count, width))}
    write_demonstrations(file, dict.fromkeys(demos, arrays), model, **({"env": "Stack"} | about))
    return arrays


def only(source):
    (take,) = source.takes()
    return source.read(take)


def test_a_demonstration_has_the_makers_actions_and_a_pose_for_every_camera(tmp_path):
    arrays = write(tmp_path / "stack" / "demo.hdf5", env="Stack")
    source = RobosuiteSource(Reading(tmp_path))
    (take,) = source.takes()
    episode = source.read(take)
    assert take.name == "stack/demo/demo_1"
    assert take.split is None
    assert episode.sentence == "stack the red cube on the green cube"
    np.testing.assert_allclose(episode.columns["action"], arrays["actions"], rtol=1e-6)
    np.testing.assert_allclose(episode.columns["observation.state"][:, 0], arrays["states"][:, 1], rtol=1e-6)
    assert set(episode.columns) == set(source.columns)
    assert all(values.dtype == np.float32 for values in episode.columns.values())
    assert {name: seen[0] for name, seen in episode.frames.items()} == {
        "agentview": "agentview",
        "eye_in_hand": "robot0_eye_in_hand",
    }
    assert not episode.mended


def test_each_of_two_arms_is_a_take_of_the_same_session(tmp_path):
    arrays = write(tmp_path / "demo.hdf5", width=14, model="<robot; robot;>", env="TwoArmHandover")
    source = RobosuiteSource(Reading(tmp_path))
    first, second = source.takes()
    assert first.group == second.group
    assert first.split == second.split == "unseen"
    np.testing.assert_allclose(source.read(second).columns["action"], arrays["actions"][:, 7:], rtol=1e-6)
    assert source.read(second).frames["eye_in_hand"][0] == "robot1_eye_in_hand"


@pytest.mark.parametrize("task", ["Lift", "SawyerLift", "TwoArmLift", "TwoArmHandover"])
def test_lifting_and_handing_over_are_for_evaluation_alone(tmp_path, task):
    write(tmp_path / "demo.hdf5", env=task)
    assert RobosuiteSource(Reading(tmp_path)).takes()[0].split == "unseen"


def test_a_session_that_came_with_two_versions_is_taken_once_and_stays_together(tmp_path, caplog):
    for version in ("1.0.0", "1.4.0"):
        write(tmp_path / version / "demo.hdf5", demos=("demo_1", "demo_2"), date="9-4-2020", time="14:24:34")
    takes = RobosuiteSource(Reading(tmp_path)).takes()
    assert [take.name for take in takes] == ["1.0.0/demo/demo_1", "1.0.0/demo/demo_2"]
    assert len({take.group for take in takes}) == 1
    assert "2 demonstrations" in caplog.text


def test_a_wiping_tool_has_no_fingers_and_no_action_of_them(tmp_path):
    write(tmp_path / "demo.hdf5", width=6, model="<robot; no fingers>", env="Wipe")
    episode = only(RobosuiteSource(Reading(tmp_path)))
    assert episode.mended == {"gripper without fingers told as shut": 6}
    assert (episode.columns["action"][:, 6] == 0).all()


def test_a_recording_of_another_rate_gives_the_nearest_rows_and_no_action(tmp_path):
    write(tmp_path / "demo.hdf5", count=101, rate=100.0)
    episode = only(RobosuiteSource(Reading(tmp_path)))
    assert len(episode.columns["action"]) == 21
    assert np.isnan(episode.columns["action"]).all()
    assert list(episode.mended.values()) == [21]


def test_rows_at_a_steady_rate_follow_a_clock_that_drifts_and_stands_still():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.choice([0.0, 0.01, 0.012], 400))
    rows, exact = rows_at(times, 20)
    wanted = times[0] + np.arange(len(rows)) / 20
    assert not exact
    assert times[-1] - wanted[-1] < 0.05
    np.testing.assert_allclose(np.abs(times[rows] - wanted), np.abs(times[:, None] - wanted).min(0), atol=1e-12)
    rows, exact = rows_at(0.052 + np.arange(30) * 0.05, 20)
    assert exact
    assert rows.tolist() == list(range(30))


@pytest.mark.parametrize("times", [[0, 0.05, 0.04], [1, 1, 1]])
def test_a_clock_that_goes_back_or_stands_is_left_out(times):
    with pytest.raises(LeftOut, match="clock"):
        rows_at(np.array(times, dtype=float), 20)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda file: write(file) and file.write_bytes(file.read_bytes()[:700]), "damaged"),
        (lambda file: file.write_bytes(b"no HDF5 at all"), "damaged"),
        (lambda file: write_demonstrations(file, {"demo_1": {"actions": np.zeros((4, 7))}}, env="Stack"), "no states"),
        (lambda file: write(file, count=1), "too short"),
        (lambda file: write(file, model="models of yesterday"), "model is missing"),
        (lambda file: write(file, model="<no arm>"), "no such arm"),
        (lambda file: write_demonstrations(file, {"demo_1": {"states": states(4)}}), "of which task"),
        (
            lambda file: write_demonstrations(
                file, {"demo_1": {"states": states(4), "actions": np.zeros((9, 7))}}, "<robot;>", env="Stack"
            ),
            "actions don't fit",
        ),
    ],
)
def test_a_damaged_file_is_left_out_by_its_reason_and_the_others_are_read(tmp_path, spoil, reason):
    write(tmp_path / "good.hdf5")
    spoil(tmp_path / "bad.hdf5")
    source = RobosuiteSource(Reading(tmp_path))
    bad, good = source.takes()
    with pytest.raises(LeftOut, match=reason):
        source.read(bad)
    assert len(source.read(good).columns["action"]) == 6


def test_a_camera_that_a_scene_lacks_leaves_its_take_out(tmp_path):
    write(tmp_path / "demo.hdf5")
    source = RobosuiteSource(Reading(tmp_path, cameras=("birdview",)))
    with pytest.raises(LeftOut, match="no such camera: birdview"):
        only(source)


def test_a_model_may_lie_in_a_file_beside(tmp_path):
    write(tmp_path / "demo.hdf5", model="model_1.xml")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model_1.xml").write_text("<robot;>")
    assert len(only(RobosuiteSource(Reading(tmp_path))).columns["action"]) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"more": {"size": "big"}}, "size"),
        ({"layout": "keypoints"}, "nearest: 'pose7'"),
        ({"folder": Path("nowhere")}, "no \\*.hdf5 file"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(tmp_path, change, message):
    write(tmp_path / "demo.hdf5")
    with pytest.raises(InputError, match=message) as caught:
        RobosuiteSource(replace(Reading(tmp_path), **change))
    assert "\n" not in str(caught.value)


def test_libero_is_split_by_task_and_its_object_suite_is_unseen(tmp_path):
    told = json.dumps({"language_instruction": "pick up the milk and place it in the basket"})
    for suite, task in (("libero_goal", "open_the_drawer"), ("libero_object", "pick_up_the_milk")):
        write(tmp_path / suite / f"{task}_demo.hdf5", demos=("demo_0", "demo_1"), problem_info=told)
    source = LiberoSource(Reading(tmp_path))
    takes = source.takes()
    assert [take.split for take in takes] == [None, None, "unseen", "unseen"]
    assert [take.group for take in takes] == 2 * ["open_the_drawer"] + 2 * ["pick_up_the_milk"]
    assert source.read(takes[2]).sentence == "pick up the milk and place it in the basket"
    assert [take.split for take in LiberoSource(Reading(tmp_path / "libero_object")).takes()] == 2 * ["unseen"]
