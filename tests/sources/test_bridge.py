import json
import pickle
from collections import Counter

import numpy as np
import pytest
from made_bridge import back, shades, states_and_actions
from PIL import Image

from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.data.lerobot.meta import read_info
from vgen.errors import InputError
from vgen.sources.bridge import LATE, UNEVEN, BridgeSource
from vgen.sources.conversion.convert import Conversion, convert
from vgen.sources.reading.widowx import TURNED
from vgen.sources.source import LeftOut, Reading
from vgen.trajectory.conventions import pose7_to_bridge
from vgen.trajectory.trajectory import Trajectory

SCENE = "rss/toykitchen2"
AFTER, BEFORE = "2022-01-01_00-00-00", "2021-07-22_23-59-59"


def write(root, number=0, *, path=f"{SCENE}/set_table/00", date=AFTER, count=8, cameras=1, opened=1, lang=None, **obs):
    """A take as `RawSaver` of the makers' recorder writes it; returns its folder, states and actions."""
    folder = root / path / date / "raw" / "traj_group0" / f"traj{number}"
    folder.mkdir(parents=True)
    states, actions = states_and_actions(count, number, opened)
    told = {"full_state": states, "time_stamp": 1.6e9 + np.arange(count) * 0.2, "env_done": np.zeros(count, bool)} | obs
    (folder / "obs_dict.pkl").write_bytes(pickle.dumps(told))
    steps = [{"actions": action, "policy_type": "VRTeleopPolicy"} for action in actions]
    (folder / "policy_out.pkl").write_bytes(pickle.dumps(steps))
    for camera in range(cameras):
        (folder / f"images{camera}").mkdir()
        for t in range(count):
            Image.new("RGB", (24, 16), (20 * t, 80 * camera, 0)).save(folder / f"images{camera}" / f"im_{t}.jpg")
    (folder / "depth_images0").mkdir()
    if lang is not None:
        (folder / "lang.txt").write_text(lang)
    return folder, states, actions


def opened(root, cameras=(), **more):
    return BridgeSource(Reading(root, cameras, more=more))


def only(source):
    (take,) = source.takes()
    return source.read(take)


def test_states_actions_frames_and_words_come_back(tmp_path):
    _, states, actions = write(tmp_path, cameras=3, lang="put the pot on the cloth\nconfidence: 0.9\nmove the pot\n")
    source = opened(tmp_path)
    assert source.cameras == ("images0", "images1", "images2") and source.fps == 5
    (take,) = source.takes()
    assert (take.name, take.group) == (f"{SCENE}/set_table/00/{AFTER}/raw/traj_group0/traj0", SCENE)
    episode = source.read(take)
    np.testing.assert_allclose(back(episode), states, atol=1e-5)
    np.testing.assert_allclose(episode.columns["action"][:-1], actions, atol=1e-5)
    assert np.isnan(episode.columns["action"][-1]).all()
    assert {key: rows.shape[1] for key, rows in episode.columns.items()} == {
        key: len(names) for key, names in source.columns.items()
    }
    assert shades(episode.frames["images0"]) == list(range(8))
    assert episode.frames["images2"].read(3, 4)[..., 1].mean() == pytest.approx(160, abs=4)
    assert episode.sentence == "put the pot on the cloth"
    assert episode.extra == {"scene": SCENE, "task": "set_table", "date": AFTER, "confidence": 0.9}
    assert not Counter(episode.mended).total()


def test_a_converted_set_holds_the_values_of_the_source(tmp_path):
    told = [write(tmp_path / "raw", number, count=4, lang="wipe\n")[1:] for number in range(2)]
    write(tmp_path / "raw", 2, count=4)[0].joinpath("obs_dict.pkl").unlink()
    reading = Reading(tmp_path / "raw", more={"by": "session"})
    report = convert(Conversion("bridge", reading, tmp_path / "out", splits={}))
    assert [(name.rsplit("/")[-1], reason) for name, reason in report.left_out.items()] == [
        ("traj2", "its pickle is missing: obs_dict.pkl")
    ]
    dataset = LeRobotDataset(tmp_path / "out")
    for number, (states, actions) in enumerate(told):
        columns = dataset.episode(number).columns
        rows = Trajectory(columns["observation.state"], np.arange(4) / 5, layout="pose7")
        np.testing.assert_allclose(pose7_to_bridge(rows, 1), states, atol=1e-5)
        np.testing.assert_allclose(columns["action"][:-1], actions, atol=1e-5)
    known = json.loads((tmp_path / "out" / "meta" / "stats.json").read_text())["action"]
    given = np.concatenate([actions for _, actions in told])  # the last row of an episode has none
    for name, of_them in (("mean", given.mean(0)), ("std", given.std(0)), ("min", given.min(0)), ("max", given.max(0))):
        np.testing.assert_allclose(known[name], of_them, atol=1e-6)
    assert known["count"] == [8]
    assert "points down" in read_info(tmp_path / "out")["features"]["observation.state"]["info"]["conventions"]


def test_a_recording_before_the_camera_was_in_time_is_mended_as_the_makers_do(tmp_path):
    _, states, actions = write(tmp_path, date=BEFORE)
    episode = only(opened(tmp_path))
    np.testing.assert_allclose(back(episode), states[1:], atol=1e-5)
    np.testing.assert_allclose(episode.columns["action"][:-1], actions[:-1], atol=1e-5)
    assert len(episode.columns["action"]) == 7 and np.isnan(episode.columns["action"][-1]).all()
    assert shades(episode.frames["images0"]) == list(range(1, 8))
    assert episode.mended[LATE] == 7


