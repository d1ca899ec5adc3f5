import h5py
import made_hands
import numpy as np
import pytest

from vgen.errors import InputError
from vgen.media.writing import write_video
from vgen.sources.egodex import FLIP, JOINTS, EgoDexSource
from vgen.sources.source import LeftOut, Reading
from vgen.trajectory.conventions import hand_pose57_to_points
from vgen.trajectory.trajectory import Trajectory

ROWS = 6
REVERSIBLE = {
    "llm_type": "reversible",
    "which_llm_description": "2",
    "llm_description": "Open the lid.",
    "llm_description2": "Close the lid.",
}


def write(folder, number=0, *, camera=None, confidence=1.0, attributes=REVERSIBLE, rows=ROWS, frames=None):
    """A take as the makers lay it out; returns its keypoints in the camera [2, T, 21, 3] and its cameras."""
    folder.mkdir(parents=True, exist_ok=True)
    points, poses = made_hands.keypoints(rows, number), made_hands.cameras(rows)
    world = made_hands.into_world(points, poses)
    with h5py.File(folder / f"{number}.hdf5", "w") as file:
        file["camera/intrinsic"] = np.float32([[120, 0, 81], [0, 118, 47], [0, 0, 1]])
        file["transforms/camera"] = np.float32(poses if camera is None else camera(poses))
        for hand, name in enumerate(("left", "right")):
            for joint, part in enumerate(JOINTS):
                turned = np.tile(np.eye(4, dtype=np.float32), (rows, 1, 1))
                turned[:, :3, 3] = world[hand, :, joint]
                file[f"transforms/{name}{part}"] = turned
                if confidence is not None:
                    file[f"confidences/{name}{part}"] = np.full(rows, confidence, np.float32)
        file.attrs.update(attributes)
    write_video(folder / f"{number}.mp4", made_hands.frames(points)[:frames], 30)
    return points, poses


def read(folder, **more):
    source = EgoDexSource(Reading(folder, more=more))
    return source, [source.read(take) for take in source.takes()]


def seen_points(episode) -> np.ndarray:
    return episode.columns["observation.keypoints"][:, :126].reshape(-1, 2, 21, 3).swapaxes(0, 1)


def test_points_and_camera_come_back_and_lie_where_the_frames_show_them(tmp_path):
    points, poses = write(tmp_path / "part1" / "open_lid")
    source, (episode,) = read(tmp_path)
    columns = episode.columns
    assert {key: values.shape for key, values in columns.items()} == {
        key: (ROWS, len(names)) for key, names in source.columns.items()
    }
    assert np.abs(seen_points(episode) - points).max() < 1e-5
    again = hand_pose57_to_points(Trajectory(columns["observation.state"], np.arange(ROWS) / 30, layout="hand_pose57"))
    assert np.abs(again.camera - poses).max() < 1e-5
    world = made_hands.into_world(points, poses)
    assert np.abs(again.wrists[..., :3, 3] - world[:, :, 0]).max() < 1e-5
    assert np.abs(again.tips - points[:, :, [4, 8, 12, 16, 20]]).max() < 1e-5
    shown = episode.frames["ego"].read(0, ROWS)
    assert made_hands.marked(shown, seen_points(episode), columns["observation.intrinsics"][0])
    assert not made_hands.marked(shown, seen_points(episode)[::-1], columns["observation.intrinsics"][0])
    assert not episode.mended


def test_cameras_with_the_axes_of_arkit_are_turned(tmp_path):
    points, poses = write(tmp_path / "open_lid", camera=lambda poses: poses @ FLIP)
    _, (episode,) = read(tmp_path)
    assert np.abs(seen_points(episode) - points).max() < 1e-5
    assert episode.mended == {"rows whose camera axes were turned from ARKit's (x right, y up, z back)": ROWS}
    assert np.abs(episode.columns["observation.camera_pose"][:, :3] - poses[:, :3, 3]).max() < 1e-5


