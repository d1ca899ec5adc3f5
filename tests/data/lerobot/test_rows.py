"""The rows of an episode, and what they hold, as others write them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot_folders import CASES, DATA_FILE, changed, column, declare, numbers_of, put, without, write_plain

from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.errors import InputError
from vgen.trajectory.recorded import recorded_trajectory


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write_plain(tmp_path_factory.mktemp("rows") / "set")


@pytest.fixture
def folder(plain, tmp_path):
    return lambda **changes: changed(plain, tmp_path / "set", **changes)


SHUFFLED = np.random.default_rng(0).permutation(18)


def groups(path):
    pq.write_table(pq.read_table(path / DATA_FILE), path / DATA_FILE, row_group_size=4)


def many(name, change):
    """Changes several columns."""
    return lambda table: [table := column(each, change)(table) for each in name][-1]


INDEXES = ("episode_index", "frame_index", "timestamp")
READ = [
    {"rows": lambda table: table.take(pa.array(SHUFFLED))},
    {"rows": lambda table: table.take(pa.array(SHUFFLED)), "files": groups},
    {"files": groups},
    {"rows": without("frame_index")},
    {"rows": without("frame_index", "index", "task_index", "timestamp")},
    {"rows": column("frame_index", lambda values: [value + 40 for value in values])},
    {"rows": many(INDEXES, lambda values: [[value] for value in values])},
    {"rows": many(INDEXES, lambda values: [float(value) for value in values])},
    {"rows": column("action", put(8, [1.0, 2.0]), pa.list_(pa.float32()))},  # ragged, and nobody asks for it
    {"rows": without("action")},
    {"info": declare("observation.state", shape="four")},
    {"info": declare("observation.state", shape=[2, 2])},
]


@pytest.mark.parametrize("changes", READ)
def test_rows_in_any_order_and_columns_nobody_asks_for(folder, changes):
    dataset = LeRobotDataset(folder(**changes))
    for i in range(3):
        numbers = [*range(6 * i, 6 * i + 6)]
        recorded = recorded_trajectory(dataset, i, "observation.state", "position4")
        assert np.allclose(recorded.values, [[n, n / 10, -n, 0.5] for n in numbers]) and recorded.valid.all()
        assert np.allclose(recorded.times, np.arange(6) / 10)
        assert numbers_of(dataset.frames(i, "front")) == numbers


ROW = [8.0, 0.8, -8.0, 0.5]


@pytest.mark.parametrize(
    "kept", [None, [None, 1.0, 1.0, 1.0], [np.nan, 0, 0, 0], [np.inf, 0, 0, 0], [1e300, 0, 0, 0], [0, 0, 0, None]]
)
@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.large_list(pa.float64()), pa.list_(pa.float64(), 4)])
def test_a_row_that_is_not_all_known_is_not_valid(folder, kept, kind):
    dataset = LeRobotDataset(folder(rows=column("observation.state", put(8, kept), kind)))
    recorded = recorded_trajectory(dataset, 1, "observation.state")
    assert recorded.valid.tolist() == [True, True, False, True, True, True]
    assert np.allclose(recorded.values[[0, 5], 0], [6, 11]) and recorded_trajectory(dataset, 0, "observation.state")


def test_a_column_that_is_all_null_has_no_valid_row(folder):
    dataset = LeRobotDataset(folder(rows=column("observation.state", lambda values: [None] * len(values))))
    assert not recorded_trajectory(dataset, 1, "observation.state").valid.any()


def state(change, kind=None):
    return column("observation.state", change, kind)


COLUMN = f"{DATA_FILE}: episode 1, column observation.state"
BROKEN = [
    (state(put(8, ROW[:3]), pa.list_(pa.float64())), f"{COLUMN} row 2 holds 3 values and row 0 holds 4"),
    (state(lambda rows: [row[:3] for row in rows]), rf"{COLUMN} holds lists of 3; .* declares the shape \[4\]"),
    (state(lambda rows: [row[0] for row in rows]), f"{COLUMN} holds single values"),
    (state(lambda rows: [["far"] * 4 for _ in rows]), f"{COLUMN} holds no numbers"),
    (state(lambda rows: [[True] * 4 for _ in rows]), f"{COLUMN} holds no numbers"),
    (state(lambda rows: ["far" for _ in rows]), f"{COLUMN} holds single values"),
    (state(lambda rows: [{"x": row} for row in rows]), f"{COLUMN} holds struct"),
    (without("observation.state"), "'observation.state' is not in the columns of"),
    (
        lambda table: table.append_column("observation.state", table["action"]),
        "holds 2 columns named observation.state",
    ),
]


@pytest.mark.parametrize("rows, message", BROKEN)
def test_a_broken_column_is_refused_by_name_and_stops_nothing_else(folder, rows, message):
    dataset = LeRobotDataset(folder(rows=rows))
    with pytest.raises(InputError, match=message) as refused:
        recorded_trajectory(dataset, 1, "observation.state", "position4")
    assert "\n" not in str(refused.value) and str(dataset.path) in str(refused.value)
    assert numbers_of(dataset.frames(1, "front", [4])) == [10]
    assert dataset.episode(1).columns["action"][:, 0].tolist() == [*range(6, 12)]


UNCOUNTED = [
    (lambda table: table.slice(0, 16), 2, f"{DATA_FILE}: holds 4 rows of episode 2; meta/episodes says 6"),
    (lambda table: pa.concat_tables([table, table.slice(3, 1)]), 0, "holds 7 rows of episode 0; meta/episodes says 6"),
    (column("episode_index", put(8, None)), 1, "holds 5 rows of episode 1"),
    (column("episode_index", put(8, 77)), 1, "holds 5 rows of episode 1"),
    (lambda table: table.slice(0, 0), 0, "holds 0 rows of episode 0"),
    (column("frame_index", put(8, 1)), 1, f"{DATA_FILE}: episode 1, column frame_index goes from 1 to 1"),
    (column("frame_index", put(11, 6)), 1, "episode 1, column frame_index goes from 4 to 6"),
    (column("frame_index", put(8, None)), 1, "episode 1, column frame_index goes from 1 to 3"),
    (column("frame_index", lambda v: ["x"] * len(v)), 1, "column frame_index holds string and must hold numbers"),
    (column("episode_index", lambda v: ["x"] * len(v)), 1, "column episode_index holds string and must hold numbers"),
    (without("episode_index"), 0, "'episode_index' is not in the columns of"),
]


@pytest.mark.parametrize("rows, episode, message", UNCOUNTED)
def test_rows_that_are_not_all_there_are_refused(folder, rows, episode, message):
    dataset = LeRobotDataset(folder(rows=rows))
    for read in (
        lambda: dataset.episode(episode),
        lambda: recorded_trajectory(dataset, episode, "observation.state"),
        lambda: dataset.frames(episode, "front", [0]),
    ):
        with pytest.raises(InputError, match=message) as refused:
            read()
        assert "\n" not in str(refused.value)


def test_columns_are_a_mapping_that_reads_only_what_is_asked_for(folder):
    rows = column("action", lambda values: [{"dx": value} for value in values])
    columns = LeRobotDataset(folder(rows=rows)).episode(1).columns
    assert "action" in columns and "actoin" not in columns and len(columns) == 7 == len(list(columns))
    assert columns["frame_index"].tolist() == [*range(6)]
    with pytest.raises(InputError, match="nearest: 'action'"):
        columns["actoin"]
    with pytest.raises(InputError, match="column action holds struct"):
        columns["action"]


def test_a_file_that_is_written_anew_is_read_anew(folder):
    path = folder()
    dataset = LeRobotDataset(path)
    before = dataset.episode(0).columns["action"]
    table = pq.read_table(path / DATA_FILE)
    pq.write_table(column("action", lambda values: [[-value[0] - 1] for value in values])(table), path / DATA_FILE)
    assert np.allclose(dataset.episode(0).columns["action"], -before - 1)


@pytest.mark.skipif(not CASES.is_dir(), reason="the sample files are not there")
@pytest.mark.parametrize("name", ["null_last_action", "large_list", "unsorted", "fewer_rows"])
def test_the_samples(name):
    plain, other = (LeRobotDataset(CASES / "lerobot-columns" / each) for each in ("plain", name))
    for i in range(3):
        want = recorded_trajectory(plain, i, "observation.state")
        if name == "fewer_rows" and i == 1:
            with pytest.raises(InputError, match="holds 35 rows of episode 1; meta/episodes says 40"):
                recorded_trajectory(other, i, "observation.state")
            continue
        assert np.array_equal(recorded_trajectory(other, i, "observation.state").values, want.values)
        valid = recorded_trajectory(other, i, "action").valid
        assert valid[:-1].all() and valid[-1] == (name != "null_last_action")
