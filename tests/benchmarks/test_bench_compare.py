"""Two files of results, clip by clip."""

import json
import sys

import bench_compare
import numpy as np
import pytest
from bench_report.paired import compare

from vgen.errors import InputError


def canvas(values, clips=4, data="data/metaworld"):
    """As `canvas_bench.py` writes them."""
    return {
        "settings": {"data": data, "split": "test"},
        "clips": [{"episode": number, "start": 3} for number in range(clips)],
        "tasks": {"one patch": {"per_clip": {"model": {"psnr_moving": list(values), "other": [None] * clips}}}},
    }


def ego(values, cases=("a", "b")):
    """As `ego_bench.py` writes them."""
    forward = {"8": {"cases": list(cases), "per_case": {"model": {"ssim": list(values)}}}}
    return {"settings": {"split": "test"}, "bodies": {"metaworld": {"forward": forward}}}


def test_means_and_interval_are_of_the_clips_that_both_have():
    (row,) = compare(canvas([10, 11, 12, None]), canvas([11, 13, 12, 40]))
    assert (row.section, row.measure, row.one, row.other) == ("one patch", "psnr_moving", 11, 12)
    assert row.apart.mean == 1 and row.apart.clips == 3 and not row.apart.is_sure
    rng = np.random.default_rng(0)
    before = rng.normal(size=200)
    (row,) = compare(canvas(before, 200), canvas(before + rng.normal(0.5, 1, 200), 200))
    half = 1.96 / 200**0.5  # of a normal mean
    assert row.apart.is_sure and row.apart.high - row.apart.low == pytest.approx(2 * half, rel=0.2)


def test_a_command_prints_both_benches(tmp_path, monkeypatch, capsys):
    for name, results in {"a": ego([0.5, 0.6]), "b": ego([0.7, 0.8])}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(results))
    monkeypatch.setattr(sys, "argv", ["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")])
    bench_compare.main()
    assert capsys.readouterr().out.splitlines()[:2] == [
        "metaworld after 8, 2 clips",
        "  ssim              0.550 ->    0.750   +0.200 [+0.200, +0.200] *",
    ]
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--out", "page.html"])
    with pytest.raises(InputError, match=r"--out page.html: two files are compared in text"):
        bench_compare.main()
    monkeypatch.setattr(sys, "argv", ["compare", str(tmp_path / "a.json"), str(tmp_path)])
    with pytest.raises(InputError, match="files of results are compared two at a time"):
        bench_compare.main()
    monkeypatch.setattr(sys, "argv", ["compare", str(tmp_path), str(tmp_path)])
    with pytest.raises(InputError, match="--out is missing"):
        bench_compare.main()
    (tmp_path / "b.json").write_text("{")
    monkeypatch.setattr(sys, "argv", ["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")])
    with pytest.raises(InputError, match=r"b.json cannot be read: Expecting property name"):
        bench_compare.main()
    (tmp_path / "b.json").write_text('{"bodies": {}}')
    with pytest.raises(InputError, match=r"b.json holds no results"):
        bench_compare.main()


def test_others_are_refused():
    with pytest.raises(InputError, match="one patch: the two are not of the same clips"):
        compare(canvas([1] * 4), canvas([1] * 4, data="data/adroit"))
    with pytest.raises(InputError, match="metaworld after 8: the two are not of the same clips"):
        compare(ego([1, 2]), ego([1, 2], ("a", "c")))
    with pytest.raises(InputError, match="no task and no horizon in common"):
        compare(ego([1, 2]), canvas([1] * 4))
