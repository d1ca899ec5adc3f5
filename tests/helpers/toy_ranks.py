"""Run by both ranks of test_ranks.py, per ZeRO stage: a whole run, one that a SIGTERM to one rank ends and its resume,
one that ends early for a single rank to go on, the resume of one that a single rank began, and one that a SIGTERM to
one rank ends in its validation, and its resume."""

import atexit
import sys
from pathlib import Path

from toy_objective import INTERRUPTIONS

from vgen.train import config, loop
from vgen.train.checkpoint.folder import checkpoints
from vgen.train.distributed import end_rank
from vgen.train.objectives import OBJECTIVES

OBJECTIVES["toy"] = "toy_objective:ToyObjective"
config.MAY_CHANGE += INTERRUPTIONS
recipe, folder, offload = sys.argv[1], Path(sys.argv[2]), f"deepspeed={sys.argv[3]}"
ranks = loop.start(1)


def train(name: str, *settings: str) -> None:
    loop.train(config.load_config(recipe, [f"run={folder / name}", *settings]))


for stage in range(4):
    zero, stop = f"zero_stage={stage}", [f"objective.stop_at={7 if ranks.rank == 1 else -1}"]
    train(f"whole{stage}", zero)
    train(f"broken{stage}", zero, *stop)
    found = [path.name for path in checkpoints(folder / f"broken{stage}")]
    assert found == ["step-00000008"], found
    ranks.barrier()
    train(f"broken{stage}", zero)
    train(f"to_one{stage}", zero, *stop)
    train(f"from_one{stage}", zero)
    validating = f"objective.stop_validating_at={1 if ranks.rank == 1 else -1}"
    train(f"validating{stage}", zero, "validate_minutes=0", validating)
    found = [path.name for path in checkpoints(folder / f"validating{stage}")]
    assert found == ["step-00000001"], found
    ranks.barrier()
    train(f"validating{stage}", zero)
for stage in (2, 3):
    train(f"offload{stage}", f"zero_stage={stage}", offload)
atexit.register((folder / f"ended{ranks.rank}").touch)
end_rank()
