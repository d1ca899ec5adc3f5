import os
import subprocess
import sys
from pathlib import Path


def test_a_sequence_over_two_ranks_has_the_results_and_gradients_of_one_rank():
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        environment.pop(name, None)  # set where another test has trained in this process
    script = str(Path(__file__).parent / "parallel_ranks.py")
    done = subprocess.run([*command, script], env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
