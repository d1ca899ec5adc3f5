import errno
import json
import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vgen.data.lerobot import writer as lerobot_writer
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.data.lerobot.writer import LeRobotWriter
from vgen.errors import InputError, TryAgain
from vgen.media.writing import write_video

CAMERAS = ["observation.images.head", "observation.images.wrist"]
NAMES = {"observation.state": ["x", "y", "gripper"], "action": ["dx", "dy"]}
LENGTHS = [7, 5, 11]
FPS = 20


def episode_arrays(number: int, length: int) -> tuple[dict, dict]:
    rng = np.random.default_rng(number)
    columns = {name: rng.normal(size=(length, len(labels))).astype(np.float32) for name, labels in NAMES.items()}
    level = (np.arange(length) * 10 + number * 40)[:, None, None, None]
    head = np.broadcast_to(level, (length, 32, 48, 3)).astype(np.uint8)
    return columns, {CAMERAS[0]: head, CAMERAS[1]: 255 - head[:, :, :32]}


def write_dataset(path):
    writer = LeRobotWriter(path, FPS, NAMES, CAMERAS, robot_type="test")
    for number, length in enumerate(LENGTHS):
        columns, videos = episode_arrays(number, length)
        writer.add_episode(columns, videos, ["open it", "close it"][number % 2], {"seed": 100 + number})
    writer.finish({"train": (0, 2), "test": (2, 3)})
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("lerobot") / "set")


@pytest.fixture
def edited(tmp_path):
    """A function that copies the dataset's info.json, changed, into a new folder."""
    path = write_dataset(tmp_path / "set")

    def edit(**changes):
        info = json.loads((path / "meta/info.json").read_text())
        (path / "meta/info.json").write_text(json.dumps(info | changes))
        return path

    return edit


def test_columns_tasks_and_extras_come_back(folder):
    train, test = LeRobotDataset(folder), LeRobotDataset(folder, "test")
    assert (len(train), len(test), train.fps, train.cameras) == (2, 1, FPS, CAMERAS)
    for dataset, i, number in ((train, 0, 0), (train, 1, 1), (test, 0, 2)):
        episode, (columns, _) = dataset.episode(i), episode_arrays(number, LENGTHS[number])
        assert (episode.index, episode.length, episode.fps) == (number, LENGTHS[number], FPS)
        assert episode.task == ["open it", "close it"][number % 2]
        assert episode.extra == {"seed": 100 + number}
        for name, values in columns.items():
            assert np.array_equal(episode.columns[name], values)
        assert np.allclose(episode.columns["timestamp"], np.arange(LENGTHS[number]) / FPS)
        assert (episode.columns["index"] == sum(LENGTHS[:number]) + np.arange(LENGTHS[number])).all()


@pytest.mark.parametrize("camera", ["head", CAMERAS[0]])
def test_frames_are_those_of_the_episode_in_the_order_asked_for(folder, camera):
    test = LeRobotDataset(folder, "test")
    assert np.abs(test.frames(0, camera, [10, 0, 4]).mean((1, 2, 3)) - [180, 80, 120]).max() < 3
    assert test.frames(0, camera).shape == (11, 32, 48, 3)
    assert test.frames(0, "wrist", [0]).shape == (1, 32, 32, 3)


