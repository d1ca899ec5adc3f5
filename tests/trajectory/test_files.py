"""Files come back as they were; damaged and dangerous ones are refused in one line."""

import io
import json
import pickle
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from trajectory_samples import LAYOUT_NAMES, sample, with_gap

from vgen.data.lerobot.writer import LeRobotWriter
from vgen.errors import InputError, TryAgain
from vgen.trajectory.convert import to_delta
from vgen.trajectory.files import TrajectoryFile, read_trajectory, write_trajectory
from vgen.trajectory.layouts import find_layout
from vgen.trajectory.parquet import layout_of_feature
from vgen.trajectory.trajectory import Trajectory


def same(one, other):
    np.testing.assert_array_equal(one.values[one.valid], other.values[other.valid])
    for name in ("times", "valid"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.layout, one.form) == (other.layout, other.form)


@pytest.mark.parametrize("suffix", [".npz", ".json"])
@pytest.mark.parametrize("name", LAYOUT_NAMES)
def test_written_and_read(tmp_path, name, suffix):
    path = tmp_path / f"t{suffix}"
    for k, given in enumerate([sample(name), to_delta(with_gap(sample(name), 3, 4))]):
        path = tmp_path / f"{k}{suffix}"
        write_trajectory(path, given)
        same(read_trajectory(TrajectoryFile(path)), given)
        same(read_trajectory(str(path)), given)
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"0{suffix}", f"1{suffix}"]  # nothing left aside


def test_json_by_hand(tmp_path):
    path = tmp_path / "t.json"
    path.write_text(
        '{"values": [[0, 0, 0, 1], null], "times": [0, 0.1], "valid": [true, false], "layout": "position4"}'
    )
    assert read_trajectory(TrajectoryFile(path)).valid.tolist() == [True, False]
    path.write_text('{"values": [null, [0, 0, 0, 1]], "times": [0, 0.1], "layout": "position4"}')
    assert read_trajectory(TrajectoryFile(path)).valid.tolist() == [False, True]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_json_as_other_programs_write_it(tmp_path, encoding):
    (tmp_path / "t.json").write_text(plain(), encoding=encoding)
    assert len(read_trajectory(TrajectoryFile(tmp_path / "t.json"))) == 3


def test_a_text_that_is_too_large_is_not_read(tmp_path):
    with (tmp_path / "t.json").open("wb") as file:
        file.truncate(2**29)  # takes no room on the disk
    with pytest.raises(InputError, match=r"holds 0.5 GiB; a trajectory in .json has at most 0.25 GiB"):
        read_trajectory(TrajectoryFile(tmp_path / "t.json"))


@pytest.fixture
def dataset(tmp_path):
    """A LeRobot folder of two episodes with `position4` as state."""
    names = {"observation.state": find_layout("position4").names, "action": ["dx", "dy", "dz", "gripper"]}
    writer = LeRobotWriter(tmp_path / "d", 20, names, [])
    for k in range(2):
        state = sample("position4", rows=6, seed=k).values
        writer.add_episode({"observation.state": state, "action": state * 0}, {}, "move")
    writer.finish()
    return tmp_path / "d" / "data" / "chunk-000" / "file-000.parquet"


def test_an_episode_of_a_lerobot_data_set(dataset):
    given = read_trajectory(TrajectoryFile(dataset, episode=1))
    np.testing.assert_array_equal(given.values, sample("position4", rows=6, seed=1).values)
    np.testing.assert_allclose(given.times, np.arange(6) / 20, atol=1e-7)
    assert (given.layout, given.form) == ("position4", "absolute")  # found by the names of its columns


def test_parquet_written_back_keeps_all_other_columns(dataset, tmp_path):
    source = TrajectoryFile(dataset, episode=1)
    given = read_trajectory(source)
    moved = Trajectory(given.values + 1, given.times, layout="position4")
    write_trajectory(tmp_path / "out.parquet", moved, source)
    same(read_trajectory(TrajectoryFile(tmp_path / "out.parquet")), moved)  # one episode, and its layout in the file
    before, after = pq.read_table(dataset), pq.read_table(tmp_path / "out.parquet")
    assert after.schema.equals(before.schema)
    kept = [name for name in before.column_names if name != "observation.state"]
    assert after.select(kept).equals(before.slice(6).select(kept))


class Harmful:
    def __reduce__(self):
        return exec, ("raise SystemExit('a pickle was run')",)


def npz(path, **arrays):
    with path.open("wb") as file:
        np.savez(file, **arrays)


