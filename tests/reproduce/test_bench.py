import json
import subprocess
from types import SimpleNamespace

from vgen.reproduce import bench
from vgen.reproduce.bench import measure, read_results
from vgen.reproduce.card import _behind
from vgen.reproduce.profile import Benchmarks


def test_what_is_not_over_in_time_or_fails_is_named_and_the_rest_is_kept(tmp_path, monkeypatch):
    asked = []

    def run(command, stdout, timeout, preexec_fn):
        asked.append((command[4:], timeout))
        if "--slow" in command:
            raise subprocess.TimeoutExpired(command, timeout)
        if "--bad" in command:
            return SimpleNamespace(returncode=2)
        (tmp_path / "bench" / "canvas.json").write_text(json.dumps({"tasks": {}}))
        stdout.write("the table")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(bench.subprocess, "run", run)
    plan = Benchmarks(0.1, {"canvas": "--split test", "canvas-unseen": "--slow", "ego": "--bad"})
    note = measure(plan, tmp_path, 90)
    assert note == "canvas-unseen: it was not over after 45 s; ego: it ended with exit code 2"
    assert [command[0] for command, _ in asked] == ["canvas", "canvas", "ego"] and asked[0][1] <= 30
    assert read_results(tmp_path) == {"canvas": ({"tasks": {}}, "the table")}
    asked.clear()
    assert measure(plan, tmp_path, 0) == "canvas-unseen: no time was left; ego: no time was left" and not asked


def test_damaged_results_are_told_and_measured_again(tmp_path, monkeypatch, caplog):
    file = tmp_path / "bench" / "canvas.json"
    file.parent.mkdir()
    file.write_text('{"tasks": {')
    assert read_results(tmp_path) == {}
    assert "canvas.json is damaged" in caplog.text

    def run(command, stdout, timeout, preexec_fn):
        file.write_text('{"tasks": {"loop": 1}}')
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(bench.subprocess, "run", run)
    assert measure(Benchmarks(0.1, {"canvas": ""}), tmp_path, 90) == ""
    assert read_results(tmp_path)["canvas"][0] == {"tasks": {"loop": 1}}


def test_tasks_in_which_a_baseline_is_as_good_are_told():
    def task(model, **baselines):
        return {"means": {"model": {"psnr_moving": model}} | {n: {"psnr_moving": v} for n, v in baselines.items()}}

    tasks = {"loop": task(15.0, copy=14.0, blend=15.0), "ends": task(16.0, copy=12.0), "hole": task(9.0, edges=12.0)}
    tasks |= {"still": task(None, copy=None), "alone": task(9.0)}
    assert _behind(tasks) == [("loop", 15.0, 15.0), ("hole", 9.0, 12.0)]
