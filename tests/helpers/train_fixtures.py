"""Recipes and runs of the toy objective."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf
from toy_objective import INTERRUPTIONS

from vgen.train import config
from vgen.train.config import load_config
from vgen.train.loop import train
from vgen.train.objectives import OBJECTIVES


@pytest.fixture
def recipe(monkeypatch, tmp_path):
    """Writes a recipe for the toy objective: recipe(steps=..., objective={...}) -> path."""
    monkeypatch.setitem(OBJECTIVES, "toy", "toy_objective:ToyObjective")
    monkeypatch.setattr(config, "MAY_CHANGE", config.MAY_CHANGE + INTERRUPTIONS)

    def write(objective: dict | None = None, **keys) -> Path:
        keys = {"run": str(tmp_path / "run"), "steps": 6, "log_every": 2, **keys}
        path = tmp_path / "recipe.yaml"
        OmegaConf.save(OmegaConf.create({**keys, "objective": {"name": "toy", **(objective or {})}}), path)
        return path

    return write


@pytest.fixture
def run(recipe):
    """Trains the toy objective: run(steps=..., objective={...}) -> the run folder."""
    return lambda **keys: train(load_config(recipe(**keys)))