def test_text_groups_and_splits_are_those_of_the_makers(tmp_path):
    write(tmp_path / "part2" / "open_lid", 0)
    write(tmp_path / "part2" / "open_lid", 1, attributes={"llm_description": "Open it.", "session_name": "s7"})
    write(tmp_path / "test" / "fold_towel", 0, attributes={})
    source, episodes = read(tmp_path)
    told = [(take.name, take.group, take.split) for take in source.takes()]
    assert told == [
        ("part2/open_lid/0", "open_lid", "train"),
        ("part2/open_lid/1", "s7", "train"),
        ("test/fold_towel/0", "fold_towel", "test"),
    ]
    assert [episode.sentence for episode in episodes] == ["Close the lid.", "Open it.", "fold towel"]


def test_rows_of_low_confidence_and_without_a_camera_are_marked(tmp_path):
    points, _ = write(tmp_path / "open_lid")
    with h5py.File(tmp_path / "open_lid" / "0.hdf5", "r+") as file:
        for joint in JOINTS:
            file[f"confidences/left{joint}"][2:4] = 0.3
        file["transforms/camera"][5] = np.nan
    _, (episode,) = read(tmp_path)
    flags = episode.columns["observation.keypoints"][:, -2:]
    assert flags[:5].tolist() == [[1, 1], [1, 1], [0, 1], [0, 1], [1, 1]] and np.isnan(flags[5]).all()
    assert np.abs(seen_points(episode)[0, 2:4] - points[0, [1, 1]]).max() < 1e-5
    assert np.isfinite(episode.columns["observation.state"]).all(axis=1).tolist() == [
        True,
        True,
        False,
        False,
        True,
        False,
    ]
    assert episode.columns["observation.confidence"][2].tolist() == pytest.approx([0.3, 1])
    assert episode.mended["rows whose camera is not known"] == 1
    _, (lenient,) = read(tmp_path, confidence="0.2")
    assert lenient.columns["observation.keypoints"][2, -2:].tolist() == [1, 1]


def test_older_files_have_no_confidences(tmp_path):
    write(tmp_path / "open_lid", confidence=None)
    _, (episode,) = read(tmp_path)
    assert np.isnan(episode.columns["observation.confidence"]).all()
    assert (episode.columns["observation.keypoints"][:, -2:] == 1).all()


def test_damaged_takes_are_left_out_with_their_reasons(tmp_path):
    write(tmp_path / "a", 0, frames=4)
    write(tmp_path / "a", 1, confidence=0.1)
    write(tmp_path / "a", 2)
    (tmp_path / "a" / "2.mp4").unlink()
    write(tmp_path / "a", 3)
    whole = (tmp_path / "a" / "3.hdf5").read_bytes()
    (tmp_path / "a" / "3.hdf5").write_bytes(whole[: len(whole) // 2])
    write(tmp_path / "a", 4)
    with h5py.File(tmp_path / "a" / "4.hdf5", "r+") as file:
        del file["transforms/leftHand"]
    source = EgoDexSource(Reading(tmp_path))
    said = []
    for take in source.takes():
        with pytest.raises(LeftOut) as left:
            source.read(take)
        said.append(str(left.value).split(":")[0])
    assert said == [
        "its video and its poses differ in length",
        "no hand is seen in it",
        "its video is missing",
        "its poses cannot be read",
        "its poses cannot be read",
    ]


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        ({}, r"has no TASK/N\.hdf5"),
        ({"cameras": ("head",)}, "cameras of EgoDex"),
        ({"more": {"confidence": "high"}}, "confidence=high is no share"),
    ],
)
def test_a_folder_or_option_that_is_not_of_egodex_is_refused(tmp_path, reading, said):
    if reading:
        write(tmp_path / "open_lid")
    with pytest.raises(InputError, match=said):
        EgoDexSource(Reading(tmp_path, **reading))
