import json
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import crash_test
import pytest
from crash_suite.bench import CrashBench, CrashCase, Place
from crash_suite.compare import differences, read_losses
from crash_suite.damage import cut, flip, general, kinds
from crash_suite.disks import CannotMount, Filling, read_only, resize, small_disk
from crash_suite.life import End, Life

SCRIPT = Path(crash_test.__file__)
SILENT = "no line that says why"


def test_a_killed_run_ends_as_an_unbroken_one(tmp_path):
    command = [sys.executable, str(SCRIPT), "--kills", "1", "--steps", "60", "--out", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    (kills,) = json.loads((tmp_path / "crash_test.json").read_text())["kills"]
    assert (kills["kills"], kills["kills_in_a_save"], kills["differences"]) == (1, 1, [])
    assert "none: records, weights and checkpoint" in done.stdout


@pytest.mark.parametrize(
    ("end", "again", "faults"),
    [
        (End((0,), "done: run", ()), None, []),
        (End((0,), "stopped at step 1 of 2", ()), End((0,), "done: run", ()), []),
        (End((75,), "error: full", ()), End((0,), "done: run", ()), []),
        (End((1,), "", ("a traceback: x",)), End((0,), "done", ()), ["a traceback: x", "exit code 1", SILENT]),
        (End((2,), "error: x", ()), End((2,), "error: y", ()), ["the next start: 2 error: y"]),
    ],
)
def test_what_is_at_fault_with_a_case(runs, end, again, faults):
    bench = CrashBench.__new__(CrashBench)
    bench.ranks, bench.zero, bench.cases, bench.finish = 1, 0, [], lambda place: again
    broken, whole = (SimpleNamespace(run=run, folder=run) for run in runs)
    bench.whole = whole
    assert bench.note("disk", "a full disk", end, {0, 2, 75}, broken).faults == faults
    (runs[0] / "model" / "a.safetensors").write_bytes(b"weightz")
    (runs[0] / "model.part").touch()
    worse = bench.note("disk", "a full disk", end, {0, 2, 75}, broken).faults
    assert ("half written: model.part" in worse) == (again is not None)
    assert ("model/a.safetensors" in worse) == (again is None or again.codes == (0,))


def test_a_life_that_fails_is_told(tmp_path):
    """By its exit code and its line; a traceback is a fault."""
    with Life("train", ["absent.yaml", "run=x"], tmp_path / "output") as life:
        end = life.end()
    assert end.codes == (2,) and end.line.startswith("error: cannot read the recipe absent.yaml") and not end.faults
    (tmp_path / "output").write_text("")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("objective: {name: codec}\nsteps: 1\n")
    with Life("train", [str(recipe), f"run={tmp_path}"], tmp_path / "output") as life:
        life.kill()
        (tmp_path / "output").write_text("Traceback (most recent call last):\n  File\nKeyError: 'x'\n")
        assert life.end().faults == ("a traceback: KeyError: 'x'",)
        assert life.end().code == "-9"


@pytest.fixture
def runs(tmp_path):
    """Two runs that have ended alike."""
    for name in ("whole", "broken"):
        checkpoint = tmp_path / name / "checkpoints" / "step-00000002"
        (tmp_path / name / "model").mkdir(parents=True)
        checkpoint.mkdir(parents=True)
        lines = [{"kind": "train", "step": step, "loss": step / 3, "minutes": len(name)} for step in (1, 2)]
        (tmp_path / name / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (tmp_path / name / "model" / "a.safetensors").write_bytes(b"weights")
        manifest = {"files": {"engine/a.pt": {"sha256": "1"}, "state.json": {"sha256": name}}}
        (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path / "broken", tmp_path / "whole"


def test_the_least_difference_is_found(runs):
    broken, whole = runs
    assert differences(broken, whole) == []
    log = (broken / "log.jsonl").read_text()
    (broken / "log.jsonl").write_text(log.replace(str(2 / 3), str(2 / 3 + 2e-16)))
    assert differences(broken, whole) == ["the losses of steps [2]"]
    (broken / "log.jsonl").write_text(log.splitlines(keepends=True)[0])
    assert differences(broken, whole) == ["the steps in the log"]
    (broken / "log.jsonl").write_text(log + '{"kind": "validation", "step": 2, "loss": 1}\n')
    assert differences(broken, whole) == ["the records of the log"]
    (broken / "log.jsonl").write_text(log)
    (broken / "model" / "a.safetensors").write_bytes(b"weightz")
    manifest = broken / "checkpoints" / "step-00000002" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"1"', '"2"'))
    assert differences(broken, whole) == ["model/a.safetensors", "engine/a.pt of the last checkpoint"]


def test_a_torn_last_line_is_no_record(runs):
    broken, _ = runs
    with (broken / "log.jsonl").open("a") as log:
        log.write('{"kind": "train", "step": 3, "lo')
    assert read_losses(broken) == [(1, 1 / 3), (2, 2 / 3)]


def test_one_file_of_each_kind_is_damaged(runs):
    chance, content = random.Random(0), bytes(range(100))
    assert all(len(cut(content, chance)) < 100 for _ in range(9))
    assert sum((a ^ b).bit_count() for a, b in zip(content, flip(content, chance), strict=True)) == 1
    assert len(kinds(Place(runs[0].parent))) == 6  # of each run: its log, its weights and its manifest
    name = "cache/latents/16x16x9-0123456789ab/0123456789ab/rows.bin"
    assert general(name) == "cache/latents/16x16x9-H/H/rows.bin"
    assert general("run/checkpoints/step-00000007/average-000.safetensors").endswith("step-N/average-N.safetensors")


def test_disks_are_full_and_read_only(tmp_path):
    try:
        with small_disk(tmp_path / "disk") as disk:
            filling = Filling(disk)
            resize(disk, "size=8192")
            with pytest.raises(OSError, match="No space left"):
                (disk / "file").write_bytes(bytes(9000))
            assert filling.look()["size"] == 8192
        with read_only(tmp_path / "kept"), pytest.raises(OSError, match="Read-only"):
            (tmp_path / "kept" / "file").touch()
    except CannotMount as error:
        pytest.skip(str(error))


def test_cases_that_came_to_the_same_are_one_line_of_the_table():
    cases = [
        CrashCase("disk", "room for 1 bytes", "75", "error: /a/b/run cannot be written: full"),
        CrashCase("disk", "room for 2 bytes", "75", "error: /a/c/run cannot be written: full"),
        CrashCase("disk", "room for 3 bytes", "1", "", ["a traceback: KeyError"]),
        CrashCase("disk", "another", skipped="not root"),
    ]
    lines = list(crash_test.matrix_lines(cases))
    assert lines[1] == "disk, ranks 1, ZeRO 0: 3 cases, 1 at fault, 1 skipped"
    assert lines[2] == "  room for 1 bytes (and 1 like it)"
    assert lines[3:5] == ["      exit code 75  error: run cannot be written: full", "      the same bits in the end"]
    assert lines[7] == "      a traceback: KeyError"
    assert lines[-1] == "      skipped: not root"