def good(**change):
    kept = {"values": np.zeros((3, 4)), "times": np.arange(3.0), "layout": "position4"} | change
    return {key: value for key, value in kept.items() if value is not None}


def plain(**change):
    kept = {"values": [[0, 0, 0, 0]] * 3, "times": [0, 1, 2], "layout": "position4"} | change
    return json.dumps({key: value for key, value in kept.items() if value is not ...})


def cut(path):
    npz(path, **good())
    path.write_bytes(path.read_bytes()[:-40])


def spoilt(path):
    with path.open("wb") as file:
        np.savez_compressed(file, **good(values=np.random.default_rng(0).normal(size=(300, 4))))
    content = bytearray(path.read_bytes())
    content[400:900] = bytes(500)
    path.write_bytes(content)


def single_array(path):
    with path.open("wb") as file:
        np.save(file, np.zeros((3, 4)))


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)


def header(shape):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return file.getvalue()


def bomb(path):
    """A file of a few bytes that speaks of ten thousand million rows."""
    zipped(path, {"values.npy": header((10**10, 4)) + bytes(64), "times.npy": header((10**10,))})


def open_header(path):
    """Its shape begins and does not end."""
    values = header((3, 4)).replace(b"(3, 4)", b"(3, 4 ")
    zipped(path, {"values.npy": values + bytes(96), "times.npy": header((3,)) + bytes(24)})


def locked(path):
    npz(path, **good())
    content = bytearray(path.read_bytes())
    for place in (6, content.find(b"PK\x01\x02") + 8):  # the flag of encryption, in both headers of the first member
        content[place] |= 1
    path.write_bytes(content)


