"""Optimisers and the learning rate."""

from __future__ import annotations

import math

import torch
from torch import nn

from vgen.train.config import OptimizerConfig, ScheduleConfig


def build_optimizer(module: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """AdamW over the trainable parameters; those of one dimension (biases, norms) do not decay."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.lr, betas=config.betas, fused=True)


def learning_rate_factor(step: int, progress: float, config: ScheduleConfig) -> float:
    """The share of the full learning rate at a step: linear warm-up over steps, then a cosine over `progress` in
    [0, 1] down to the floor. Where the run is so short that the warm-up is not over, the smaller of both counts."""
    warmup = min(1.0, (step + 1) / max(1, config.warmup_steps))
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return min(warmup, config.floor + (1 - config.floor) * cosine)


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Scales every group's own full rate (kept in the group when first seen); the first group's rate."""
    for group in optimizer.param_groups:
        group["lr"] = group.setdefault("full_lr", group["lr"]) * factor
    return optimizer.param_groups[0]["lr"]
