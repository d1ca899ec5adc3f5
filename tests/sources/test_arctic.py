import json

import made_hands
import made_mano
import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from vgen.errors import InputError
from vgen.sources.arctic import ArcticSource
from vgen.sources.source import LeftOut, Reading

ROWS, OFFSET = 26, 3
KEPT = range(10 - OFFSET, ROWS - 10 - OFFSET)  # rows of images 10 to T - 11
RECORDED = [320, 192]  # width and height of the images as recorded, twice those of the test
WRIST = 0
ORDER = [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20]


@pytest.fixture
def mano(tmp_path):
    folder = tmp_path / "models"
    for number, name in enumerate(("MANO_LEFT.pkl", "MANO_RIGHT.pkl")):
        made_mano.write(folder / name, made_mano.arrays(number))
    return folder


def poses(number: int, cameras: np.ndarray) -> dict:
    """The angles and places of one hand, whose wrist lies before the cameras, and its keypoints in the world."""
    made, noise = made_mano.arrays(number), np.random.default_rng(7 + number)
    shape = noise.normal(0, 1, 10)
    rest = made["J_regressor"] @ (made["v_template"] + made["shapedirs"] @ shape)
    before = np.array([(-0.12, 0.12)[number], 0.05, 0.5]) + np.linspace(0, 0.04, ROWS)[:, None]
    wrist = np.einsum("tij,tj->ti", cameras[:, :3, :3], before) + cameras[:, :3, 3]
    turn = Rotation.random(ROWS, rng=number).as_rotvec()
    told = {"rot": turn, "pose": noise.normal(0, 0.4, (ROWS, 45)), "trans": wrist - rest[0], "shape": shape}
    points = []
    for row in range(ROWS):
        joints, vertices = made_mano.joints_and_vertices(made, turn[row], told["pose"][row], told["trans"][row], shape)
        points.append(np.concatenate([joints, vertices[[744, 320, 443, 554, 671]]])[ORDER])
    return {"told": told | {"fitting_err": np.zeros(ROWS)}, "points": np.stack(points)}


def write(root, name="s01/box_grab_01"):
    """A sequence as the makers lay it out; returns its keypoints in the world [2, T, 21, 3] and its cameras."""
    person, sequence = name.split("/")
    cameras = made_hands.cameras(ROWS)
    seen = np.linalg.inv(cameras)
    hands = [poses(number, cameras) for number in range(2)]
    raw, images = root / "raw_seqs" / person, root / "cropped_images" / person / sequence / "0"
    for folder in (raw, images, root / "meta"):
        folder.mkdir(parents=True, exist_ok=True)
    np.save(raw / f"{sequence}.mano.npy", {"left": hands[0]["told"], "right": hands[1]["told"]})
    fx, fy, cx, cy = made_hands.INTRINSICS
    camera = {
        "R_k_cam_np": seen[:, :3, :3],
        "T_k_cam_np": seen[:, :3, 3:],
        "intrinsics": np.array([[2 * fx, 0, 2 * (cx + 0.5) - 0.5], [0, 2 * fy, 2 * (cy + 0.5) - 0.5], [0, 0, 1]]),
        "dist8": np.arange(8) / 100,
        "ego_markers.label": ["a", "b"],
    }
    np.save(raw / f"{sequence}.egocam.dist.npy", camera)
    misc = {person: {"ioi_offset": OFFSET, "image_size": [RECORDED] * 9, "gender": "female"}}
    (root / "meta" / "misc.json").write_text(json.dumps(misc))
    points = np.stack([hand["points"] for hand in hands])
    shown = made_hands.frames(np.einsum("tij,htpj->htpi", seen[:, :3, :3], points) + seen[:, None, :3, 3])
    for row, frame in enumerate(shown):
        Image.fromarray(frame).save(images / f"{row + OFFSET:05d}.jpg", quality=95)
    return points, cameras


def read(root, mano):
    source = ArcticSource(Reading(root, more={"mano": str(mano)}))
    return source, [source.read(take) for take in source.takes()]


