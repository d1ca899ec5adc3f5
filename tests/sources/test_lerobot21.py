"""Folders of LeRobot v2.1, written as lerobot wrote them: paths, JSONL files and features by its own templates."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.errors import InputError
from vgen.media.writing import write_video
from vgen.sources.conversion.convert import Conversion, convert
from vgen.sources.source import Reading

TOP, IMAGE, DEPTH = "observation.images.top", "observation.image", "observation.images.depth"
LENGTHS = (6, 5, 7)


def video_feature(depth=False):
    info = {"video.fps": 10.0, "video.codec": "av1", "video.is_depth_map": depth, "has_audio": False}
    return {"dtype": "video", "shape": [3, 32, 48], "names": ["channel", "height", "width"], "info": info}


def png(level):
    file = io.BytesIO()
    Image.new("RGB", (48, 32), (level,) * 3).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "old"
    single = {"dtype": "int64", "shape": [1], "names": None}
    features = {
        "observation.state": {"dtype": "float32", "shape": [4], "names": {"motors": ["x", "y", "z", "gripper"]}},
        "action": {"dtype": "float32", "shape": [2, 2], "names": None},
        "next.done": {"dtype": "bool", "shape": [1], "names": None},
        "note": {"dtype": "string", "shape": [1], "names": None},
        TOP: video_feature(),
        DEPTH: video_feature(depth=True),
        IMAGE: {"dtype": "image", "shape": [3, 32, 48], "names": ["channel", "height", "width"]},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        **dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), single),
    }
    info = {
        "codebase_version": "v2.1", "robot_type": "so100", "total_episodes": 3, "total_chunks": 2, "chunks_size": 2,
        "fps": 10, "splits": {"train": "0:3"}, "features": features,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }  # fmt: skip
    episodes = [
        {"episode_index": k, "tasks": [f"task {k}"], "length": n, "scene": k % 2} for k, n in enumerate(LENGTHS)
    ]
    (folder / "meta").mkdir(parents=True)
    (folder / "meta/info.json").write_text(json.dumps(info))
    (folder / "meta/episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in episodes))
    (folder / "meta/tasks.jsonl").write_text('{"task_index": 0, "task": "task 0"}\n')
    for episode, length in enumerate(LENGTHS):
        write_episode(folder, episode, length)
    return folder


def write_episode(folder, episode, length):
    chunk = f"chunk-{episode // 2:03d}"
    rows = np.arange(length, dtype=np.float32)
    columns = {
        "observation.state": list(np.stack([rows, rows / 3, -rows, rows * 0 + episode], axis=1)),
        "action": [np.full((2, 2), row).tolist() for row in rows],
        "next.done": rows == length - 1,
        "note": ["x"] * length,
        IMAGE: [png(100 + k) for k in range(length)],
        "timestamp": rows / np.float32(10),
        "frame_index": np.arange(length),
        "episode_index": np.full(length, episode),
        "index": np.arange(length),
        "task_index": np.zeros(length, int),
    }
    file = folder / f"data/{chunk}/episode_{episode:06d}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file)
    shade = (20 * rows + episode).astype(np.uint8)
    video = folder / f"videos/{chunk}/{TOP}/episode_{episode:06d}.mp4"
    video.parent.mkdir(parents=True, exist_ok=True)
    write_video(video, np.broadcast_to(shade[:, None, None, None], (length, 32, 48, 3)), 10)


def run(folder, out, cameras=(), layout=None, **more):
    return convert(Conversion("lerobot21", Reading(folder, cameras, layout, more=more), out))


def test_columns_cameras_and_sentences_come_over_as_they_are(folder, tmp_path, caplog):
    report = run(folder, tmp_path / "new", layout="position4")
    assert not report.left_out and report.episodes == {"train": 2, "test": 1}
    dataset = LeRobotDataset(tmp_path / "new", "test")
    assert dataset.cameras == [TOP, "observation.images.image"] and dataset.info["robot_type"] == "so100"
    episode = dataset.episode(0)
    assert episode.task == "task 1" and episode.extra == {
        "take": "episode_000001", "group": "episode_000001", "source_episode": 1}  # fmt: skip
    rows = np.arange(5, dtype=np.float32)
    assert np.array_equal(episode.columns["observation.state"], np.stack([rows, rows / 3, -rows, rows * 0 + 1], 1))
    assert np.array_equal(episode.columns["action"], np.repeat(rows[:, None], 4, 1))
    assert episode.columns["next.done"].reshape(-1).tolist() == [0, 0, 0, 0, 1]
    features = dataset.info["features"]
    assert features["observation.state"]["names"] == ["x", "y", "z", "gripper"]
    assert features["observation.state"]["info"]["layout"] == "position4"
    assert features["action"]["names"] == [f"action_{k}" for k in range(4)]
    assert np.allclose(dataset.frames(0, "top").mean((1, 2, 3)), 20 * rows + 1, atol=2)
    assert np.allclose(dataset.frames(0, "image").mean((1, 2, 3)), 100 + rows, atol=2)
    assert "depth is depth and is not taken" in caplog.text and "note holds text and is left out" in caplog.text


def test_what_is_named_alone_is_kept_and_scenes_are_not_divided(folder, tmp_path):
    report = run(folder, tmp_path / "new", ("top",), columns="action", group="scene")
    dataset = LeRobotDataset(tmp_path / "new")
    assert dataset.cameras == [TOP] and "observation.state" not in dataset.info["features"]
    assert report.groups == {"train": 1, "test": 1}
    info = json.loads((folder / "meta/info.json").read_text()) | {"splits": {"train": "0:2", "val": "2:3"}}
    (folder / "meta/info.json").write_text(json.dumps(info))
    assert run(folder, tmp_path / "own", ("top",)).episodes == {"train": 2, "val": 1}


def test_episodes_that_are_not_whole_are_left_out(folder, tmp_path):
    video = folder / f"videos/chunk-000/{TOP}/episode_000000.mp4"
    write_video(video, np.zeros((4, 32, 48, 3), np.uint8), 10)
    table = folder / "data/chunk-000/episode_000001.parquet"
    pq.write_table(pq.read_table(table).slice(0, 3), table)
    report = run(folder, tmp_path / "new", ("top",))
    assert report.left_out["episode_000000"] == (
        "its video has no frame for a row: row 4 of 6 at 0.400 s, the last frame at 0.300 s"
    )
    assert report.left_out["episode_000001"] == "its rows are not all there: 3 of 5"
    table.write_bytes(table.read_bytes()[:500])
    video.unlink()
    left_out = run(folder, tmp_path / "again", ("top",)).left_out
    assert left_out["episode_000000"] == "its video is missing: episode_000000.mp4"
    assert "damaged or not a parquet file" in left_out["episode_000001"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"layout": "pose7"}, "observation.state has 4 numbers and layout pose7 7; layouts of that width: position4"),
        ({"layout": "position4", "column": "acton"}, "'acton' is not in the columns of .* nearest: 'action'"),
        ({"cameras": ("tip",)}, "'tip' is not in the cameras"),
        ({"columns": "note"}, "not in the columns of numbers"),
        ({"group": "scen"}, "nearest: 'scene'"),
    ],
)
def test_what_the_folder_does_not_have_is_told_the_nearest(folder, tmp_path, given, said):
    with pytest.raises(InputError, match=said):
        run(folder, tmp_path / "new", **given)


def test_another_version_is_told_from_this_one(folder, tmp_path):
    with pytest.raises(InputError, match="convert it with `vgen data convert lerobot21`"):
        LeRobotDataset(folder)
    info = json.loads((folder / "meta/info.json").read_text()) | {"codebase_version": "v3.0"}
    (folder / "meta/info.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match=r"codebase_version v3\.0; it needs v2\.1 or v2\.0"):
        run(folder, tmp_path / "new")


def test_a_task_that_is_no_text_is_none(folder, tmp_path):
    episodes = folder / "meta/episodes.jsonl"
    episodes.write_text(episodes.read_text().replace('["task 1"]', "[null]"))
    run(folder, tmp_path / "new")
    assert LeRobotDataset(tmp_path / "new", "test").episode(0).task == "task 0"  # by the task_index of its rows
