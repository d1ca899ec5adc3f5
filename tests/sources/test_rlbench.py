import pickle
import sys
from types import ModuleType

import numpy as np
import pytest
from made_bridge import shades
from PIL import Image
from scipy.spatial.transform import Rotation

from vgen.errors import InputError
from vgen.sources.rlbench import NO_CAMERA, NO_POSE, RLBenchSource
from vgen.sources.source import LeftOut, Reading
from vgen.trajectory.conventions import pose7_to_rlbench
from vgen.trajectory.trajectory import Trajectory

COUNT = 5
FOCAL = np.array([[-175.8, 0, 64.0], [0, -175.8, 64.0], [0, 0, 1]])


@pytest.fixture
def makers(monkeypatch):
    """Classes of the makers' names, as they are where demonstrations are written."""
    for module in ("rlbench", "rlbench.backend"):
        monkeypatch.setitem(sys.modules, module, ModuleType(module))
    classes = {}
    for module, name in (("rlbench.demo", "Demo"), ("rlbench.backend.observation", "Observation")):
        made = ModuleType(module)
        classes[name] = type(name, (), {"__module__": module})
        setattr(made, name, classes[name])
        monkeypatch.setitem(sys.modules, module, made)
    return classes


def demo(makers, seed=0, count=COUNT, misc=True, **changed):
    """A demonstration, its poses [T, 7] and openings [T]; of two cameras, of which the wrist's moves."""
    random = np.random.default_rng(seed)
    quaternions = Rotation.random(count, rng=random).as_quat(canonical=True)
    poses = np.concatenate([random.uniform(-1, 1, (count, 3)), quaternions], axis=1)
    opening = [1.0, 1.0, 0.0, 0.0, 1.0][:count]
    made = makers["Demo"]()
    made.random_seed, made.num_reset_attempts = np.random.RandomState(0).get_state(), None
    made._observations = []
    for t in range(count):
        each = makers["Observation"]()
        each.front_rgb = each.wrist_rgb = each.front_mask = None
        each.gripper_pose, each.gripper_open = poses[t], opening[t]
        each.gripper_matrix, each.joint_positions, each.task_low_dim_state = np.eye(4), np.zeros(7), np.zeros(14)
        each.misc = (
            {
                "front_camera_extrinsics": camera_to_world(7, [1.3, 0, 1.5]),
                "front_camera_intrinsics": FOCAL,
                "front_camera_near": 0.01,
                "wrist_camera_extrinsics": camera_to_world(t, [0.1 * t, 0, 1]),
                "wrist_camera_intrinsics": FOCAL,
                "variation_index": np.int64(seed),
                "joint_poses": [np.zeros(7)] * 7,
            }
            if misc
            else {}
        )
        vars(each).update({name: value[t] for name, value in changed.items()})
        made._observations.append(each)
    return made, poses, np.array(opening)


def camera_to_world(seed, place):
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = Rotation.random(rng=np.random.default_rng(seed)).as_matrix(), place
    return motion


def write(root, made, path="close_jar/variation3", number=0, words=("close the red jar", "shut it"), cameras=2):
    folder = root / path / "episodes" / f"episode{number}"
    folder.mkdir(parents=True)
    (folder / "low_dim_obs.pkl").write_bytes(pickle.dumps(made))
    for camera in ("front", "wrist")[:cameras]:
        for kind in ("rgb", "depth"):
            (folder / f"{camera}_{kind}").mkdir()
        for t in range(len(made._observations)):
            Image.new("RGB", (16, 16), (20 * t, 0, 0)).save(folder / f"{camera}_rgb" / f"{t}.png")
    if words is not None:
        (root / path / "variation_descriptions.pkl").write_bytes(pickle.dumps(list(words)))
    return folder


def opened(root, cameras=(), **more):
    return RLBenchSource(Reading(root, cameras, more=more))


def test_poses_openings_words_and_frames_come_back(tmp_path, makers, monkeypatch):
    made, poses, opening = demo(makers)
    write(tmp_path, made)
    for module in ("rlbench.demo", "rlbench.backend.observation"):
        monkeypatch.delitem(sys.modules, module)
    source = opened(tmp_path)
    assert source.cameras == ("front", "wrist") and source.fps == 20
    (take,) = source.takes()
    assert (take.name, take.group) == ("close_jar/variation3/episodes/episode0", "close_jar/3")
    episode = source.read(take)
    rows = episode.columns["observation.state"]
    found, openings = pose7_to_rlbench(Trajectory(rows, np.arange(COUNT) / 20, layout="pose7"))
    np.testing.assert_allclose(found, poses, atol=1e-5)
    np.testing.assert_array_equal(openings, opening)
    assert {key: rows.shape[1] for key, rows in episode.columns.items()} == {
        key: len(names) for key, names in source.columns.items()
    }
    assert shades(episode.frames["wrist"]) == list(range(COUNT))
    assert episode.sentence == "close the red jar"
    assert episode.extra == {"task": "close_jar", "variation": 3, "descriptions": "close the red jar; shut it"}
    assert not any(episode.mended.values())