def test_hands_come_back_and_lie_where_the_frames_show_them(tmp_path, mano):
    points, cameras = write(tmp_path / "arctic_data" / "data")
    source, (episode,) = read(tmp_path, mano)
    columns, count = episode.columns, len(KEPT)
    assert {key: rows.shape for key, rows in columns.items()} == {k: (count, len(n)) for k, n in source.columns.items()}
    seen = columns["observation.keypoints"][:, :126].reshape(count, 2, 21, 3).swapaxes(0, 1).astype(float)
    assert np.abs(made_hands.into_world(seen, cameras[KEPT]) - points[:, KEPT]).max() < 1e-5
    assert columns["observation.intrinsics"][0] == pytest.approx(made_hands.INTRINSICS, rel=1e-6)
    shown = episode.frames["0"].read(0, count)
    assert made_hands.marked(shown, seen, columns["observation.intrinsics"][0])
    assert not made_hands.marked(shown[::-1], seen[::-1], columns["observation.intrinsics"][0])
    assert episode.sentence == "grab the box" and json.loads(episode.extra["distortion"])[7] == 0.07
    assert episode.mended == {"rows at either end whose images may be black, left out": ROWS - count}


def test_splits_are_those_of_the_makers(tmp_path, mano):
    for name in ("s01/box_grab_01", "s05/waffleiron_use_02"):
        write(tmp_path, name)
    source = ArcticSource(Reading(tmp_path, more={"mano": str(mano)}))
    assert [(take.group, take.split) for take in source.takes()] == [("s01", "train"), ("s05", "val")]
    (tmp_path / "splits_json").mkdir()
    protocol = {"train": ["s05/waffleiron_use_02"], "val": [], "test": ["s01/box_grab_01"]}
    (tmp_path / "splits_json" / "protocol_p2.json").write_text(json.dumps(protocol))
    assert [take.split for take in source.takes()] == ["test", "train"]


def test_damaged_sequences_are_left_out_with_their_reasons(tmp_path, mano):
    write(tmp_path)
    source = ArcticSource(Reading(tmp_path, more={"mano": str(mano)}))
    (take,) = source.takes()
    images = tmp_path / "cropped_images" / "s01" / "box_grab_01" / "0"
    (images / "00012.jpg").unlink()
    episode = source.read(take)
    with pytest.raises(LeftOut, match=r"a frame is missing: frame 2 of 6, 00012\.jpg"):
        episode.frames["0"].read(0, 6)
    (images / "00010.jpg").unlink()
    with pytest.raises(LeftOut, match=r"its images are missing: 00010\.jpg"):
        source.read(take)
    told = np.load(tmp_path / "raw_seqs" / "s01" / "box_grab_01.mano.npy", allow_pickle=True).item()
    halves = {hand: {key: np.repeat(rows, 2, axis=0) for key, rows in pose.items()} for hand, pose in told.items()}
    np.save(tmp_path / "raw_seqs" / "s01" / "box_grab_01.mano.npy", halves)
    with pytest.raises(LeftOut, match="its poses are not those of ARCTIC: ValueError cannot reshape"):
        source.read(take)
    np.save(tmp_path / "raw_seqs" / "s01" / "box_grab_01.mano.npy", {"left": {}})
    with pytest.raises(LeftOut, match="its poses are not those of ARCTIC: KeyError 'rot'"):
        source.read(take)
    np.save(tmp_path / "raw_seqs" / "s01" / "box_grab_01.mano.npy", np.zeros(3))
    with pytest.raises(LeftOut, match="it holds an array of float64, no objects"):
        source.read(take)


def test_rows_without_a_pose_are_not_seen(tmp_path, mano):
    write(tmp_path)
    path = tmp_path / "raw_seqs" / "s01" / "box_grab_01.mano.npy"
    told = np.load(path, allow_pickle=True).item()
    told["left"]["pose"][KEPT[2]] = np.nan
    np.save(path, told)
    _, (episode,) = read(tmp_path, mano)
    assert episode.columns["observation.keypoints"][:, 126].tolist() == [1, 1, 0, 1, 1, 1]
    assert episode.mended["rows in which the left hand is not seen"] == 1


def test_what_is_needed_is_asked_for(tmp_path, mano):
    with pytest.raises(InputError, match="has no raw_seqs"):
        ArcticSource(Reading(tmp_path))
    write(tmp_path)
    with pytest.raises(InputError, match="needs: mano=FOLDER"):
        ArcticSource(Reading(tmp_path))
    (tmp_path / "meta" / "misc.json").unlink()
    with pytest.raises(InputError, match=r"misc\.json is missing"):
        ArcticSource(Reading(tmp_path, more={"mano": str(mano)}))
