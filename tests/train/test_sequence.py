"""Sequence parallelism through the loop: two groups of two ranks against a plain loop that has no ranks."""

import json
from pathlib import Path

import pytest
import torch
from launched import run_ranks
from omegaconf import OmegaConf
from sequence_ranks import VideoConfig, VideoObjective

from vgen.train.config import load_config
from vgen.train.loop import _mix
from vgen.train.objectives import OBJECTIVES
from vgen.train.optimizer import build_optimizer

STEPS = 4
RECIPE = {
    "run": "run",
    "steps": STEPS,
    "log_every": 1,
    "precision": "fp32",
    "ema_decay": 0,
    "gradient_clip": 0.5,
    "optimizer": {"lr": 0.01},
    "schedule": {"warmup_steps": 1, "floor": 1.0},
    "objective": {"name": "video"},
}


def plain_loop(config) -> list[tuple[float, float]]:
    """Loss and gradient norm of every step, of batches of two ranks at a time."""
    objective = VideoObjective(VideoConfig(), config.seed)
    optimizer = build_optimizer(objective, config.optimizer)
    curve = []
    for step in range(STEPS):
        losses = []
        for rank in range(2):
            torch.manual_seed(_mix(config.seed, step, rank))
            loss, _ = objective(objective.batch(step, rank, 2, 0.0))
            (loss.mean() / 2).backward()
            losses.append(loss.mean().item())
        norm = torch.nn.utils.clip_grad_norm_(objective.parameters(), config.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()
        curve.append((sum(losses) / 2, norm.item()))
    return curve


def test_four_ranks_in_two_sequence_groups_train_as_a_plain_loop_does(monkeypatch, tmp_path):
    monkeypatch.setitem(OBJECTIVES, "video", "sequence_ranks:VideoObjective")
    path = tmp_path / "video.yaml"
    OmegaConf.save(OmegaConf.create(RECIPE), path)
    run_ranks(4, Path(__file__).parents[1] / "helpers/sequence_ranks.py", path, tmp_path)
    expected = plain_loop(load_config(path))
    for stage in range(4):
        lines = (tmp_path / f"split{stage}" / "log.jsonl").read_text().splitlines()
        records = [record for record in map(json.loads, lines) if record["kind"] == "train"]
        assert [record["step"] for record in records] == list(range(1, STEPS + 1))
        for record, (loss, norm) in zip(records, expected, strict=True):
            assert record["loss"] == pytest.approx(loss, rel=1e-5), f"stage {stage}"
            assert record["grad_norm"] == pytest.approx(norm, rel=1e-4), f"stage {stage}"
        assert json.loads((tmp_path / f"split{stage}" / "run.json").read_text())["samples"] == STEPS * 2 * 2
