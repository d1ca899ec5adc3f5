import json
import pickle
from io import BytesIO

import numpy as np
import pytest
from made_bridge import back, shades, states_and_actions
from made_tfrecords import example, write_records
from PIL import Image

from vgen.errors import InputError
from vgen.sources.bridge_rlds import BridgeRldsSource
from vgen.sources.reading.widowx import TURNED
from vgen.sources.source import LeftOut, Reading

COUNT = 6
HOME = "/nfs/datasets/numpy_256/bridge_data_v2"


def picture(t, shade=0):
    data = BytesIO()
    Image.new("RGB", (24, 16), (20 * t, shade, 0)).save(data, "JPEG", quality=95)
    return data.getvalue()


def features(
    seed=0, *, scene="datacol1_toykitchen1", cameras=(0,), flags=None, words="put the pot down", opened=1, **more
):
    """An episode as tfds flattens `bridge_dataset`: a list of each feature over the steps."""
    states, actions = states_and_actions(COUNT + 1, seed, opened)
    told = {
        "steps/observation/state": np.float32(states[:COUNT]),
        "steps/action": np.float32(actions),
        "steps/language_instruction": [words.encode()] * COUNT,
        "steps/language_embedding": np.zeros((COUNT, 512), np.float32),
        "steps/is_first": [1] + [0] * (COUNT - 1),
        "steps/reward": np.zeros(COUNT, np.float32),
        "episode_metadata/file_path": [f"{HOME}/{scene}/pnp/0{seed}/train/out.npy".encode()],
        "episode_metadata/episode_id": [seed],
        "episode_metadata/has_language": [int(bool(words))],
    }
    for camera in range(4):
        there = camera in cameras
        images = [picture(t, 50 * camera) if there else picture(0) for t in range(COUNT)]
        told[f"steps/observation/image_{camera}"] = images
        told[f"episode_metadata/has_image_{camera}"] = [int(there if flags is None else flags)]
    return told | more


def write(root, episodes, split="train", number=0, count=1):
    root.mkdir(parents=True, exist_ok=True)
    path = root / f"bridge_dataset-{split}.tfrecord-{number:05d}-of-{count:05d}"
    write_records(path, [example(episode) for episode in episodes])
    return path


def opened(root, cameras=(), **more):
    return BridgeRldsSource(Reading(root, cameras, more=more))


def test_episodes_come_back(tmp_path):
    told = [features(0, cameras=(0, 1)), features(1, cameras=(0, 1), words="")]
    write(tmp_path / "bridge_dataset" / "1.0.0", told)
    source = opened(tmp_path)
    assert source.cameras == ("image_0", "image_1")
    first, second = (source.read(pickle.loads(pickle.dumps(take))) for take in source.takes())
    np.testing.assert_allclose(back(first), told[0]["steps/observation/state"], atol=1e-5)
    np.testing.assert_array_equal(first.columns["action"], told[0]["steps/action"])
    assert shades(first.frames["image_0"]) == list(range(COUNT))
    assert first.frames["image_1"].read(2, 3)[..., 1].mean() == pytest.approx(50, abs=4)
    assert (first.sentence, second.sentence) == ("put the pot down", "")
    where = {"scene": "bridge_data_v2/datacol1_toykitchen1", "task": "pnp", "date": ""}
    assert first.extra == where | {"file_path": f"{HOME}/datacol1_toykitchen1/pnp/00/train/out.npy"}


def test_splits_are_the_makers_or_by_scene(tmp_path):
    write(tmp_path, [features(0), features(1), features(2, scene="datacol2_sink")])
    takes = opened(tmp_path).takes()
    scenes = ["bridge_data_v2/datacol1_toykitchen1"] * 2 + ["bridge_data_v2/datacol2_sink"]
    assert [take.group for take in takes] == scenes and {take.split for take in takes} == {None}
    assert [take.group for take in opened(tmp_path, by="task").takes()] == [f"{scene}/pnp" for scene in scenes]
    write(tmp_path, [features(3)], "val")
    assert [take.split for take in opened(tmp_path).takes()] == ["train"] * 3 + ["val"]


