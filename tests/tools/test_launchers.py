"""The launch scripts: their syntax, what they refuse, and the Slurm job, with stand-ins for Slurm and for training."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted([*ROOT.glob("launch/*.sh"), *ROOT.glob("launch/*.sbatch")])

SRUN = """#!/usr/bin/env bash
echo "$2" >"$FAKE/cpus"
shift 2 # --kill-on-bad-exit, --cpus-per-task
export SLURM_NTASKS=2
for task in 0 1; do
    SLURM_PROCID=$task SLURM_LOCALID=$task "$@" &
    echo $! >>"$FAKE/tasks"
done
wait -n && wait -n
"""
SCANCEL = """#!/usr/bin/env bash
echo "scancel $*" >>"$FAKE/calls"
kill -TERM $(cat "$FAKE/tasks")
"""
SCONTROL = """#!/usr/bin/env bash
echo "scontrol $*" >>"$FAKE/calls"
echo node-a
"""
TRAINER = """#!/usr/bin/env bash
echo "$RANK $LOCAL_RANK $WORLD_SIZE $MASTER_ADDR $MASTER_PORT $*" >"$FAKE/rank$RANK"
trap 'echo saved >>"$FAKE/rank$RANK"; exit 0' TERM
for ((tick = 0; tick < TICKS; tick++)); do sleep 0.1; done
"""


LAUNCHER = """#!/usr/bin/env bash
# Stands in for DeepSpeed's launcher, and for the two ranks that it starts.
if [[ $1 == -m ]]; then
    while [[ $1 != tools/train.py ]]; do shift; done
    for rank in 0 1; do "$0" -u tools/train.py --local_rank=$rank "${@:2}" & done
    wait
else
    trap 'echo saved >>"$FAKE/rank${3#*=}"; exit 0' TERM
    echo "$*" >"$FAKE/rank${3#*=}"
    for ((tick = 0; tick < 600; tick++)); do sleep 0.05; done
