import json
import os
import subprocess
import sys
from pathlib import Path

import crash_test
import pytest

SCRIPT = Path(crash_test.__file__)


def test_killed_runs_end_as_an_unbroken_one(tmp_path):
    command = [sys.executable, str(SCRIPT), "--kills", "2", "--steps", "250", "--out", str(tmp_path)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    result = json.loads((tmp_path / "crash_test.json").read_text())
    assert (result["kills"], result["kills_in_a_save"] >= 1, result["differences"]) == (2, True, [])
    assert "none: losses, weights and checkpoint" in done.stdout


@pytest.fixture
def runs(tmp_path):
    """Two runs that have ended alike."""
    for name in ("whole", "broken"):
        checkpoint = tmp_path / name / "checkpoints" / "step-00000002"
        (tmp_path / name / "model").mkdir(parents=True)
        checkpoint.mkdir(parents=True)
        lines = [{"kind": "train", "step": step, "loss": step / 3} for step in (1, 2)]
        (tmp_path / name / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (tmp_path / name / "model" / "a.safetensors").write_bytes(b"weights")
        manifest = {"files": {"engine/a.pt": {"sha256": "1"}, "state.json": {"sha256": name}}}
        (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path / "broken", tmp_path / "whole"


def test_the_least_difference_is_found(runs):
    broken, whole = runs
    assert crash_test.differences(broken, whole) == []
    log = (broken / "log.jsonl").read_text()
    (broken / "log.jsonl").write_text(log.replace(str(2 / 3), str(2 / 3 + 2e-16)))
    assert crash_test.differences(broken, whole) == ["the losses of steps [2]"]
    (broken / "log.jsonl").write_text(log.splitlines(keepends=True)[0])
    assert crash_test.differences(broken, whole) == ["the steps in the log"]
    (broken / "log.jsonl").write_text(log)
    (broken / "model" / "a.safetensors").write_bytes(b"weightz")
    manifest = broken / "checkpoints" / "step-00000002" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"1"', '"2"'))
    assert crash_test.differences(broken, whole) == ["model/a.safetensors", "engine/a.pt of the last checkpoint"]


def test_a_torn_last_line_is_no_record(runs):
    broken, _ = runs
    with (broken / "log.jsonl").open("a") as log:
        log.write('{"kind": "train", "step": 3, "lo')
    assert crash_test.read_losses(broken) == [(1, 1 / 3), (2, 2 / 3)]
