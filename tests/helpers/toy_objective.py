"""A tiny objective for tests of the loop: dropout and noise in the forward, and ways to be interrupted."""

import json
import os
import signal
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from vgen.train.batch import Batch
from vgen.train.checkpoint.manifest import MANIFEST, hash_file, walk, write_manifest
from vgen.train.objectives import Objective

INTERRUPTIONS = ("objective.*_at", "objective.poison*")  # keys that may change when a run goes on


@dataclass
class ToyConfig:
    name: str = "toy"
    batch_size: int = 4
    crash_at: int = -1  # number of a step
    stop_at: int = -1
    stop_validating_at: int = -1  # number of a batch of each validation
    poison_at: int = -100  # the first of some steps whose loss is multiplied
    poison_steps: int = 1
    poison: str = "nan"  # a number
    frozen: bool = False  # of the first block


@dataclass(frozen=True)
class ToyBatch(Batch):
    x: torch.Tensor  # [B, 6]
    step: int


class ToyObjective(Objective):
    Config = ToyConfig

    def __init__(self, config, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.config, self.seed = config, seed
        self.blocks = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))
        self.head = nn.Linear(6, 3)
        self.blocks[0].requires_grad_(not config.frozen)

    def batch(self, step, part, parts, progress):
        draw = np.random.default_rng((self.seed, step, part))
        x = torch.from_numpy(draw.standard_normal((self.config.batch_size, 6), dtype=np.float32))
        return ToyBatch(x, step)

    def tokens(self, batch):
        return 2 * len(batch.x)

    def forward(self, batch):
        if batch.step == self.config.crash_at:
            raise KeyboardInterrupt
        if batch.step == self.config.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        loss = self.error(batch.x, 0.1 * torch.randn(len(batch.x), 3))
        if self.config.poison_at <= batch.step < self.config.poison_at + self.config.poison_steps:
            loss = loss * float(self.config.poison)
        return loss, {"loss/low": loss[:1], "loss/none": loss[:0]}

    def error(self, x, noise):
        """The loss [B] of inputs [B, 6]."""
        y = x
        for block in self.blocks:
            y = y + nn.functional.dropout(block(y), 0.2, self.training)
        return (self.head(y) - x[:, :3] - noise).square().mean(1)

    @torch.no_grad()
    def validate(self, rank, world, after_batch):
        for number in range(3):
            if number == self.config.stop_validating_at:
                os.kill(os.getpid(), signal.SIGTERM)
            after_batch()
        return {"rank": float(rank), "error": float(self.error(torch.ones(1, 6), 0.0))}

    def export(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.state_dict(), folder / "toy.pt")


def reseal(checkpoint):
    """Gives a checkpoint that was changed the manifest that vgen would have written."""
    files = {name: hash_file(path) for name, path in walk(checkpoint) if name != MANIFEST}
    write_manifest(checkpoint, files, json.loads((checkpoint / "state.json").read_text())["fingerprint"])


def weights(run):
    """The weights that a toy run has exported."""
    return torch.load(run / "model" / "toy.pt")


def same(first, second):
    """Whether two sets of weights are the same bits."""
    return all(torch.equal(first[name], second[name]) for name in first)