def test_grippers_are_measured_and_turned_round_where_0_opens(tmp_path, caplog):
    _, states, _ = write(tmp_path, opened=0)
    source = opened(tmp_path)
    assert "opens where the actions shut it" in caplog.text
    episode = only(source)
    np.testing.assert_allclose(episode.columns["observation.state"][:, 6], 1 - states[:, 6], atol=1e-6)
    np.testing.assert_allclose(back(episode, opened=0), states, atol=1e-5)
    assert episode.mended[TURNED] == 8
    told = only(opened(tmp_path, gripper="1"))
    np.testing.assert_allclose(told.columns["observation.state"][:, 6], states[:, 6], atol=1e-6)


def test_groups_keep_a_scene_together(tmp_path):
    for path in (f"{SCENE}/set_table/00", f"{SCENE}/sweep/01", "scripted_raw/2022-12-08_pnp_rigid_objects"):
        write(tmp_path, path=path, count=3)
    groups = {by: {take.group for take in opened(tmp_path, by=by).takes()} for by in ("scene", "task", "session")}
    scripted = "scripted_raw/2022-12-08_pnp_rigid_objects"
    assert groups["scene"] == {SCENE, scripted}
    assert {f"{SCENE}/set_table", f"{SCENE}/sweep"} < groups["task"]
    assert f"{SCENE}/sweep/{AFTER}" in groups["session"]
    deep = opened(tmp_path / SCENE / "sweep")
    assert {take.group for take in deep.takes()} == {"sweep"}


def test_cameras_are_those_that_all_takes_have_or_that_are_wanted(tmp_path):
    write(tmp_path, 0, cameras=1)
    write(tmp_path, 1, cameras=2)
    assert opened(tmp_path).cameras == ("images0",)
    source = opened(tmp_path, ("images1",))
    with pytest.raises(LeftOut, match="it has not all cameras: no images1"):
        source.read(source.takes()[0])
    assert shades(source.read(source.takes()[1]).frames["images1"]) == list(range(8))
    with pytest.raises(InputError, match=r"'images7' is not in the cameras of .*; nearest: 'images"):
        opened(tmp_path, ("images7",))


def _pickled(name, value):
    return lambda folder: (folder / name).write_bytes(pickle.dumps(value))


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda folder: (folder / "policy_out.pkl").unlink(), r"its pickle is missing: policy_out\.pkl"),
        (lambda folder: (folder / "obs_dict.pkl").write_bytes(b"\x80\x04]"), r"its pickle is damaged: obs_dict\.pkl"),
        (_pickled("policy_out.pkl", [print]), r"not data: builtins\.print, in policy_out\.pkl"),
        (_pickled("obs_dict.pkl", {"state": 1}), "its pickle has no full_state"),
        (_pickled("obs_dict.pkl", {"full_state": np.zeros((8, 5))}), r"its states are no rows of 7 numbers: \[8, 5\]"),
        (_pickled("obs_dict.pkl", {"full_state": "text"}), "its states are no rows of 7 numbers"),
        (_pickled("obs_dict.pkl", {"full_state": np.full((8, 7), 99.0)}), "its states are no poses: .*four turns"),
        (_pickled("policy_out.pkl", [{"actions": np.ones(7)}] * 3), "do not fit: 3 actions, 8 states"),
        (_pickled("policy_out.pkl", [{"other": 1}] * 7), "its actions are no rows of 7 numbers"),
        (lambda folder: (folder / "images0" / "im_3.jpg").unlink(), r"a frame is missing: images0/im_3\.jpg, of 8"),
        (lambda folder: (folder / "images0" / "im_8.jpg").write_bytes(b""), "more frames than rows: 9 in images0, 8"),
    ],
)
def test_a_damaged_take_is_left_out_by_its_reason(tmp_path, harm, reason):
    folder, _, _ = write(tmp_path)
    write(tmp_path, 1)
    harm(folder)
    source = opened(tmp_path)
    with pytest.raises(LeftOut, match=reason) as told:
        source.read(source.takes()[0])
    assert "\n" not in str(told.value)
    source.read(source.takes()[1])


def test_a_damaged_frame_is_told_when_it_is_read(tmp_path):
    folder, _, _ = write(tmp_path)
    (folder / "images0" / "im_5.jpg").write_bytes((folder / "images0" / "im_5.jpg").read_bytes()[:300])
    frames = only(opened(tmp_path)).frames["images0"]
    with pytest.raises(LeftOut, match="a frame is damaged: frame 5 of 8"):
        frames.read(0, 8)


def test_rows_that_are_not_known_are_nan_and_uneven_steps_are_counted(tmp_path):
    states, _ = states_and_actions(8)
    states[2, 1] = np.nan
    clock = np.array([0, 0.2, 0.4, 1.4, 1.6, 1.5, 1.7, 1.9])
    write(tmp_path, full_state=states, time_stamp=clock)
    episode = only(opened(tmp_path))
    assert np.isnan(episode.columns["observation.state"]).all(axis=1).tolist() == [False, False, True] + [False] * 5
    assert episode.mended[UNEVEN] == 2


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no raw/traj_groupN/trajN"):
        opened(tmp_path)
    write(tmp_path)
    with pytest.raises(InputError, match="'scenes' is not in the values of by; nearest: 'scene'"):
        opened(tmp_path, by="scenes")
    with pytest.raises(InputError, match="layout=keypoints: what bridge has is of layout pose7"):
        BridgeSource(Reading(tmp_path, layout="keypoints"))
