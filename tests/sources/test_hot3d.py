import io
import json
import tarfile

import made_hands
import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from vgen.errors import InputError
from vgen.sources.hot3d import Hot3DSource
from vgen.sources.reading.umetrack import UmeTrackHand
from vgen.sources.source import LeftOut, Reading

ROWS = 4
SIZE = (120, 200)  # height and width of the images as they are recorded
PARAMS = [150.0, 148.0, 99.0, 61.0] + [0.0] * 12


def transform(pose: np.ndarray) -> dict:
    x, y, z, w = Rotation.from_matrix(pose[:3, :3]).as_quat()
    return {"quaternion_wxyz": [w, x, y, z], "translation_xyz": pose[:3, 3].tolist()}


def wrists(cameras: np.ndarray) -> np.ndarray:
    """Wrists in the world [2, T, 4, 4], before the cameras."""
    poses = np.tile(np.eye(4), (2, len(cameras), 1, 1))
    poses[:, :, :3, :3] = Rotation.random(2, rng=5).as_matrix()[:, None]
    poses[:, :, :3, 3] = np.array([[-0.05, 0.06, 0.5], [-0.05, -0.06, 0.5]])[:, None]
    return cameras @ poses


def image(points: np.ndarray, size) -> bytes:
    """A grey image as recorded, with a bright mark on each point [N, 3] in the camera."""
    pixels = np.full(size, 30, np.uint8)
    for x, y in made_hands.pixels(points, np.array(PARAMS[:4])).round().astype(int):
        pixels[y - 3 : y + 4, x - 3 : x + 4] = 240
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


def files(seed: int = 0, rows: int = ROWS, params=PARAMS, matrix: bool = False) -> tuple[dict[str, bytes], dict]:
    """The files of a clip, and what is true of it."""
    cameras, noise = made_hands.cameras(rows), np.random.default_rng(seed)
    hands, angles = wrists(cameras), noise.normal(0, 0.3, (2, rows, 20))
    made = {
        "__hand_shapes.json__": json.dumps({"mano": [0.0] * 10, "umetrack": made_hands.umetrack_model(seed)}).encode()
    }
    for row in range(rows):
        calibration = {
            "label": "camera-slam-left",
            "stream_id": "1201-1",
            "image_width": SIZE[1],
            "image_height": SIZE[0],
            "projection_model_type": "CameraModelType.FISHEYE624",
            "projection_params": params,
        }
        told = {}
        for number, hand in enumerate(("left", "right")):
            wrist = {"wrist_xform": hands[number, row].tolist()}
            told[hand] = {
                "umetrack_pose": {
                    "joint_angles": angles[number, row].tolist(),
                    **(wrist if matrix else {"T_world_from_wrist": transform(hands[number, row])}),
                },
                "boxes_amodal": {"1201-1": [20.0 + row, 30, 80.5, 90]},
                "visibilities_modeled": {"1201-1": 1.0},
            }
        seen = np.linalg.inv(cameras[row]) @ hands[:, row]
        key = f"{row:06d}"
        camera = {"calibration": calibration, "T_world_from_camera": transform(cameras[row])}
        info = {"participant_id": "P0003", "sequence_id": "P0003_c7", "image_timestamps_ns": {"1201-1": row * 33333333}}
        made |= {
            f"{key}.image_1201-1.jpg": image(seen[:, :3, 3], SIZE),
            f"{key}.cameras.json": json.dumps({"1201-1": camera}).encode(),
            f"{key}.hands.json": json.dumps(told).encode(),
            f"{key}.info.json": json.dumps(info).encode(),
        }
    made["000000.objects.json"] = json.dumps({"3": [{"object_name": "mug", "object_bop_id": "3"}]}).encode()
    return made, {"cameras": cameras, "wrists": hands, "angles": angles}


def write(path, made: dict[str, bytes]):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in made.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def only(folder):
    source = Hot3DSource(Reading(folder))
    (take,) = source.takes()
    return source, take