def test_episodes_spread_over_many_files_read_the_same(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(lerobot_writer, "MB", 1)
    split = write_dataset(tmp_path / "set")
    assert len(list(split.glob("data/chunk-000/*.parquet"))) == len(LENGTHS)
    assert len(list(split.glob("videos/*/chunk-000/*.mp4"))) == len(CAMERAS) * len(LENGTHS)
    for name in ("train", "test"):
        one, many = LeRobotDataset(folder, name), LeRobotDataset(split, name)
        for i in range(len(one)):
            assert np.array_equal(one.frames(i, "head"), many.frames(i, "head"))
            assert np.array_equal(one.episode(i).columns["action"], many.episode(i).columns["action"])


def test_the_meta_folder_says_what_lerobot_looks_for(folder):
    info = json.loads((folder / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0" and info["splits"] == {"train": "0:2", "test": "2:3"}
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, sum(LENGTHS), 2)
    assert info["features"]["action"] == {"dtype": "float32", "shape": [2], "names": ["dx", "dy"]}
    assert info["features"][CAMERAS[0]]["shape"] == [32, 48, 3]
    assert info["features"]["timestamp"] == {"dtype": "float32", "shape": [1], "names": None}
    tasks = pd.read_parquet(folder / "meta/tasks.parquet")
    assert tasks.index.tolist() == ["open it", "close it"] and tasks["task_index"].tolist() == [0, 1]
    rows = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["dataset_from_index"] for row in rows] == [0, 7, 12]
    assert rows[2][f"videos/{CAMERAS[0]}/from_timestamp"] == pytest.approx(12 / FPS)
    assert rows[2][f"videos/{CAMERAS[0]}/to_timestamp"] == pytest.approx(23 / FPS)


def test_statistics_cover_all_frames(folder):
    stats = json.loads((folder / "meta/stats.json").read_text())
    actions = np.concatenate([episode_arrays(n, length)[0]["action"] for n, length in enumerate(LENGTHS)])
    for name, expected in (("min", actions.min(0)), ("max", actions.max(0)), ("mean", actions.mean(0))):
        assert np.allclose(stats["action"][name], expected, atol=1e-6)
    assert np.allclose(stats["action"]["std"], actions.std(0), atol=1e-6)
    assert stats["action"]["count"] == [23]
    head = np.array(stats[CAMERAS[0]]["mean"])
    assert head.shape == (3, 1, 1) and 0 < head.mean() < 1


def test_a_dataset_laid_out_by_others_is_read_by_its_own_templates(folder, edited):
    path = edited(data_path="rows/{file_index}-{chunk_index}.parquet", video_path="clips/{video_key}.{file_index}.mp4")
    (path / "rows").mkdir()
    (path / "clips").mkdir()
    (path / "data/chunk-000/file-000.parquet").rename(path / "rows/0-0.parquet")
    for camera in CAMERAS:
        (path / f"videos/{camera}/chunk-000/file-000.mp4").rename(path / f"clips/{camera}.0.mp4")
    theirs, ours = LeRobotDataset(path), LeRobotDataset(folder)
    assert np.array_equal(theirs.episode(1).columns["action"], ours.episode(1).columns["action"])
    assert np.array_equal(theirs.frames(1, "wrist"), ours.frames(1, "wrist"))


def test_arrays_of_more_than_one_dimension_are_read(edited):
    path = edited()
    file = path / "data/chunk-000/file-000.parquet"
    poses = np.arange(sum(LENGTHS) * 6, dtype=np.float32).reshape(-1, 2, 3)
    pq.write_table(pq.read_table(file).append_column("pose", pa.array(poses.tolist())), file)
    info = json.loads((path / "meta/info.json").read_text())
    edited(features=info["features"] | {"pose": {"dtype": "float32", "shape": [2, 3], "names": None}})
    assert np.array_equal(LeRobotDataset(path, "test").episode(0).columns["pose"], poses[12:])


def test_a_dataset_can_be_sent_to_another_process(folder):
    dataset = LeRobotDataset(folder)
    before = dataset.frames(0, "head", [3])
    assert np.array_equal(pickle.loads(pickle.dumps(dataset)).frames(0, "head", [3]), before)


def test_unknown_names_name_the_nearest_known_one(folder):
    with pytest.raises(InputError, match="nearest: 'train'"):
        LeRobotDataset(folder, "trian")
    with pytest.raises(InputError, match="nearest: 'wrist'"):
        LeRobotDataset(folder).frames(0, "wrst")


def test_episodes_and_frames_outside_are_input_errors(folder):
    dataset = LeRobotDataset(folder)
    for i in (2, -1):
        with pytest.raises(InputError, match="it has episodes 0 to 1"):
            dataset.episode(i)
    with pytest.raises(InputError, match="frame 7 is not in episode 0"):
        dataset.frames(0, "head", [0, 7])  # there is a frame 7 in the file, of the next episode


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codebase_version": "v2.1"}, "codebase_version v2.1; vgen reads v3.0"),
        ({"splits": {"train": "0:9"}}, "not FIRST:STOP within 0:3"),
        ({"splits": {"train": "all"}}, "not FIRST:STOP within 0:3"),
    ],
)
def test_a_dataset_of_another_kind_is_an_input_error(edited, changes, message):
    with pytest.raises(InputError, match=message):
        LeRobotDataset(edited(**changes))