# What is written to a file of that name, and what the message must name.
BAD = [
    ("t.npz", lambda p: None, "does not exist"),
    ("t.npz", lambda p: p.mkdir(), "is a folder"),
    ("t.npz", lambda p: p.touch(), "is empty"),
    ("t.npz", lambda p: p.write_text("no zip at all, in any way"), "not an .npz file"),
    ("t.npz", lambda p: p.write_bytes(pickle.dumps(Harmful())), "not an .npz file"),
    ("t.npz", lambda p: npz(p, **good(values=np.array([[Harmful()]], object))), "pickled"),
    ("t.npz", single_array, "not an .npz file"),
    ("t.npz", cut, "damaged or not an .npz"),
    ("t.npz", spoilt, "damaged or not an .npz"),
    ("t.npz", open_header, "damaged or not an .npz"),
    ("t.npz", bomb, "holds 298 GiB; a trajectory in .npz has at most 1 GiB"),
    ("t.npz", lambda p: zipped(p, {"readme.txt": b"hello"}), "'readme.txt' is not in the parts of a trajectory"),
    ("t.npz", lambda p: zipped(p, {"values": b"hello", "times": b""}), "damaged or not an .npz"),
    ("t.npz", lambda p: zipped(p, dict.fromkeys(("values", "times", "values.npy"), b"")), "gives values twice"),
    ("t.npz", locked, "is encrypted"),
    ("t.npz", lambda p: npz(p, **good(values=np.zeros((3, 4), complex))), "such as float32; it has 0j"),
    ("t.npz", lambda p: npz(p, **good(times=np.float32(1.7e9) + np.zeros(3, "f4"))), "keep one of the two"),
    ("t.npz", lambda p: npz(p, **good(layout=np.zeros((99, 99)))), "must be a name"),
    ("t.npz", lambda p: npz(p, **good(values=None)), "has no values"),
    ("t.npz", lambda p: npz(p, **good(times=None)), "has no times"),
    (
        "t.npz",
        lambda p: npz(p, **good(layout=None)),
        "no layout is said; name one with --layout, or in the file: hand_boxes",
    ),
    ("t.npz", lambda p: npz(p, **good(layout=np.arange(3))), "must be a name"),
    ("t.npz", lambda p: npz(p, **good(layout="position")), "nearest: 'position4'"),
    ("t.npz", lambda p: npz(p, **good(form="absolut")), "nearest: 'absolute'"),
    ("t.npz", lambda p: npz(p, **good(valu=np.zeros(3))), "nearest: 'values'"),
    ("t.npz", lambda p: npz(p, **good(values=np.zeros((3, 5)))), "5 columns"),
    ("t.npz", lambda p: npz(p, **good(values=np.full((3, 4), np.nan))), "is nan"),
    ("t.npz", lambda p: npz(p, **good(values=np.full((3, 4), "a"))), "must hold numbers"),
    ("t.npz", lambda p: npz(p, **good(times=np.array([0.0, 2, 1]))), "times[2]=1"),
    ("t.npz", lambda p: npz(p, **good(valid=np.ones(2, bool))), "valid has 2"),
    ("t.npy", single_array, "nearest: '.npz'"),
    ("t.pkl", lambda p: p.write_bytes(pickle.dumps(Harmful())), "the formats of trajectories"),
    ("t", lambda p: p.write_text("x"), "the formats of trajectories"),
    ("t.json", lambda p: p.write_text("{"), "not valid JSON"),
    ("t.json", lambda p: p.write_text('{"values": [], ' + plain()[1:]), "it gives values twice; keep one"),
    ("t.json", lambda p: p.write_text(plain(values=[[float("nan")] + [0] * 3] * 3)), "(x) is nan"),
    ("t.json", lambda p: p.write_text(plain(times=[0, 1, float("inf")])), "times[2]=inf"),
    ("t.json", lambda p: p.write_text(plain(times=[0, 1, 1e308])), "times[2]=1e+308 must be a finite number"),
    ("t.json", lambda p: p.write_text(plain(values=[[10**300] + [0] * 3] * 3)), "must hold numbers"),
    ("t.json", lambda p: p.write_text(plain(values=[["0"] + [0] * 3] * 3)), "such as float32; it has 0"),
    ("t.json", lambda p: p.write_text(plain(values=[[True] * 4] * 3)), "values hold bool and must"),
    ("t.json", lambda p: p.write_text(plain(times=[0, 1, 1])), "times[2]=1 does not come after times[1]=1; keep one"),
    (
        "t.json",
        lambda p: p.write_bytes(plain(layout="positi\xf3n").replace("\\u00f3", "\xf3").encode("latin-1")),
        "utf-8",
    ),
    ("t.json", lambda p: p.write_bytes(b"\xff\xfe\x00"), "not valid JSON"),
    ("t.json", lambda p: p.write_text("[" * 100000), "not valid JSON"),
    ("t.json", lambda p: p.write_text("[1, 2]"), "holds a list"),
    ("t.json", lambda p: p.write_text(plain(times=...)), "has no times"),
    ("t.json", lambda p: p.write_text(plain(layout=...)), "no layout is said"),
    ("t.json", lambda p: p.write_text(plain(layout=4)), "must be a name"),
    ("t.json", lambda p: p.write_text(plain(values=[[0] * 4, [0] * 3, [0] * 4])), "not rows of one length"),
    ("t.json", lambda p: p.write_text(plain(values="none")), "must hold numbers"),
    ("t.json", lambda p: p.write_text(plain(values=[None] * 3)), "all 3 rows are null"),
    (
        "t.json",
        lambda p: p.write_text(plain(values=[[0] * 4, None, [0] * 4], valid=[True] * 3)),
        "values[1, 0] (x) is nan",
    ),
    ("t.json", lambda p: p.write_text(plain(values=[[10**400] * 4] * 3)), "must hold numbers"),
    ("t.json", lambda p: p.write_text(plain(valid=[1, 1, 1])), "must be bool"),
    ("t.json", lambda p: p.write_text(plain(time=[0, 1, 2])), "nearest: 'times'"),
    ("t.parquet", lambda p: p.write_text("PAR1 but not really PAR1"), "damaged or not a parquet"),
    ("t.parquet", lambda p: pq.write_table(pa.table({"a": [1]}), p), "'timestamp' is not in its columns"),
]


@pytest.mark.parametrize("name, write, named", BAD)
def test_a_bad_file_is_refused_in_one_line(tmp_path, name, write, named):
    path = tmp_path / name
    write(path)
    with pytest.raises(InputError) as refused:
        read_trajectory(TrajectoryFile(path))
    message = str(refused.value)
    assert named in message and str(path) in message and "\n" not in message


def frames(**change):
    rows = {"timestamp": [0.0, 0.1], "episode_index": [0, 0], "observation.state": [[0.0] * 4, [1.0] * 4]} | change
    return pa.table(rows)


