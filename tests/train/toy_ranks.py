"""Run by every rank of test_ranks.py, per ZeRO stage: a whole run, one that a SIGTERM to one rank ends, its resume."""

import sys
from pathlib import Path

from vgen.train import loop
from vgen.train.checkpoint import checkpoints
from vgen.train.config import load_config
from vgen.train.objectives import OBJECTIVES

OBJECTIVES["toy"] = "toy_objective:ToyObjective"
recipe, folder = sys.argv[1], Path(sys.argv[2])
ranks = loop.start(1)
stop = ["objective.stop_at=2"] if ranks.rank == 1 else []
for stage in (0, 2, 3):
    whole, broken = folder / f"whole{stage}", folder / f"broken{stage}"
    settings = [f"zero_stage={stage}", f"ema_decay={0.9 if stage < 3 else 0}"]
    loop.train(load_config(recipe, [*settings, f"run={whole}"]))
    loop.train(load_config(recipe, [*settings, f"run={broken}", *stop]))
    found = [path.name for path in checkpoints(broken)]
    assert found == ["step-00000003"], found
    ranks.barrier()
    loop.train(load_config(recipe, [*settings, f"run={broken}"]))