@pytest.mark.parametrize("matrix", [False, True])
def test_hands_come_back_in_the_world_and_lie_where_the_upright_frames_show_them(tmp_path, matrix):
    made, true = files(matrix=matrix)
    write(tmp_path / "train_quest3" / "clip-000007.tar", made)
    source, take = only(tmp_path)
    assert (take.name, take.group, take.split) == ("train_quest3/clip-000007", "P0003", None)
    episode = source.read(take)
    columns = episode.columns
    assert {key: rows.shape for key, rows in columns.items()} == {k: (ROWS, len(n)) for k, n in source.columns.items()}
    points = columns["observation.keypoints"][:, :126].reshape(ROWS, 2, 21, 3).swapaxes(0, 1).astype(float)
    poses = np.tile(np.eye(4), (ROWS, 1, 1))
    six = columns["observation.camera_pose"].astype(float)
    poses[:, :3, 3], poses[:, :3, 0], poses[:, :3, 1] = six[:, :3], six[:, 3:6], six[:, 6:]
    poses[:, :3, 2] = np.cross(six[:, 3:6], six[:, 6:])
    hand = UmeTrackHand.from_json(made_hands.umetrack_model())
    for number, side in enumerate(("left", "right")):
        world = hand.keypoints(true["angles"][number], true["wrists"][number], side)
        assert np.abs(made_hands.into_world(points[number], poses) - world).max() < 1e-5
    frames = episode.frames["1201-1"].read(0, ROWS)
    assert frames.shape == (ROWS, SIZE[1], SIZE[0], 3)
    wrists = np.linalg.inv(poses) @ true["wrists"]
    assert (wrists[0, :, 0, 3] < 0).all() and (wrists[1, :, 0, 3] > 0).all()  # left on the left, once upright
    for row in range(ROWS):
        spots = made_hands.pixels(wrists[:, row, :3, 3], columns["observation.intrinsics"][row])
        assert all(frames[row, y, x, 0] > 200 for x, y in spots.round().astype(int))
    assert episode.extra["objects"] == "mug" and "FISHEYE624" in episode.extra["camera_models"]


def test_boxes_come_back_in_pixels_of_the_image_as_recorded(tmp_path):
    made, _ = files()
    hands = json.loads(made["000002.hands.json"])
    del hands["left"]
    made["000002.hands.json"] = json.dumps(hands).encode()
    write(tmp_path / "clip-1.tar", made)
    source, take = only(tmp_path)
    columns = source.read(take).columns
    x0, y0, x1, y1 = columns["observation.boxes"][:, 4:8].T.astype(float)
    back = np.stack([y0 * SIZE[1], (1 - x1) * SIZE[0], y1 * SIZE[1], (1 - x0) * SIZE[0]], axis=1)
    assert np.abs(back - [[20.0 + row, 30, 80.5, 90] for row in range(ROWS)]).max() < 1e-4
    assert columns["observation.boxes"][:, 8].tolist() == [1, 1, 0, 1]
    assert columns["observation.keypoints"][:, 126].tolist() == [1, 1, 0, 1]
    assert np.array_equal(columns["observation.boxes"][2, :4], columns["observation.boxes"][1, :4])


def test_the_one_focal_length_of_aria_is_of_both_axes(tmp_path):
    made, _ = files(params=[150.0, 99.0, 61.0] + [0.0] * 12)
    write(tmp_path / "clip-1.tar", made)
    source, take = only(tmp_path)
    expected = [150, 150, SIZE[0] - 1 - 61, 99]
    assert source.read(take).columns["observation.intrinsics"][0].tolist() == expected


def test_damaged_clips_are_left_out_with_their_reasons(tmp_path):
    whole, _ = files()
    drifting, missing, test, odd = dict(whole), dict(whole), dict(whole), dict(whole)
    info = json.loads(whole["000003.info.json"])
    drifting["000003.info.json"] = json.dumps(info | {"image_timestamps_ns": {"1201-1": 200_000_000}}).encode()
    del missing["000002.cameras.json"]
    for name in [name for name in test if "hand" in name]:
        del test[name]
    odd["__hand_shapes.json__"] = b'{"umetrack": {}}'
    for number, made in enumerate((drifting, missing, test, odd, whole)):
        write(tmp_path / f"clip-{number}.tar", made)
    data = (tmp_path / "clip-4.tar").read_bytes()
    (tmp_path / "clip-4.tar").write_bytes(data[: len(data) // 2 // 512 * 512 + 100])
    source, said = Hot3DSource(Reading(tmp_path)), []
    for take in source.takes():
        with pytest.raises(LeftOut) as left:
            source.read(take)
        said.append(str(left.value))
    assert said[0] == "its clock drifts: frame 3 of 4 is +0.100 s off in 1201-1"
    assert said[1] == "a file is missing in it: 000002.cameras.json"
    assert said[2].startswith("it has no poses of hands")
    assert said[3].startswith("its annotations are not those of HOT3D-Clips: KeyError")
    assert said[4].startswith("its tar file is cut off")


def test_a_folder_without_clips_and_a_stream_that_none_has_are_refused(tmp_path):
    with pytest.raises(InputError, match="no clip-"):
        Hot3DSource(Reading(tmp_path))
    write(tmp_path / "clip-1.tar", files()[0])
    with pytest.raises(InputError, match="'214-1' is not in the streams"):
        Hot3DSource(Reading(tmp_path, cameras=("214-1",)))
    (tmp_path / "clip-1.tar").write_bytes(b"no tar")
    with pytest.raises(InputError, match="none of the 1 clips"):
        Hot3DSource(Reading(tmp_path))
