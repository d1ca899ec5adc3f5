"""One run, one folder."""

import errno
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest
from launched import ROOT

from vgen import holder
from vgen.errors import InputError, RunStopped
from vgen.holder import Holder
from vgen.train.checkpoint import lock
from vgen.train.checkpoint.lock import RunLock


def leave(run, **changes):
    """A lock that another process has left, which differs from this one in some ways."""
    run.mkdir(exist_ok=True)
    (run / "run.lock").write_text(json.dumps(asdict(replace(Holder.here(), **changes))))


def test_a_run_holds_its_folder_and_gives_it_back(run, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "toy_objective.ToyObjective.prepare", lambda self: seen.append(lock.read_holder(tmp_path / "run/run.lock"))
    )
    folder = run()
    assert (seen[0].host, seen[0].pid) == (socket.gethostname(), os.getpid())
    with pytest.raises(KeyboardInterrupt):
        run(steps=9, objective={"crash_at": 7})
    assert not list(folder.glob("*run.lock*"))
    assert not list(folder.glob(".*"))


def test_a_second_run_is_refused_and_the_first_is_named(run, tmp_path):
    other = subprocess.Popen(["sleep", "100"])
    try:
        leave(tmp_path / "run", pid=other.pid, begun=holder._begun(other.pid))
        with pytest.raises(
            InputError, match=rf"run is in use by process {other.pid} on .* since .*another run="
        ) as caught:
            run()
        assert "\n" not in str(caught.value)
        assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.lock"]
        other.kill()  # not yet waited for: a zombie
        time.sleep(0.2)
        run()
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize(
    "changes",
    [{"pid": 2**22 - 1}, {"begun": "1"}, {"host": "elsewhere", "job": "77:0"}],
    ids=["dead", "another process with its pid", "the same job, started again"],
)
def test_the_lock_of_a_process_that_has_ended_is_taken_over_at_once(run, tmp_path, caplog, monkeypatch, changes):
    leave(tmp_path / "run", **changes)
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    began = time.monotonic()
    run()
    assert time.monotonic() - began < 10
    assert f"is left over from process {changes.get('pid', os.getpid())}" in caplog.text


def test_a_holder_elsewhere_is_watched(tmp_path, monkeypatch, caplog):
    """It lives as long as it gives signs of it; silent, it is dead. Its pid says nothing here."""
    monkeypatch.setattr(lock, "BEAT", 0.1)
    monkeypatch.setattr(lock, "SILENT", 0.8)
    run = tmp_path / "run"
    leave(run, host="elsewhere")
    alive = RunLock(run)
    alive._hold.mine = lock.read_holder(alive.path)
    import threading

    beat = threading.Thread(target=alive._live, daemon=True)
    beat.start()
    assert "in use by process" in RunLock(run).take()
    alive._over.set()
    beat.join()
    taker = RunLock(run)
    began = time.monotonic()
    assert taker.take() is None
    assert 0.3 < time.monotonic() - began < 5
    assert "waiting for a sign of life" in caplog.text
    assert lock.read_holder(taker.path) == taker.holder
    taker.release()
    assert list(run.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": "x"}'])
def test_a_lock_that_cannot_be_read_ends_with_its_silence(tmp_path, content):
    (tmp_path / "run.lock").write_text(content)
    os.utime(tmp_path / "run.lock", (0, 0))
    taker = RunLock(tmp_path)
    assert taker.take() is None
    taker.release()


def test_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    first = RunLock(tmp_path)
    assert first.take() is None
    assert "in use" in RunLock(tmp_path).take()
    first.release()
    assert list(tmp_path.iterdir()) == []


def test_only_one_of_many_gets_a_stale_lock(tmp_path):
    leave(tmp_path / "run", pid=2**22 - 1)
    code = (
        "import sys, time; from pathlib import Path; from vgen.train.checkpoint.lock import RunLock\n"
        "lock = RunLock(Path(sys.argv[1])); print('ready', flush=True); input()\n"
        "print(lock.take() is None, flush=True); time.sleep(3)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    takers = [subprocess.Popen(command, cwd=ROOT, text=True, **pipes) for _ in range(3)]
    assert [taker.stdout.readline() for taker in takers] == ["ready\n"] * 3
    for taker in takers:
        taker.stdin.write("\n")
        taker.stdin.flush()
    assert sorted(taker.communicate()[0] for taker in takers) == ["False\n", "False\n", "True\n"]


def test_a_run_that_has_lost_its_folder_writes_no_checkpoint(run, tmp_path, monkeypatch):
    monkeypatch.setattr("toy_objective.ToyObjective.data_summary", lambda self: "", raising=False)
    real = lock.RunLock.lost

    def taken(self):
        leave(tmp_path / "run", pid=1, host="elsewhere")
        return real(self)

    monkeypatch.setattr(lock.RunLock, "lost", taken)
    with pytest.raises(RunStopped, match="was taken over by process 1 on elsewhere"):
        run()
    assert not list((tmp_path / "run" / "checkpoints").glob("*"))
    assert (tmp_path / "run" / "run.lock").exists()  # the other one's


def test_a_refused_recipe_leaves_no_folder(run, tmp_path):
    with pytest.raises(InputError):
        run(samples={"specs": ["nowhere.yaml"]})
    assert not (tmp_path / "run").exists()