def test_cameras_that_were_not_there_are_told_by_their_blank_images(tmp_path):
    write(tmp_path, [features(0, cameras=(0, 2)), features(1, cameras=(0,), flags=0)])
    source = opened(tmp_path)
    assert source.cameras == ("image_0",)
    with pytest.raises(LeftOut, match="it has not all cameras: no image_2"):
        other = opened(tmp_path, ("image_2",))
        other.read(other.takes()[1])
    with pytest.raises(InputError, match=r"'images0' is not in the cameras of .*; nearest: 'image_0'"):
        opened(tmp_path, ("images0",))


def test_grippers_of_states_are_turned_round_where_0_opens(tmp_path):
    told = features(0, opened=0)
    write(tmp_path, [told])
    source = opened(tmp_path)
    episode = source.read(source.takes()[0])
    np.testing.assert_allclose(back(episode, opened=0), told["steps/observation/state"], atol=1e-5)
    assert episode.mended[TURNED] == COUNT


def test_a_flipped_bit_leaves_one_record_out(tmp_path):
    path = write(tmp_path, [features(0), features(1), features(2)])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    source = opened(tmp_path)
    reasons = read_all(source)
    assert reasons[0] == reasons[2] == ""
    assert reasons[1] == f"its record is damaged: record 1 of {path.name}, its checksum does not fit"


def read_all(source):
    """Why each take is left out, "" where it is not."""
    reasons = []
    for take in source.takes():
        try:
            source.read(take)
            reasons.append("")
        except LeftOut as error:
            reasons.append(str(error))
    return reasons


@pytest.mark.parametrize("info", [True, False])
def test_a_truncated_file_is_counted(tmp_path, info):
    path = write(tmp_path, [features(0), features(1), features(2)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if info:
        told = {"splits": [{"name": "train", "shardLengths": ["3"], "numBytes": "1"}]}
        (tmp_path / "dataset_info.json").write_text(json.dumps(told))
    source = opened(tmp_path)
    reasons = read_all(source)
    assert reasons[0] == "" and reasons[1:] == [
        f"its record is lost, as the file is cut off: record {number} of {path.name}" for number in range(1, 2 + info)
    ]


def test_missing_files_and_records_are_told(tmp_path, caplog):
    write(tmp_path, [features(0)], number=3, count=1024)
    told = {"splits": [{"name": "train", "shardLengths": ["1", "1", "1", "2"]}]}
    (tmp_path / "dataset_info.json").write_text(json.dumps(told))
    source = opened(tmp_path)
    assert "1 of the 1024 files of split train are there" in caplog.text
    assert "fewer than dataset_info.json counts: record 1" in read_all(source)[1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"steps/action": np.zeros((3, 7), np.float32)}, "do not fit: 3 actions, 6 states"),
        ({"steps/action": [1, 2]}, "its record is damaged: steps/action is of another kind"),
        ({"steps/observation/state": np.zeros(8, np.float32)}, r"are no rows of 7 numbers: \[8\]"),
        ({"steps/observation/image_0": [picture(0), picture(1)]}, "2 of image_0, 6 states"),
    ],
)
def test_what_does_not_fit_is_left_out(tmp_path, change, reason):
    write(tmp_path, [features(0), features(1, **change)])
    source = opened(tmp_path)
    with pytest.raises(LeftOut, match=reason):
        source.read(source.takes()[1])


def test_a_damaged_image_is_told_when_it_is_read(tmp_path):
    images = [picture(t) for t in range(COUNT)]
    images[4] = images[4][:200]
    write(tmp_path, [features(0, **{"steps/observation/image_0": images})])
    source = opened(tmp_path)
    with pytest.raises(LeftOut, match="a frame is damaged: frame 4 of 6"):
        source.read(source.takes()[0]).frames["image_0"].read(0, COUNT)


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has no NAME-SPLIT\.tfrecord-00000-of-NNNNN"):
        opened(tmp_path)
    write_records(tmp_path / "other-train.tfrecord-00000-of-00001", [example({"obs/state": [b"x"]})])
    with pytest.raises(InputError, match="no camera was found in the takes"):
        opened(tmp_path)
