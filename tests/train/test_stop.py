"""A run that is told to stop ends in order, says so, and goes on later."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from launched import OURS, ROOT
from toy_objective import ToyObjective, same, weights

from vgen.train.checkpoint.folder import checkpoints
from vgen.train.config import load_config
from vgen.train.loop import train
from vgen.train.stop import Stop, StopAsked


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_training_ends_it_with_a_checkpoint(recipe, run, tmp_path, monkeypatch, number):
    monkeypatch.setattr("toy_objective.signal.SIGTERM", number)
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    stop = Stop()
    folder = train(load_config(recipe(objective={"stop_at": 3})), stop)
    assert stop.report == "stopped at step 4 of 6; the same command goes on"
    assert [path.name for path in checkpoints(folder)] == ["step-00000004"]
    assert before == [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    stop = Stop()
    train(load_config(recipe()), stop)
    assert (stop.asked, stop.report) == (False, "")
    assert same(weights(folder), weights(run(run=str(tmp_path / "whole"))))


@pytest.mark.parametrize("last", [False, True])
def test_a_signal_in_a_validation_leaves_it_after_the_batch_at_hand(recipe, run, tmp_path, last):
    """It may take longer than a scheduler waits for the checkpoint."""
    stop, minutes = Stop(), 10 if last else 0
    folder = train(load_config(recipe(objective={"stop_validating_at": 1}, validate_minutes=minutes)), stop)
    at = 6 if last else 1
    assert stop.report == f"stopped at step {at} of 6; the same command goes on"
    assert [path.name for path in checkpoints(folder)] == [f"step-{at:08d}"]
    assert "validation" not in (folder / "log.jsonl").read_text() and not (folder / "model").exists()
    run(validate_minutes=minutes)
    assert "validation" in (folder / "log.jsonl").read_text()
    assert same(weights(folder), weights(run(run=str(tmp_path / "whole"))))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_preparing_ends_it_at_once(recipe, monkeypatch, number):
    done = []

    def prepare(self):
        try:
            for _ in range(100):
                done.append(1)
                if len(done) == 3:
                    os.kill(os.getpid(), number)
                time.sleep(0.01)
        except Exception as error:  # what decodes a clip may catch any
            raise AssertionError from error

    monkeypatch.setattr(ToyObjective, "prepare", prepare)
    stop = Stop()
    folder = train(load_config(recipe()), stop)
    assert stop.report == "stopped while preparing; what is prepared is kept, and the same command goes on"
    assert len(done) == 3
    assert not checkpoints(folder)
    assert not list(folder.glob("*lock*"))


def test_a_worker_that_a_signal_has_ended_counts_as_being_told(recipe, monkeypatch):
    """The signal reached the worker before this process."""

    def prepare(self):
        subprocess.Popen([sys.executable, "-c", f"import os, time; time.sleep(0.2); os.kill({os.getpid()}, 15)"])
        raise RuntimeError("a process was ended from outside")

    monkeypatch.setattr(ToyObjective, "prepare", prepare)
    monkeypatch.setattr("vgen.train.stop.SOON", 60.0)  # on a loaded machine the signal comes late
    stop = Stop()
    train(load_config(recipe()), stop)
    assert stop.report.startswith("stopped while preparing")


def test_an_error_in_preparation_is_still_one(run, monkeypatch):
    def prepare(self):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(ToyObjective, "prepare", prepare)
    monkeypatch.setattr("vgen.train.stop.SOON", 0.1)
    with pytest.raises(RuntimeError, match="out of memory"):
        run()


def test_a_second_ctrl_c_ends_at_once_but_an_echo_of_the_first_does_not(monkeypatch):
    stop = Stop()
    with stop.listening():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # as launchers repeat it
        assert stop.asked
        monkeypatch.setattr("vgen.train.stop.REPEAT", 0.0)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(StopAsked), stop.at_once():
            pass


def test_a_forked_process_ends_by_the_signal():
    stop = Stop()
    with stop.listening():
        child = os.fork()
        if not child:
            time.sleep(30)
            os._exit(1)
        time.sleep(0.1)
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
    assert not stop.asked


COMMAND = """
    import runpy, sys
    sys.path.insert(0, "tests/helpers")
    from vgen.train import config
    from vgen.train.objectives import OBJECTIVES
    OBJECTIVES["toy"] = "toy_objective:ToyObjective"
    config.MAY_CHANGE += ("objective.*_at",)
    runpy.run_path("tools/train.py", run_name="__main__")
"""


@pytest.fixture
def launch(recipe, tmp_path):
    """Starts launch/train_local.sh on the toy objective, in a process group of its own as a terminal does."""
    (tmp_path / "train.py").write_text(textwrap.dedent(COMMAND))
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/bash\n"
        f'[[ $2 != tools/train.py ]] || set -- "{tmp_path}/train.py" "${{@:3}}"\n'
        f'exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name not in OURS}
    environment |= {"PYTHON": str(python), "RANKS": "1", "DS_ACCELERATOR": "cpu"}

    def start(*settings):
        command = ["bash", "launch/train_local.sh", str(recipe(steps=100_000, checkpoint_minutes=100)), *settings]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **pipes)

    return start


def wait_for_steps(run):
    deadline = time.monotonic() + 300  # a loaded machine starts a rank in minutes
    while not (run / "log.jsonl").exists() or not (run / "log.jsonl").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_ctrl_c_through_the_local_launcher(launch, tmp_path):
    process = launch()
    wait_for_steps(tmp_path / "run")
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "stopped at step" in out and "of 100000; the same command goes on" in out and "done" not in out
    assert "told to stop" in err and "Traceback" not in err
    assert len(checkpoints(tmp_path / "run")) == 1
    assert not (tmp_path / "run" / "run.lock").exists()