def test_missing_and_corrupt_parts_are_input_errors(edited, tmp_path):
    with pytest.raises(InputError, match="has no meta"):
        LeRobotDataset(tmp_path / "nowhere")
    path = edited()
    dataset = LeRobotDataset(path)
    (path / "data/chunk-000/file-000.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="not a parquet file"):
        dataset.episode(0)
    (path / f"videos/{CAMERAS[0]}/chunk-000/file-000.mp4").unlink()
    with pytest.raises(InputError, match="no such video"):
        dataset.frames(0, "head")
    (path / "meta/episodes/chunk-000/file-000.parquet").unlink()
    with pytest.raises(InputError, match="meta/episodes"):
        LeRobotDataset(path)
    (path / "meta/info.json").write_text("{")
    with pytest.raises(InputError, match="not readable JSON"):
        LeRobotDataset(path)


def test_an_existing_folder_is_left_alone(folder):
    with pytest.raises(InputError, match="name another folder"):
        LeRobotWriter(folder, FPS, NAMES, CAMERAS)


def test_files_of_no_size_are_refused_as_lerobot_would(tmp_path):
    with pytest.raises(InputError, match="nearest: 1"):
        LeRobotWriter(tmp_path / "set", FPS, NAMES, CAMERAS, video_file_mb=0)


def test_nothing_is_in_place_before_the_end(tmp_path):
    writer = LeRobotWriter(tmp_path / "set", FPS, NAMES, CAMERAS)
    with pytest.raises(InputError, match="no episode"):
        writer.finish()
    writer.add_episode(*episode_arrays(0, 5), "open it")
    assert not (tmp_path / "set").exists()
    writer.finish()
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]
    assert len(LeRobotDataset(tmp_path / "set")) == 1


def test_an_encoded_video_is_taken_as_it_is(tmp_path):
    columns, videos = episode_arrays(1, 6)
    files = {key: tmp_path / f"{key}.mp4" for key in videos}
    for key, video in videos.items():
        write_video(files[key], video, FPS)
    for name, given in (("arrays", videos), ("files", files)):
        writer = LeRobotWriter(tmp_path / name, FPS, NAMES, CAMERAS)
        writer.add_episode(columns, given, "open it")
        writer.finish()
    arrays, encoded = LeRobotDataset(tmp_path / "arrays"), LeRobotDataset(tmp_path / "files")
    assert np.array_equal(arrays.frames(0, "head"), encoded.frames(0, "head"))


def test_episodes_that_do_not_fit_are_input_errors(tmp_path):
    columns, videos = episode_arrays(0, 5)
    write_video(tmp_path / "short.mp4", videos[CAMERAS[0]][:3], FPS)
    writer = LeRobotWriter(tmp_path / "set", FPS, NAMES, CAMERAS)
    writer.add_episode(columns, videos, "open it")
    for bad_columns, bad_videos, message in (
        ({"action": columns["action"]}, videos, "columns .* are not those of the dataset"),
        (columns, {CAMERAS[0]: videos[CAMERAS[0]]}, "cameras .* are not those of the dataset"),
        (columns | {"action": columns["action"][:, :1]}, videos, r"action of \[5, 1\] is not \[T, 2\]"),
        (columns | {"action": columns["action"][:4]}, videos, "not of one length"),
        (columns | {"action": columns["action"].astype(np.float64)}, videos, "action is float64"),
        (columns, videos | {CAMERAS[1]: tmp_path / "short.mp4"}, "holds 3 frames"),
        (columns, videos | {CAMERAS[1]: videos[CAMERAS[0]]}, "is 32x48; the episodes before are"),
    ):
        with pytest.raises(InputError, match=message):
            writer.add_episode(bad_columns, bad_videos, "open it")
    writer.finish()  # what was refused has left no trace
    dataset = LeRobotDataset(tmp_path / "set")
    assert len(dataset) == 1 and dataset.frames(0, CAMERAS[0]).shape == (5, 32, 48, 3)


def test_a_full_disk_is_said_in_one_line(tmp_path, monkeypatch):
    writer = LeRobotWriter(tmp_path / "set", FPS, NAMES, CAMERAS)
    writer.add_episode(*episode_arrays(0, 5), "open it")

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lerobot_writer.pq, "write_table", full)
    with pytest.raises(TryAgain, match="No space left on device"):
        writer.finish()
    assert not (tmp_path / "set").exists()
