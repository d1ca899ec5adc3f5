"""Scripts that several ranks run together, for tests of what only they can show."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_ranks(count: int, script: Path, *arguments: object) -> None:
    """Runs a script on `count` CPU ranks of one thread each, from the repository's folder; it must end well."""
    environment = {name: value for name, value in os.environ.items() if name not in OURS}
    paths = os.pathsep.join([str(ROOT / "tests" / "helpers"), str(ROOT)])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    done = subprocess.run(
        [*command, str(script), *map(str, arguments)],
        cwd=ROOT,
        env={**environment, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=850,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]


OURS = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"}
"""Set where another test has trained in this process."""
