"""Run by the four ranks of test_sequence.py: two sequence groups of two, through the loop, per ZeRO stage."""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from vgen.backbone.segments import condition, target
from vgen.backbone.transformer import VideoTransformer
from vgen.train.batch import Batch
from vgen.train.objectives import OBJECTIVES, Objective

TINY = {"attention_head_dim": 12, "in_channels": 4, "out_channels": 4, "text_dim": 8, "freq_dim": 16, "ffn_dim": 32}


@dataclass
class VideoConfig:
    name: str = "video"
    recompute: bool = False  # activations


@dataclass(frozen=True)
class VideoBatch(Batch):
    step: int
    latent: torch.Tensor
    given: torch.Tensor
    text: torch.Tensor


class VideoObjective(Objective):
    """Velocity matching on random latents with one condition; noise from torch's global generator."""

    Config = VideoConfig
    stop_at = -1  # step

    def __init__(self, config, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.transformer = VideoTransformer(num_attention_heads=2, num_layers=2, **TINY)
        if config.recompute:
            self.transformer.enable_gradient_checkpointing()

    def split_sequence(self, size):
        self.transformer.split_sequence(size)

    def batch(self, step, part, parts, progress):
        generator = torch.Generator().manual_seed(step * parts + part)
        given = (2, 4, 1, 2, 6) if step % 2 else (2, 4, 2, 4, 6)  # 3 tokens or 12, beside 18: an odd sum, an even one
        shapes = {"latent": (2, 4, 3, 4, 6), "given": given, "text": (2, 5, 8)}
        return VideoBatch(step, **{k: torch.randn(s, generator=generator) for k, s in shapes.items()})

    def forward(self, batch):
        if batch.step == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        latent, noise, time = batch.latent, torch.randn_like(batch.latent), torch.rand(2)
        share = time.view(-1, 1, 1, 1, 1)
        given = condition(batch.given, torch.full(batch.given.shape[:3:2], 0.5, dtype=torch.float64))
        noisy = target((1 - share) * latent + share * noise, time)
        (velocity,) = self.transformer([given, noisy], batch.text)
        return (velocity - (noise - latent)).square().flatten(1).mean(1), {}

    def export(self, folder):
        folder.mkdir()


def main(recipe: str, folder: Path) -> None:
    from vgen.train import loop
    from vgen.train.config import load_config

    OBJECTIVES["video"] = "__main__:VideoObjective"
    ranks = loop.start(1)
    for stage in range(4):
        settings = [f"zero_stage={stage}", "sequence_parallel_size=2", f"run={folder / f'split{stage}'}"]
        config = load_config(recipe, [*settings, f"objective.recompute={stage % 2 == 1}"])
        if stage in (0, 3):  # ended early by a signal to one rank, and gone on with
            VideoObjective.stop_at = 1 if ranks.rank == 3 else -1
            loop.train(config)
            VideoObjective.stop_at = -1
        loop.train(config)


if __name__ == "__main__":
    from vgen.train.distributed import end_rank

    main(sys.argv[1], Path(sys.argv[2]))
    end_rank()
