import json
import os
import subprocess
import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent


def test_two_ranks_share_the_work_and_resume_alike(recipe, tmp_path):
    path = recipe(steps=4, log_every=1, optimizer={"lr": 0.01})
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    paths = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        environment.pop(name, None)  # set where another test has trained in this process
    done = subprocess.run(
        [*command, str(HERE / "toy_ranks.py"), str(path), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for stage in (0, 2, 3):
        whole, broken = (tmp_path / f"{name}{stage}" for name in ("whole", "broken"))
        first, second = (torch.load(run / "model" / "toy.pt") for run in (whole, broken))
        assert all(torch.equal(first[name], second[name]) for name in first)
        logs = [[json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()] for run in (whole, broken)]
        assert [entry.get("loss") for entry in logs[0]] == [entry.get("loss") for entry in logs[1]]
        assert logs[0][-1]["rank"] == 0.5  # validation is the mean over both ranks
        assert json.loads((whole / "run.json").read_text())["samples"] == 4 * 4 * 2