@pytest.mark.parametrize(("camera", "suffix"), [("front", ""), ("wrist", ".wrist")])
def test_points_lie_where_pyrep_projects_them(tmp_path, makers, camera, suffix):
    made, poses, _ = demo(makers)
    write(tmp_path, made)
    source = opened(tmp_path)
    columns = source.read(source.takes()[0]).columns
    pose, intrinsics = columns["observation.camera_pose" + suffix], columns["observation.intrinsics" + suffix]
    for t, each in enumerate(made._observations):
        motion, matrix = (each.misc[f"{camera}_camera_{name}"] for name in ("extrinsics", "intrinsics"))
        point = poses[t, :3]
        theirs = matrix @ np.linalg.inv(motion)[:3] @ np.append(point, 1)  # `pointcloud_from_depth`, the other way
        ours = Rotation.from_quat(pose[t, 3:], scalar_first=True).inv().apply(point - pose[t, :3])
        fx, fy, cx, cy = intrinsics[t]
        pixel = [fx * ours[0] / ours[2] + cx, fy * ours[1] / ours[2] + cy]
        np.testing.assert_allclose(pixel, theirs[:2] / theirs[2] - 0.5, rtol=1e-4)
        assert ours[2] == pytest.approx(theirs[2], abs=1e-5)  # depth has one sign


def test_all_variations_have_numbers_and_words_of_their_own(tmp_path, makers):
    for number in (0, 1):
        folder = write(tmp_path, demo(makers, number)[0], "close_jar/all_variations", number, words=None)
        (folder / "variation_number.pkl").write_bytes(pickle.dumps(10 + number))
        (folder / "variation_descriptions.pkl").write_bytes(pickle.dumps([f"close jar {number}"]))
    write(tmp_path, demo(makers)[0], "close_jar/variation10", words=None)
    source = opened(tmp_path)
    assert [take.group for take in source.takes()] == ["close_jar/10", "close_jar/11", "close_jar/10"]
    assert [source.read(take).sentence for take in source.takes()] == ["close jar 0", "close jar 1", ""]
    assert {take.group for take in opened(tmp_path, by="task").takes()} == {"close_jar"}
    assert {take.group for take in opened(tmp_path / "close_jar").takes()} == {"close_jar/10", "close_jar/11"}


def test_rows_that_are_not_known_are_nan(tmp_path, makers):
    poses = np.tile([0, 0, 1, 0, 0, 0, 1.0], (COUNT, 1))
    poses[1, 3:], poses[3, 0] = 0, np.nan
    made, _, _ = demo(makers, gripper_pose=poses, misc=False)
    write(tmp_path, made)
    source = opened(tmp_path)
    episode = source.read(source.takes()[0])
    assert np.isnan(episode.columns["observation.state"]).any(axis=1).tolist() == [False, True, False, True, False]
    assert np.isnan(episode.columns["observation.camera_pose"]).all()
    assert episode.mended == {NO_POSE: 2, NO_CAMERA: 2 * COUNT}


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda folder: (folder / "low_dim_obs.pkl").unlink(), r"its pickle is missing: low_dim_obs\.pkl"),
        (lambda folder: (folder / "low_dim_obs.pkl").write_bytes(pickle.dumps(print)), r"not data: builtins\.print"),
        (lambda folder: (folder / "low_dim_obs.pkl").write_bytes(pickle.dumps({})), "its pickle has no demonstration"),
        (lambda folder: (folder / "wrist_rgb" / "2.png").unlink(), r"a frame is missing: wrist_rgb/2\.png, of 5"),
        (lambda folder: (folder / "wrist_rgb" / "5.png").touch(), "more frames than rows: 6 in wrist_rgb, 5 rows"),
        (
            lambda folder: (folder.parent.parent / "variation_descriptions.pkl").write_bytes(pickle.dumps(eval)),
            r"not data: builtins\.eval, in variation_descriptions\.pkl",
        ),
    ],
)
def test_a_damaged_take_is_left_out_by_its_reason(tmp_path, makers, harm, reason):
    harm(write(tmp_path, demo(makers)[0]))
    source = opened(tmp_path)
    with pytest.raises(LeftOut, match=reason):
        source.read(source.takes()[0])


def test_demonstrations_without_poses_or_of_one_row_are_left_out(tmp_path, makers):
    write(tmp_path, demo(makers, gripper_pose=[None] * COUNT)[0])
    write(tmp_path, demo(makers, count=1)[0], number=1)
    source = opened(tmp_path)
    for take, reason in zip(source.takes(), ("no gripper_pose", "shorter than 2 frames: 1"), strict=True):
        with pytest.raises(LeftOut, match=reason):
            source.read(take)


def test_cameras_that_are_wanted(tmp_path, makers):
    write(tmp_path, demo(makers)[0])
    write(tmp_path, demo(makers, 1)[0], number=1, cameras=1)
    assert opened(tmp_path).cameras == ("front",)
    source = opened(tmp_path, ("wrist", "front"))
    assert list(source.columns)[1:3] == ["observation.camera_pose", "observation.intrinsics"]
    with pytest.raises(LeftOut, match="it has not all cameras: no wrist_rgb"):
        source.read(source.takes()[1])
    with pytest.raises(InputError, match=r"'frnt' is not in the cameras of .*; nearest: 'front'"):
        opened(tmp_path, ("frnt",))


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no TASK/variationN/episodes/episodeN"):
        opened(tmp_path)
