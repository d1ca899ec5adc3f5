"""The command writes what it says, in the format that it read; all else it refuses in one line, with exit code 2."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from trajectory_samples import sample

from vgen.trajectory.convert import to_delta
from vgen.trajectory.edits import mirror, stop
from vgen.trajectory.files import TrajectoryFile, read_trajectory, write_trajectory
from vgen.trajectory.layouts import table

TOOL = Path(__file__).parents[2] / "tools" / "edit_trajectory.py"


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command: its exit code, and what it printed to either stream."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, arguments)])
        code = 0
        try:
            runpy.run_path(str(TOOL), run_name="__main__")
        except SystemExit as left:
            code = left.code
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Holds one good trajectory in every format, and damaged ones."""
    monkeypatch.chdir(tmp_path)
    given = sample("position4", rows=20)
    write_trajectory("hand.npz", given)
    write_trajectory("hand.json", given)
    write_trajectory("keys.npz", sample("keypoints", rows=20))
    write_trajectory("steps.npz", to_delta(given))
    columns = {"timestamp": given.times, "episode_index": np.zeros(20, int), "observation.state": list(given.values)}
    pq.write_table(pa.table(columns), "hand.parquet")
    Path("empty.npz").touch()
    Path("text.npz").write_text("not a zip")
    np.savez("pickled.npz", values=np.array([[{}]], object), times=[0.0], layout="position4")
    for name, change in {
        "wide": {"values": np.zeros((3, 5))},
        "unsorted": {"times": [0.0, 2.0, 1.0]},
        "nan": {"values": np.full((3, 4), np.nan)},
        "unknown": {"layout": "position5"},
        "short": {"times": [0.0]},
    }.items():
        np.savez(f"{name}.npz", **{"values": np.zeros((3, 4)), "times": np.arange(3.0), "layout": "position4"} | change)
    np.savez("untimed.npz", values=np.zeros((3, 4)), layout="position4")
    np.savez("blank.npz", values=np.zeros((0, 4)), times=np.zeros(0), layout="position4")
    Path("words.json").write_text("hello")
    Path("list.json").write_text("[]")
    return tmp_path


@pytest.mark.parametrize("suffix", ["npz", "json", "parquet"])
def test_it_writes_the_format_that_it_reads(run, folder, suffix):
    extra = ["--layout", "position4"] if suffix == "parquet" else []
    edits = ["--edit", "mirror", "--edit", "stop@2.5"]
    code, out, err = run("--trajectory", f"hand.{suffix}", *edits, "--out", f"out.{suffix}", *extra)
    assert (code, err) == (0, "")
    assert "wrote out." in out and "20 rows of position4" in out
    made = read_trajectory(TrajectoryFile(Path(f"out.{suffix}")))
    wanted = stop(mirror(sample("position4", rows=20)), 2.5)
    np.testing.assert_allclose(made.values, wanted.values, atol=1e-6)
    np.testing.assert_array_equal(made.times, wanted.times)


def test_edits_apply_in_the_order_given(run, folder):
    first = ["--edit", "scale=2", "--edit", "redirect=0,0,0"]
    assert run("--trajectory", "hand.json", *first, "--out", "a.json")[0] == 0
    assert run("--trajectory", "hand.json", *first[2:], *first[:2], "--out", "b.json")[0] == 0
    ends = [json.loads(Path(name).read_text())["values"][-1][:3] for name in ("a.json", "b.json")]
    assert np.allclose(ends[0], 0, atol=1e-6) and not np.allclose(ends[1], 0, atol=1e-2)


def test_it_says_how_far_each_body_moved(run, folder):
    out = run("--trajectory", "keys.npz", "--edit", "shift=0,0.3,0.4:body=left", "--out", "out.npz")[1]
    assert "left: moved by at most 0.5, at the end by 0.5" in out
    assert "right: moved by at most 0, at the end by 0" in out


def test_it_prints_the_table(run):
    assert run("--layouts") == (0, table(), "")


GOOD = {"--trajectory": "hand.npz", "--edit": "mirror", "--out": "out.npz"}
BAD = [
    ({"--trajectory": "lost.npz"}, "lost.npz does not exist"),
    ({"--trajectory": "empty.npz"}, "is empty"),
    ({"--trajectory": "text.npz"}, "not an .npz file"),
    ({"--trajectory": "pickled.npz"}, "pickled"),
    ({"--trajectory": "wide.npz"}, "5 columns"),
    ({"--trajectory": "unsorted.npz"}, "times[2]=1"),
    ({"--trajectory": "nan.npz"}, "is nan"),
    ({"--trajectory": "unknown.npz"}, "nearest: 'position4'"),
    ({"--trajectory": "short.npz"}, "times has 1 entries for 3 rows"),
    ({"--trajectory": "untimed.npz"}, "has no times"),
    ({"--trajectory": "blank.npz"}, "no rows"),
    ({"--trajectory": "steps.npz"}, "the trajectory is delta"),
    ({"--trajectory": "words.json", "--out": "out.json"}, "not valid JSON"),
    ({"--trajectory": "list.json", "--out": "out.json"}, "holds a list"),
    ({"--trajectory": "hand.txt", "--out": "out.txt"}, "formats of trajectories"),
    ({"--trajectory": "."}, "format of the input"),
    ({"--trajectory": "hand.parquet", "--out": "out.parquet"}, "does not say the layout"),
    ({"--trajectory": "hand.parquet", "--out": "out.parquet", "--episode": 3, "--layout": "position4"}, "episode 3"),
    ({"--trajectory": "hand.parquet", "--out": "out.parquet", "--column": "action"}, "'action' is not in its columns"),
    ({"--trajectory": None}, "--trajectory is missing"),
    ({"--edit": None}, "--edit is missing"),
    ({"--out": None}, "--out is missing"),
    ({"--edit": "mirorr"}, "nearest: 'mirror'"),
    ({"--edit": "shift=1"}, "must be 3 finite numbers"),
    ({"--edit": "stop@99"}, "outside the trajectory"),
    ({"--edit": "mirror:body=left"}, "bodies of layout position4"),
    ({"--trajectory": "keys.npz", "--edit": "redirect=0,0,0"}, "say which goes to the point"),
    ({"--out": "out.json"}, "must have the format of the input, .npz"),
    ({"--out": "hand.npz"}, "hand.npz exists"),
    ({"--out": "no/out.npz"}, "No such file or directory"),
    ({"--layout": "pose7"}, "the layout is position4, not pose7"),
    ({"--episode": "two"}, "invalid int value"),
    ({"--outt": "x"}, "'--outt' is not in the options of vgen edit; nearest: '--out'"),
]


@pytest.mark.parametrize("change, named", BAD, ids=[named for _, named in BAD])
def test_bad_input_is_one_line_and_exit_code_2(run, folder, change, named):
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    options = {key: value for key, value in (GOOD | change).items() if value is not None}
    code, out, err = run(*[word for pair in options.items() for word in pair])
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1 and named in err
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before  # nothing made, nothing changed
