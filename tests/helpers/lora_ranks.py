"""Run by every rank of test_lora.py: a whole run of ZeRO 0, one of ZeRO 3, and one of ZeRO 3 that goes on half-way."""

import sys
from pathlib import Path

from vgen.train import loop
from vgen.train.config import load_config
from vgen.train.distributed import end_rank

recipe, folder = sys.argv[1], Path(sys.argv[2])
loop.start(1)
loop.train(load_config(recipe, [f"run={folder / 'whole0'}"]))
split = ["zero_stage=3", "objective.activation_checkpointing=true"]
split += [f"samples.specs=[{folder / 'text.yaml'}]", "samples.every_steps=2", "samples.steps=1"]
loop.train(load_config(recipe, [f"run={folder / 'whole3'}", *split]))
step = loop.Trainer._step


def stopped(trainer, batches):
    """Stops the run as SIGTERM after the second step does."""
    step(trainer, batches)
    trainer.stop.asked = trainer.progress.step == 2


loop.Trainer._step = stopped
loop.train(load_config(recipe, [f"run={folder / 'broken3'}", *split]))
loop.Trainer._step = step
loop.train(load_config(recipe, [f"run={folder / 'broken3'}", *split]))
end_rank()
