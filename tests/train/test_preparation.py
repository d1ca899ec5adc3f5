"""Preparing data on several ranks: in turns on a node, together on several, without any timeout."""

import runpy
import sys
from pathlib import Path

import pytest
from launched import run_ranks
from omegaconf import OmegaConf
from tiny_wan import save_clips, save_tiny_wan

from vgen.train.config import load_config
from vgen.train.distributed import Ranks
from vgen.train.loop import train
from vgen.train.preparation import prepare

HELPERS = Path(__file__).parents[1] / "helpers"


def test_ranks_wait_for_each_other_longer_than_any_connection_does(tmp_path: Path) -> None:
    run_ranks(2, HELPERS / "preparing_ranks.py", tmp_path)
    assert all((tmp_path / f"ended-{rank}").exists() for rank in range(2))
    (_, ended0), (begun1, ended1) = _times(tmp_path, "one")
    assert ended0 < begun1 and ended1 - begun1 < 1  # on a node, who comes second finds everything made
    (begun0, ended0), (begun1, ended1) = _times(tmp_path, "two")
    assert max(begun0, begun1) < min(ended0, ended1)  # several nodes are at it at the same time


def _times(folder: Path, name: str) -> list[list[float]]:
    return [[float(time) for time in (folder / f"{name}-{rank}").read_text().split()] for rank in range(2)]


def test_one_rank_prepares_alone() -> None:
    called = []

    class Quick:
        def prepare(self) -> None:
            called.append(self)

    prepare(Quick(), Ranks(0, 1, None))
    assert len(called) == 1


def test_a_run_may_end_with_its_preparation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    data = {"cache": str(save_clips(tmp_path / "frames", (16, 16)))}
    keys = {"pretrained": str(save_tiny_wan(tmp_path / "base")), "data": data, "latents": str(tmp_path / "latents")}
    small = {"frames": 5, "clips": 4, "validation_clips": 2, "batch": 1, "latent_workers": 1}
    recipe = {"run": str(tmp_path / "run"), "steps": 1, "objective": {"name": "canvas", **keys, **small}}
    OmegaConf.save(OmegaConf.create(recipe), tmp_path / "recipe.yaml")
    monkeypatch.setattr(sys, "argv", ["train.py", str(tmp_path / "recipe.yaml"), "--prepare"])
    runpy.run_path(str(HELPERS.parents[1] / "tools" / "train.py"), run_name="__main__")
    assert capsys.readouterr().out == f"prepared: {tmp_path / 'run'}\n"
    assert not {"checkpoints", "log.jsonl", "run.lock"} & {path.name for path in (tmp_path / "run").glob("*")}
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "latents").rglob("*.bin")}
    assert len(made) == 3  # trained and held-out clips, and texts
    train(load_config(tmp_path / "recipe.yaml"))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "latents").rglob("*.bin")} == made