BAD_FRAMES = [
    ({"episode_index": [0, 1]}, {}, "it holds 2 episodes; give one (--episode), 0 to 1"),
    ({}, {"episode": 4}, "episode 4 is not in it; it holds 0 to 0"),
    ({}, {"column": "observation.stat"}, "nearest: 'observation.state'"),
    ({}, {}, "does not say the layout"),
    ({}, {"layout": "pose7"}, "4 columns; layout pose7 has 7"),
    (
        {"observation.state": [[0.0] * 4, [0.0] * 3]},
        {"layout": "position4"},
        "episode 0, column observation.state row 1 holds 3 values and row 0 holds 4",
    ),
    ({"observation.state": pa.array([None, None], pa.list_(pa.float32(), 4))}, {"layout": "position4"}, "all are null"),
    ({"observation.state": [["a"] * 4] * 2}, {"layout": "position4"}, "must hold numbers"),
    ({"frame_index": [3, 3]}, {"layout": "position4"}, "column frame_index goes from 3 to 3"),
    ({"observation.state": [0.0, 1.0]}, {"layout": "position4"}, "must be [A, D]"),
    ({"timestamp": [0.1, 0.0]}, {"layout": "position4"}, "times[1]=0"),
    ({"timestamp": ["a", "b"]}, {"layout": "position4"}, "times hold object and must hold numbers"),
    ({"timestamp": [0.0, None]}, {"layout": "position4"}, "times[1]=nan"),
]


@pytest.mark.parametrize("change, source, named", BAD_FRAMES)
def test_bad_columns_are_refused_in_one_line(tmp_path, change, source, named):
    path = tmp_path / "t.parquet"
    pq.write_table(frames(**change), path)
    with pytest.raises(InputError) as refused:
        read_trajectory(TrajectoryFile(path, **source))
    assert named in str(refused.value) and str(path) in str(refused.value) and "\n" not in str(refused.value)


KINDS = [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float32(), 4), pa.list_(pa.decimal128(6, 3))]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_rows_of_any_list_type_in_any_order_where_null_is_not_valid(tmp_path, kind):
    values = [[3.0] * 4, [0.0] * 4, None, [1.0] * 4]
    rows = pa.table(
        {
            "timestamp": [0.3, 0.0, 0.2, 0.1],
            "frame_index": [3, 0, 2, 1],
            "episode_index": [7] * 4,
            "observation.state": pa.array(values, pa.list_(pa.float32())).cast(kind),
        }
    )
    pq.write_table(rows, tmp_path / "t.parquet")
    read = read_trajectory(TrajectoryFile(tmp_path / "t.parquet", layout="position4"))
    assert read.values[:, 0].tolist()[:2] == [0, 1] and read.values[3].tolist() == [3.0] * 4
    assert read.valid.tolist() == [True, True, False, True] and np.allclose(read.times, np.arange(4) / 10)


def test_no_rows_and_another_layout(tmp_path):
    pq.write_table(frames().slice(0, 0), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="no rows"):
        read_trajectory(TrajectoryFile(tmp_path / "t.parquet", layout="position4"))
    write_trajectory(tmp_path / "t.npz", sample("position4"))
    with pytest.raises(InputError, match="the layout is position4, not pose7"):
        read_trajectory(TrajectoryFile(tmp_path / "t.npz", "pose7"))


def test_an_existing_file_is_kept(tmp_path):
    path = tmp_path / "t.npz"
    path.write_text("precious")
    with pytest.raises(InputError, match=r"exists; give another name"):
        write_trajectory(path, sample("pose7"))
    assert path.read_text() == "precious"


def test_a_file_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    def fail(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(TryAgain, match="No space left on device"):
        write_trajectory(tmp_path / "t.npz", sample("pose7"))
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_refused(tmp_path, dataset):
    one = TrajectoryFile(dataset, episode=0)
    for path, given, like, named in [
        (tmp_path / "t.csv", sample("pose7"), None, "formats of trajectories"),
        (tmp_path / "no" / "t.npz", sample("pose7"), None, "No such file or directory"),
        (tmp_path / "t.parquet", sample("position4"), None, "write .npz or .json"),
        (tmp_path / "t.parquet", sample("position4"), one, "6 rows for 40"),
        (tmp_path / "t.parquet", to_delta(sample("position4", rows=7)), one, "absolute, valid rows alone"),
        (tmp_path / "t.parquet", with_gap(sample("position4", rows=6), 2), one, "absolute, valid rows alone"),
    ]:
        with pytest.raises(InputError, match=named):
            write_trajectory(path, given, like)
        assert not path.exists()


def test_a_data_set_says_the_layout_of_a_column_by_name_or_by_its_dimensions():
    names = find_layout("position4").names
    assert layout_of_feature({"names": names}, "state") == "position4"
    assert layout_of_feature({"names": ["a"], "info": {"layout": "adroit_hand"}}, "state") == "adroit_hand"
    for feature in ({}, {"names": ["a"]}, {"names": names, "info": {"layout": "position5"}}):
        with pytest.raises(InputError, match=r"does not say the layout of state; give one \(--layout\): hand_boxes"):
            layout_of_feature(feature, "state")