fi
"""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_syntax_of_every_script(script):
    subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.fixture
def job(tmp_path):
    """Starts the Slurm job: job(ticks) -> the process, whose training lasts so many tenths of a second."""
    for name, text in {"srun": SRUN, "scancel": SCANCEL, "scontrol": SCONTROL, "python": TRAINER}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_SUBMIT_DIR": str(ROOT), "SLURM_JOB_ID": "123456", "SLURM_JOB_NODELIST": "node-[a-b]"}
    slurm["SLURM_CPUS_PER_TASK"] = "8"
    own = {"FAKE": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON": str(tmp_path / "python")}

    def start(ticks, *arguments):
        environment = {**os.environ, **slurm, **own, "TICKS": str(ticks)}
        return subprocess.Popen(["bash", str(ROOT / "launch/slurm.sbatch"), *arguments], env=environment)

    return start


def test_slurm_tasks_are_ranks_and_a_finished_job_is_not_queued_again(job, tmp_path):
    assert job(1, "recipe.yaml", "steps=3", "objective.data.videos=my clips").wait(20) == 0
    place = "2 node-a 23456 tools/train.py recipe.yaml steps=3 objective.data.videos=my clips\n"
    assert [(tmp_path / f"rank{rank}").read_text() for rank in (0, 1)] == [f"0 0 {place}", f"1 1 {place}"]
    assert "requeue" not in (tmp_path / "calls").read_text()
    assert (tmp_path / "cpus").read_text() == "--cpus-per-task=8\n"  # which srun does not take over from sbatch


@pytest.mark.parametrize(("sent", "queued"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_slurm_tells_the_ranks_to_stop_and_queues_a_job_that_is_out_of_time(job, tmp_path, sent, queued):
    process = job(300, "recipe.yaml")
    deadline = time.monotonic() + 20
    while not all((tmp_path / f"rank{rank}").exists() for rank in (0, 1)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(sent)
    assert process.wait(20) == 0
    assert all("saved" in (tmp_path / f"rank{rank}").read_text() for rank in (0, 1))
    calls = (tmp_path / "calls").read_text().splitlines()
    assert "scancel --signal=TERM 123456" in calls
    assert ("scontrol requeue 123456" in calls) == queued


def test_a_job_whose_ranks_could_not_listen_yet_is_queued_again_and_one_that_failed_is_not(job, tmp_path):
    for status, queued in ((143, True), (1, False)):
        (tmp_path / "calls").unlink(missing_ok=True)
        (tmp_path / "tasks").unlink(missing_ok=True)
        (tmp_path / "python").write_text(TRAINER.replace("exit 0", f"exit {status}"))
        for rank in (0, 1):
            (tmp_path / f"rank{rank}").unlink(missing_ok=True)
        process = job(300, "recipe.yaml")
        deadline = time.monotonic() + 20
        while not all((tmp_path / f"rank{rank}").exists() for rank in (0, 1)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGUSR1)
        assert process.wait(20) == status
        assert ("requeue" in (tmp_path / "calls").read_text()) == queued


def test_a_recipe_and_a_hostfile_are_needed(job, tmp_path):
    assert job(1).wait(20) == 2
    for arguments, words in (([], "no recipe"), (["recipe.yaml"], "absent is missing")):
        environment = {**os.environ, "HOSTFILE": str(tmp_path / "absent")}
        command = ["bash", str(ROOT / "launch/train_multinode.sh"), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 2 and words in done.stderr


def test_two_local_ranks_refuse_a_wrong_recipe_in_one_line():
    done = subprocess.run(
        ["bash", "launch/train_local.sh", "configs/train/nano_codec.yaml", "precision=fp7"],
        cwd=ROOT,
        env={**os.environ, "PYTHON": sys.executable, "RANKS": "2"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "warn" not in line.lower()]
    assert line.startswith("error: precision=fp7 is not known")


def test_local_ranks_meet_at_a_port_that_no_other_program_can_get(tmp_path):
    """Not even before the first of them is there; what holds it ends with them."""
    (tmp_path / "rank.py").write_text(
        "import os, socket, torch.distributed as dist\n"
        "if os.environ['RANK'] == '0':\n"
        "    try:\n        socket.socket().bind(('127.0.0.1', int(os.environ['MASTER_PORT'])))\n"
        f"    except OSError:\n        open('{tmp_path}/taken', 'x')\n"
        "dist.init_process_group('gloo')\n"
        f"open(f'{tmp_path}/{{dist.get_rank()}} of {{dist.get_world_size()}}', 'x')\n"
        "dist.barrier()\n"
    )
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/bash\n[[ $2 != tools/train.py ]] || set -- "{tmp_path}/rank.py"\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    ours = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # of a training in this process
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        ["bash", "launch/train_local.sh", "recipe.yaml"],
        cwd=ROOT,
        env={**environment, "PYTHON": str(python), "RANKS": "2"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"python", "rank.py", "taken", "0 of 2", "1 of 2"}


def test_a_store_that_does_not_start_is_one_line(tmp_path):
    done = subprocess.run(
        ["bash", "launch/train_local.sh", "recipe.yaml"],
        cwd=ROOT,
        env={**os.environ, "PYTHON": "false", "RANKS": "2"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1 and done.stderr == "error: the store at which the ranks meet did not start\n"


def test_a_multinode_run_stops_its_own_ranks_and_no_others(tmp_path):
    (tmp_path / "hosts").write_text("node-a slots=2\n")
    runs, ranks = {}, {}
    for name in ("first", "second"):
        own = tmp_path / name
        own.mkdir()
        (own / "python").write_text(LAUNCHER)
        (own / "python").chmod(0o755)
        ranks[name] = [own / f"rank{rank}" for rank in (0, 1)]
        places = {"FAKE": own, "PYTHON": own / "python", "HOSTFILE": tmp_path / "hosts"}
        environment = os.environ | {name: str(place) for name, place in places.items()}
        command = ["bash", str(ROOT / "launch/train_multinode.sh"), "recipe.yaml", "steps=3"]
        runs[name] = subprocess.Popen(command, env=environment)
    deadline = time.monotonic() + 20
    while not all(rank.exists() and rank.read_text() for pair in ranks.values() for rank in pair):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    runs["first"].send_signal(signal.SIGTERM)
    assert runs["first"].wait(20) == 0
    assert all(rank.read_text().endswith("recipe.yaml steps=3\nsaved\n") for rank in ranks["first"])
    time.sleep(0.2)
    assert runs["second"].poll() is None and not any("saved" in rank.read_text() for rank in ranks["second"])
    runs["second"].send_signal(signal.SIGTERM)
    assert runs["second"].wait(20) == 0
    assert all("saved" in rank.read_text() for rank in ranks["second"])
