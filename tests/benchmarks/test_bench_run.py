"""Tests of runs of a bench: done once, whole or not at all, the same however they are shared out or broken off."""

import json
import re
from dataclasses import asdict

import numpy as np
import pytest
from bench_measures import available as measures_available
from bench_report.bootstrap import difference
from bench_report.compare import write_comparison
from bench_run.command import table
from bench_run.completion import Completer, Shares
from bench_run.run import run_bench
from bench_run.settings import BenchSettings
from bench_run.store import CASES, CaseRecord, CompletedCase, Store
from canvas_suite import judges
from tiny_wan import save_tiny_wan

from vgen.errors import InputError
from vgen.files import file_sha256
from vgen.media.writing import write_video

ABOUT = {"settings": {"steps": 2}, "versions": {"torch": "1"}}


@pytest.fixture(autouse=True)
def without_networks(monkeypatch):
    def missing(*_):
        raise InputError("the package x is not installed")

    for module in (measures_available, judges):
        monkeypatch.setattr(module, "StLpips", missing)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_wan(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Two clips with a case of each, and one without a truth."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "clips").mkdir()
    cases, files = [], {}
    for number in range(2):
        name = f"clips/000{number}.mp4"
        video = np.full((9, 32, 32, 3), 40, np.uint8)
        for frame in range(9):
            video[frame, 8:20, frame + 4 * number : frame + 10] = (220, 90, 30)
        write_video(folder / name, video, 15.0)
        patch = {"source": name, "range": "4-4", "frame": 4}
        canvas = {"frames": 9, "size": "32x32", "fps": 15.0, "prompt": "<a> box", "seed": number, "patches": [patch]}
        case = {"name": f"anyi2v/000{number}-4", "group": "AnyI2V", "kind": "middle", "canvas": canvas, "truth": name}
        cases.append(case)
        files[name] = file_sha256(folder / name)
    cases.append(case | {"name": "anyi2v/unrelated-4", "kind": "unrelated-middle", "truth": None})
    settings = {"frames": 9, "size": "32x32", "fps": 15}
    manifest = {"format": "vgen canvas bench", "version": 1, "settings": settings, "cases": cases, "files": files}
    (folder / "bench.json").write_text(json.dumps(manifest))
    return folder


def completed(name="anyi2v/0000-4"):
    record = CaseRecord(name, "AnyI2V", "middle", "c", True, "", [0.0], {"model": {"psnr": 9.0}}, {}, "0")
    return CompletedCase(record, np.zeros((3, 32, 32, 3), np.uint8), 15.0, {"model": np.ones(4, np.float32)})


def test_a_run_that_was_broken_off_goes_on_and_ends_as_one_that_was_not(tmp_path, model, bench, monkeypatch):
    settings = BenchSettings(model=str(model), steps=2)
    whole = run_bench(bench, settings, tmp_path / "whole", workers=1)
    real, count = Completer.complete, []

    def breaks(self, case):
        count.append(case.name)
        if len(count) == 2:
            raise KeyboardInterrupt
        return real(self, case)

    monkeypatch.setattr(Completer, "complete", breaks)
    with pytest.raises(KeyboardInterrupt):
        run_bench(bench, settings, tmp_path / "broken", workers=1)
    assert not (tmp_path / "broken" / "results.json").exists()
    (tmp_path / "broken" / CASES / "anyi2v" / ".x.json.0.part").write_text("{")
    run_bench(bench, settings, tmp_path / "broken", workers=1)
    assert len(count) == 4 and len(set(count)) == 3  # the one that was done is not done again
    one, other = ((tmp_path / name / "results.json").read_bytes() for name in ("whole", "broken"))
    assert one == other
    assert (tmp_path / "whole" / "index.html").read_bytes() == (tmp_path / "broken" / "index.html").read_bytes()
    assert not list((tmp_path / "broken").rglob("*.part*"))
    assert {"psnr", "given_psnr"} <= set(whole.data["groups"]["AnyI2V"]["means"]["model"])
    assert "psnr" not in whole.data["groups"]["AnyI2V"]["kinds"]["unrelated-middle"]["means"]["model"]
    assert "codec, video mode" in table(whole.data)
    page = (tmp_path / "whole" / "index.html").read_text()
    assert page.count('src="data:video/mp4;base64,') == 3 and page.count('src="data:image/jpeg;base64,') == 3
    assert "&lt;a&gt; box" in page and not re.search(r"(src|href)=\"(?!data:)", page)
    compared = write_comparison([tmp_path / "whole", tmp_path / "broken"], tmp_path / "page.html")
    assert compared["AnyI2V"]["psnr"][0].mean == 0 and not compared["AnyI2V"]["psnr"][0].is_sure
    with pytest.raises(InputError, match=r"holds results of other settings \(steps: 2, now 1\); use those"):
        run_bench(bench, BenchSettings(model=str(model), steps=1), tmp_path / "whole", workers=1)


def test_every_case_is_dealt_to_one_worker(monkeypatch, tmp_path):
    done = []
    monkeypatch.setattr(
        Completer, "load", classmethod(lambda *_: type("C", (), {"complete": lambda self, case: case})())
    )
    store = type("S", (), {"keep": lambda self, case: done.append(case)})()
    for worker in range(3):
        Shares(tuple("abcdefg"), BenchSettings(), store)(
            worker, 3, __import__("torch").device("cpu"), lambda more: None
        )
    assert sorted(done) == list("abcdefg")


def test_a_case_without_its_record_is_not_done(tmp_path):
    store = Store(tmp_path)
    store.keep(completed())
    assert store.is_done("anyi2v/0000-4", features=True)
    assert asdict(store.record("anyi2v/0000-4")) == asdict(completed().record)
    assert store.features("anyi2v/0000-4")["model"].tolist() == [1, 1, 1, 1]
    store.path(CASES, "anyi2v/0000-4", ".json").unlink()
    assert not store.is_done("anyi2v/0000-4")
    with pytest.raises(InputError, match="has no name that a file can have"):
        store.path(CASES, "../x", ".json")


def test_a_folder_is_one_runs_at_a_time_and_of_one_setting(tmp_path):
    store = Store(tmp_path / "out")
    with store.claimed(ABOUT):
        store.keep(completed())
        with pytest.raises(InputError, match="in use by another run"), store.claimed(ABOUT):
            pass
    with store.claimed(ABOUT | {"versions": {"torch": "2"}}) as changed:
        assert changed == ["torch: '1', now '2'"] or changed == ["torch: 1, now 2"]
    with pytest.raises(InputError, match="steps: 2, now 3"), store.claimed({"settings": {"steps": 3}}):
        pass
    with store.claimed({"settings": {"steps": 3}}, overwrite=True):
        assert not store.is_done("anyi2v/0000-4")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.txt").write_text("mine")
    with (
        pytest.raises(InputError, match=r"thesis\.txt, which is no part"),
        Store(tmp_path / "own").claimed(ABOUT, True),
    ):
        pass


def test_an_interval_draws_clips_and_not_cases():
    values = np.array([0.0, 2.0, 4.0, 6.0])
    clips = ["a", "b", "c", "d"]
    few = difference(np.zeros(4), values, clips)
    many = difference(np.zeros(400), np.repeat(values, 100), np.repeat(clips, 100).tolist())
    assert (few.mean, few.low, few.high) == (many.mean, many.low, many.high) and many.clips == 4
    every = [np.mean([a, b, c, d]) for a in values for b in values for c in values for d in values]
    assert [few.low, few.high] == pytest.approx(np.quantile(every, [0.025, 0.975]), abs=0.3)
    assert difference([1.0, 1.0], [2.0, 2.0], ["a", "b"]).is_sure
    assert not difference([1.0], [2.0], ["a"]).is_sure
