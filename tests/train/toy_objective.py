"""A tiny objective for tests of the loop: dropout and noise in the forward, and ways to be interrupted."""

import os
import signal
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from vgen.train.objectives import Objective


@dataclass
class ToyConfig:
    name: str = "toy"
    batch_size: int = 4
    crash_at: int = -1  # number of a batch
    stop_at: int = -1
    poison_at: int = -1
    frozen: bool = False  # of the first block


class ToyObjective(Objective):
    Config = ToyConfig

    def __init__(self, config, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.config, self.seed = config, seed
        self.blocks = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))
        self.head = nn.Linear(6, 3)
        self.blocks[0].requires_grad_(not config.frozen)

    def batch(self, index, rank, world, progress):
        draw = np.random.default_rng((self.seed, index, rank))
        x = torch.from_numpy(draw.standard_normal((self.config.batch_size, 6), dtype=np.float32))
        return {"x": x, "index": index}

    def forward(self, batch):
        if batch["index"] == self.config.crash_at:
            raise KeyboardInterrupt
        if batch["index"] == self.config.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        x = batch["x"]
        for block in self.blocks:
            x = x + nn.functional.dropout(block(x), 0.2)
        loss = (self.head(x) - batch["x"][:, :3] - 0.1 * torch.randn(len(x), 3)).square().mean(1)
        if batch["index"] == self.config.poison_at:
            loss = loss * float("nan")
        return loss, {"loss/low": loss[:1], "loss/none": loss[:0]}

    def validate(self, rank, world):
        return {"rank": float(rank)}

    def export(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.state_dict(), folder / "toy.pt")
