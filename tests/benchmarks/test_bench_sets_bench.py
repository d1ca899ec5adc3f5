"""Tests of benches as they lie in a folder: read whole, or refused in one line."""

import json

import numpy as np
import pytest
from bench_sets.bench import Bench

from vgen.canvas.spec import Canvas
from vgen.errors import InputError
from vgen.files import file_sha256
from vgen.media.video import read_video
from vgen.media.writing import write_video


def write_bench(folder, **changes):
    """A bench of one clip with two cases; changes go into its manifest."""
    (folder / "clips").mkdir(parents=True)
    video = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
    write_video(folder / "clips" / "0000.mp4", video, 15.0)
    patch = {"source": "clips/0000.mp4", "range": "4-4", "frame": 4}
    canvas = {"frames": 9, "size": "32x32", "fps": 15.0, "prompt": "a box", "patches": [patch]}
    case = {"name": "anyi2v/0000-4", "group": "AnyI2V", "kind": "middle", "canvas": canvas, "truth": "clips/0000.mp4"}
    unrelated = case | {"name": "anyi2v/unrelated-0000-4", "kind": "unrelated-middle", "truth": None}
    manifest = {
        "format": "vgen canvas bench",
        "version": 1,
        "settings": {"frames": 9, "size": "32x32", "fps": 15},
        "cases": [case, unrelated],
        "files": {"clips/0000.mp4": file_sha256(folder / "clips" / "0000.mp4")},
    }
    (folder / "bench.json").write_text(json.dumps(manifest | changes))
    return folder


def test_a_bench_is_read(tmp_path):
    folder = write_bench(tmp_path / "bench")
    bench = Bench.read(folder)
    assert (bench.fps, bench.frames, bench.size) == (15.0, 9, (32, 32))
    first, second = bench.cases
    assert (first.name, first.group, first.kind) == ("anyi2v/0000-4", "AnyI2V", "middle")
    assert first.canvas() == Canvas.from_dict(first.spec, base=folder)
    assert np.array_equal(first.truth(), read_video(folder / "clips" / "0000.mp4"))
    assert second.truth() is None
    assert bench.sha256 == file_sha256(folder / "bench.json")


def test_a_folder_without_a_bench_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no bench\.json; build one with: vgen bench build"):
        Bench.read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "not the manifest of a bench"),
        ({"version": 2}, "of version 2 and this vgen reads 1"),
        ({"settings": {}}, r"not whole \('frames'\)"),
        ({"cases": [{}]}, r"not whole \('name'\)"),
        ({"files": {"clips/0001.mp4": "0"}}, "clips/0001.mp4 is missing"),
        ({"files": {"clips/0000.mp4": "0"}}, "clips/0000.mp4 has changed since the bench was built"),
    ],
)
def test_what_is_not_whole_is_refused_in_one_line(tmp_path, changes, message):
    folder = write_bench(tmp_path / "bench", **changes)
    with pytest.raises(InputError, match=message) as caught:
        Bench.read(folder)
    assert "\n" not in str(caught.value)


def test_a_manifest_that_is_no_json_is_refused(tmp_path):
    (tmp_path / "bench.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        Bench.read(tmp_path)


def test_files_are_not_looked_at_where_that_is_not_asked_for(tmp_path):
    folder = write_bench(tmp_path / "bench", files={"clips/0000.mp4": "0"})
    assert len(Bench.read(folder, check_files=False).cases) == 2
