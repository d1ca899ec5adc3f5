"""The meta folder, as others write it."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot_folders import (
    CAMERA,
    CASES,
    DATA_FILE,
    EPISODES_FILE,
    VIDEO,
    changed,
    column,
    numbers_of,
    put,
    say,
    without,
    write_plain,
)

from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.errors import InputError


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write_plain(tmp_path_factory.mktemp("meta") / "set")


@pytest.fixture
def folder(plain, tmp_path):
    return lambda **changes: changed(plain, tmp_path / "set", **changes)


def read_all(path, split="train"):
    """The rows of all frames and of all states, by episode."""
    dataset = LeRobotDataset(path, split)
    states = [dataset.episode(i).columns["observation.state"][:, 0].astype(int).tolist() for i in range(len(dataset))]
    assert [numbers_of(dataset.frames(i, "front")) for i in range(len(dataset))] == states
    return states


ALL = np.arange(18).reshape(3, 6).tolist()


def task_names(tasks):
    """Writes meta/tasks.parquet."""
    return lambda path: pq.write_table(pa.table(tasks), path / "meta/tasks.parquet")


def junk(path):
    (path / EPISODES_FILE).with_name("._file-000.parquet").write_bytes(b"of a Mac")


def moved(path):
    shutil.move(path / DATA_FILE, path / "rows-0.parquet")


READ = [
    {"info": say(data_path=None, video_path=None, splits=None, chunks_size="many")},
    {"info": lambda info: [info.pop(name) for name in ("data_path", "video_path", "splits")]},
    {"info": say(data_path="rows-{file_index}.parquet"), "files": moved},
    {"episodes": lambda table: table.take(pa.array([2, 0, 1]))},
    {"episodes": column("data/file_index", lambda v: [float(n) for n in v])},
    {"episodes": column("length", lambda v: [float(n) for n in v])},
    {"episodes": without("dataset_from_index", "dataset_to_index", "meta/episodes/chunk_index")},
    {"files": junk},
    {"info": say(fps=10.0)},
]


@pytest.mark.parametrize("changes", READ)
def test_what_others_write_is_read(folder, changes, caplog):
    assert read_all(folder(**changes)) == ALL and not caplog.records


@pytest.mark.parametrize(
    "split, episodes",
    [("0:3", [0, 1, 2]), (" 1 : ", [1, 2]), (":2", [0, 1]), ("2:2", []), ([2, 0], [2, 0])],
)
def test_splits(folder, split, episodes):
    path = folder(info=say(splits={"train": "0:0", "mine": split}))
    assert read_all(path, "mine") == [ALL[i] for i in episodes]


@pytest.mark.parametrize("fps", [None, 0, -3, "ten", "10", True, [10], float("nan")])
def test_a_rate_that_is_none_is_read_off_the_timestamps(folder, fps, caplog):
    path = folder(info=say(fps=fps))
    dataset = LeRobotDataset(path)
    assert dataset.fps == 10 and dataset.episode(1).fps == 10 and read_all(path) == ALL
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "is no rate; 10 is taken" in caplog.text and "meta/info.json: fps=" in caplog.text


@pytest.mark.parametrize("rate, frames", [(29.97, 6), (59.94, 6), (30, 5000), (240, 5000)])
def test_a_rate_is_exact_although_times_are_float32(folder, rate, frames):
    times = np.concatenate([np.arange(6) / rate, np.arange(12) / 7]) + (frames / rate if frames > 6 else 0)
    path = folder(info=say(fps=None), rows=column("timestamp", lambda _: times.astype(np.float32), "float32"))
    assert LeRobotDataset(path).fps == pytest.approx(rate, rel=1e-3)


def test_a_rate_that_the_rows_do_not_have_is_told(folder, caplog):
    assert LeRobotDataset(folder(info=say(fps=25))).fps == 25
    assert [record.getMessage().partition("json: ")[2] for record in caplog.records] == [
        "fps=25, and the rows of its first episode are 10 per second; 25 is taken"
    ]


TASKS = {"task_index": [0, 1], "task": ["close it", "open it"]}
INDEXED = {"task_index": [1, 0], "__index_level_0__": ["open it", "close it"]}  # as pandas writes a nameless index


@pytest.mark.parametrize(
    "tasks, kept, told",
    [
        ([["a"], ["b", "c"], [None]], TASKS, ["a", "b", "open it"]),
        (["a", "b", ""], TASKS, ["a", "b", "open it"]),
        ([None, [], [3]], INDEXED, ["open it"] * 3),
        (None, TASKS, ["open it"] * 3),
        (None, {"task_index": [7], "task": ["x"]}, [""] * 3),
        (None, None, [""] * 3),
    ],
)
def test_tasks(folder, tasks, kept, told):
    many = isinstance(tasks and tasks[0], list) or (tasks and tasks[0] is None)
    kind = None if not tasks or not many else pa.list_(pa.int64() if tasks[2] == [3] else pa.string())
    path = folder(
        episodes=without("tasks") if tasks is None else column("tasks", lambda _: tasks, kind),
        rows=column("task_index", lambda values: [1] * len(values)),
        files=task_names(kept) if kept else lambda path: (path / "meta/tasks.parquet").unlink(),
    )
    dataset = LeRobotDataset(path)
    assert [dataset.summary(i)[2] for i in range(3)] == told == [dataset.episode(i).task for i in range(3)]


def test_spans_that_are_wrong_are_told_and_the_rows_read(folder, caplog):
    path = folder(episodes=column("dataset_to_index", put(1, 15)))
    assert read_all(path) == ALL
    [record] = caplog.records
    assert "of episode 1 span 9 rows and its length is 6" in record.getMessage()


def text(content):
    return lambda path: (path / "meta/info.json").write_text(content)


def info_of(name, value):
    return {"info": say(**{name: value})}


def of_episodes(name, place, value):
    return {"episodes": column(name, put(place, value))}


REFUSED = [  # when it is opened
    ({"files": text("[1]")}, "info.json holds a list"),
    ({"files": text("{")}, "not readable JSON"),
    ({"files": text("[" * 100_000)}, "not readable JSON"),
    (info_of("codebase_version", "v2.1"), "v2.1; vgen reads v3.0: convert it"),
    (info_of("codebase_version", None), "None; vgen reads v3.0"),
    (info_of("features", None), "features=None must be a mapping"),
    (info_of("features", {"action": "float32"}), "features.action=float32 must be a mapping"),
    (info_of("splits", ["train"]), "splits=.* must be a mapping of names"),
    (info_of("splits", {"train": 3}), "split train=3 .* FIRST:STOP within 0:3"),
    (info_of("splits", {"train": "0:4"}), "FIRST:STOP within 0:3"),
    (info_of("splits", {"train": "2:1"}), "FIRST:STOP within 0:3"),
    (info_of("splits", {"train": "0:" + "9" * 5000}), "FIRST:STOP within 0:3"),
    (info_of("splits", {"train": [0, 9]}), "FIRST:STOP within 0:3"),
    (info_of("splits", {"test": "0:3"}), "'train' is not in the splits"),
    (of_episodes("length", 1, None), "meta/episodes, episode 1: length is missing"),
    (of_episodes("length", 1, 0), "episode 1: length=0 must be a whole number of 1 or more"),
    (of_episodes("length", 1, -6), "episode 1: length=-6 must be"),
    (of_episodes("episode_index", 1, None), "episode_index is missing"),
    (of_episodes("episode_index", 1, 0), "meta/episodes holds episode 0 twice"),
    ({"episodes": without("length")}, "lacks the columns length"),
    (
        {"episodes": lambda t: t.append_column("length", t["length"])},
        "holds several columns named length; it needs one",
    ),
    ({"episodes": lambda table: table.slice(0, 0)}, "meta/episodes is empty"),
    ({"files": lambda path: (path / EPISODES_FILE).unlink()}, "has no meta/episodes"),
    ({"files": lambda path: (path / EPISODES_FILE).write_bytes(b"")}, f"{EPISODES_FILE}: damaged or not a parquet"),
    (
        {"info": say(fps=None), "rows": without("timestamp")},
        "fps=None must be a number above 0, and no timestamp of its first episode tells the rate",
    ),
]


@pytest.mark.parametrize("changes, message", REFUSED)
def test_what_is_no_data_set_is_refused_in_one_line(folder, changes, message):
    path = folder(**changes)
    with pytest.raises(InputError, match=message) as refused:
        LeRobotDataset(path)
    assert "\n" not in str(refused.value) and str(path) in str(refused.value) and len(str(refused.value)) < 400


FIELDS = r"must be a path with the fields \{chunk_index\}, \{file_index\}"
LOST = [  # when the episode is read
    (info_of("data_path", "../{chunk_index}.parquet"), "data_path=../0.parquet is no path within"),
    (info_of("data_path", "/etc/{chunk_index}"), "data_path=/etc/0 is no path within"),
    (info_of("data_path", "data/../../x"), "is no path within"),
    (info_of("data_path", "a\0b"), "is no path within"),
    (info_of("data_path", "a" * 5000), "is no path within"),
    (info_of("data_path", "data/{chunk_index.__class__}"), FIELDS),
    (info_of("data_path", "data/{chunk_index:0999999999d}"), FIELDS),
    (info_of("data_path", "data/{chunk_index!r}"), FIELDS),
    (info_of("data_path", "data/{episode_chunk:03d}/{episode_index:06d}.parquet"), FIELDS),
    (info_of("data_path", "data/{0}"), FIELDS),
    (info_of("data_path", "data/{chunk_index"), FIELDS),
    (info_of("data_path", 7), FIELDS),
    (info_of("data_path", "data"), "data: is a folder"),
    (info_of("data_path", "data/{file_index}.parquet"), "data/0.parquet: no such parquet file"),
    ({"episodes": without("data/file_index")}, "meta/episodes, episode 1: data/file_index is missing"),
    (of_episodes("data/file_index", 1, None), "episode 1: data/file_index is missing"),
    (of_episodes("data/file_index", 1, 9), "data/chunk-000/file-009.parquet: no such parquet file"),
    (of_episodes("data/file_index", 1, -1), "data/file_index=-1 must be a whole number of 0 or more"),
    ({"episodes": column("data/file_index", lambda _: ["0", "..", "0"])}, "data/file_index=.. must be a number"),
    ({"files": lambda path: (path / DATA_FILE).write_bytes(b"PAR1PAR1")}, f"{DATA_FILE}: damaged or not a parquet"),
]


@pytest.mark.parametrize("changes, message", LOST)
def test_pointers_that_lead_nowhere_are_refused_in_one_line(folder, changes, message):
    path = folder(**changes)
    dataset = LeRobotDataset(path)
    for read in (dataset.episode, lambda i: dataset.frames(i, "front")):
        with pytest.raises(InputError, match=message) as refused:
            read(1)
        assert "\n" not in str(refused.value) and str(path) in str(refused.value) and len(str(refused.value)) < 400


@pytest.mark.parametrize("template", ["videos/../../{video_key}.mp4", "/{video_key}.mp4", "{video_key}/../../x.mp4"])
def test_no_template_and_no_camera_leads_out_of_the_folder(folder, template):
    dataset = LeRobotDataset(folder(info=say(video_path=template)))
    with pytest.raises(InputError, match=r"video_path=.* is no path within"):
        dataset.frames(0, "front")
    dataset.info["video_path"] = "{video_key}.mp4"
    dataset.cameras.append("../../x")
    dataset._episodes[0] |= {f"videos/../../x/{part}_index": 0 for part in ("chunk", "file")}
    with pytest.raises(InputError, match=r"video_path=\.\./\.\./x\.mp4 is no path within"):
        dataset.frame_file(0, "../../x")
    assert dataset.frame_file(0, CAMERA).name == f"{CAMERA}.mp4"


def test_files_may_be_links_as_in_the_cache_of_hugging_face(folder, tmp_path):
    path = folder()
    shutil.move(path / DATA_FILE, tmp_path / "blob")
    (path / DATA_FILE).symlink_to(tmp_path / "blob")
    shutil.move(path / VIDEO, tmp_path / "films")
    (path / VIDEO).symlink_to(tmp_path / "films")
    assert read_all(path) == ALL


@pytest.mark.skipif(not CASES.is_dir(), reason="the sample files are not there")
def test_the_sample_without_a_rate(caplog):
    path = CASES / "lerobot-columns/fps_null"
    assert json.loads((path / "meta/info.json").read_text())["fps"] is None
    assert LeRobotDataset(path).fps == 80 and "80 is taken" in caplog.text
