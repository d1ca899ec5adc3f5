import json
import math
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot_folders import write_plain
from omegaconf import OmegaConf
from tiny_wan import save_tiny_wan

from vgen.data.buckets import Bucket
from vgen.errors import InputError
from vgen.media.writing import write_video
from vgen.train.config import load_config
from vgen.train.dry_run import dry_run, offload_of, report
from vgen.train.loop import train
from vgen.train.memory import parameters
from vgen.train.objectives.canvas import CanvasConfig, CanvasObjective

WAN_14B = {"num_attention_heads": 40, "attention_head_dim": 128, "num_layers": 40, "ffn_dim": 13824}


@pytest.fixture
def wan(tmp_path):
    return save_tiny_wan(tmp_path / "wan")


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for number, (height, width, frames) in enumerate([(32, 64, 24)] * 6 + [(64, 32, 15), (32, 64, 3), (8, 16, 30)]):
        video = np.random.default_rng(number).integers(0, 255, (frames, height, width, 3), dtype=np.uint8)
        write_video(folder / f"{number}.mp4", video, 15)
        (folder / f"{number}.txt").write_text(f"video {number}")
    return folder


def recipe(tmp_path, **objective):
    keys = {"run": str(tmp_path / "run"), "steps": 40, "accumulation": 2, "zero_stage": 2}
    OmegaConf.save(OmegaConf.create({**keys, "objective": {"name": "canvas", **objective}}), tmp_path / "recipe.yaml")
    return tmp_path / "recipe.yaml"


def data(tmp_path, videos):
    return {"videos": str(videos), "cache": str(tmp_path / "cache"), "sizes": ["32x64", "64x32"], "held_out": 0.2}


def test_a_plan_agrees_with_the_run_that_it_plans(wan, videos, tmp_path):
    path = recipe(tmp_path, pretrained=str(wan), data=data(tmp_path, videos), frames=[5, 13], batch=2)
    config = load_config(path, [f"objective.latents={tmp_path / 'cache'}", "objective.latent_workers=1"])
    plan = dry_run(config, 4)
    assert [(line.bucket, line.clips) for line in plan.buckets] == [(Bucket(32, 64, 13), 5), (Bucket(64, 32, 13), 1)]
    assert plan.clips_per_step == 2 * 2 * 4 and plan.steps_per_epoch == 6 / 16
    assert plan.drops == {"too short for 5 frames": 1, "smaller than its size 32x64": 1} and plan.videos == 9

    objective = CanvasObjective(config.objective, 0)
    objective.prepare()
    assert objective.canvases.sets[0].train.buckets == [line.bucket for line in plan.buckets]
    assert objective.canvases.sets[0].train.counts == [line.clips for line in plan.buckets]
    assert plan.outline.parts.keys() == {"transformer", "vae"}
    assert parameters(plan.outline.parts["transformer"]) == parameters(objective.transformer)
    assert parameters(plan.outline.parts["vae"]) == parameters(objective.vae)
    latent = objective.batch(0, 0, 1, 0.0).latent
    line = next(line for line in plan.buckets if line.bucket.size == tuple(8 * side for side in latent.shape[-2:]))
    assert line.tokens.target == math.prod(latent.shape[2:]) // 4
    text = "\n".join(report(plan, config))
    assert "32x64x13" in text and "dropped: 1 too short" in text and "6 clips, 0.4 steps, 106.7 epochs" in text


def test_a_lora_trains_little_and_a_missing_data_set_is_no_stop(wan, tmp_path):
    absent = data(tmp_path, tmp_path / "absent")
    plan = dry_run(load_config(recipe(tmp_path, pretrained=str(wan), data=absent, lora={"rank": 2})), 1)
    trained, frozen = parameters(plan.outline.parts["transformer"])
    assert 0 < trained < frozen and "is no folder" in plan.problem
    assert [line.bucket.size for line in plan.buckets] == [(32, 64), (64, 32)]


def test_wan_14b_is_planned_without_its_weights(wan, tmp_path):
    settings = json.loads((wan / "transformer" / "config.json").read_text())
    settings |= WAN_14B | {"in_channels": 16, "out_channels": 16, "text_dim": 4096, "freq_dim": 256}
    (wan / "transformer" / "config.json").write_text(json.dumps(settings))
    with torch.device("meta"):
        settings = CanvasConfig(pretrained=str(wan), frames=77, activation_checkpointing=True, batch=1)
        outline = CanvasObjective(settings, 0).outline()
    trained, _ = parameters(outline.parts["transformer"])
    assert trained == pytest.approx(14.29e9, rel=1e-3)
    assert all(p.is_meta for part in outline.parts.values() for p in part.parameters())
    tokens = outline.tokens(Bucket(384, 672, 77))
    assert tokens.target == 20 * 24 * 42 and outline.multiple == 16


def test_offload_is_read_from_the_deepspeed_json(tmp_path, wan):
    config = load_config(recipe(tmp_path, pretrained=str(wan)))
    assert offload_of(config) == "none"
    config.deepspeed = str(tmp_path / "offload.json")
    zero = {"offload_optimizer": {"device": "cpu"}}
    Path(config.deepspeed).write_text(json.dumps({"zero_optimization": zero}))
    assert offload_of(config) == "optimizer"
    Path(config.deepspeed).write_text(json.dumps({"zero_optimization": zero | {"offload_param": {"device": "cpu"}}}))
    assert offload_of(config) == "all"
    with pytest.raises(InputError, match=r"gpus=3 is not a multiple of sequence_parallel_size=2; nearest: 4"):
        dry_run(load_config(recipe(tmp_path, pretrained=str(wan)), ["sequence_parallel_size=2"]), 3)


def command(monkeypatch, path, *arguments):
    """Plans as the command does."""
    monkeypatch.setattr(sys, "argv", ["train.py", str(path), "--dry-run", *arguments])
    runpy.run_path(str(Path(__file__).parents[2] / "tools" / "train.py"), run_name="__main__")


def tree(folder):
    """All that is in a folder, with the times of its changes."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_the_command_prints_it_and_writes_nothing(wan, videos, tmp_path, monkeypatch, capsys):
    path = recipe(tmp_path, pretrained=str(wan), data=data(tmp_path, videos), frames=5)
    before = tree(tmp_path)
    command(monkeypatch, path, "--gpus", "8", "objective.batch=1")
    out = capsys.readouterr().out
    assert "memory per GPU of 8" in out and "1 clips x 2 accumulated x 8 GPUs" in out
    assert tree(tmp_path) == before


def test_a_lerobot_folder_is_planned_without_a_trace(wan, tmp_path, monkeypatch, capsys):
    made = write_plain(tmp_path / "set")
    folder = {"dataset": str(made), "camera": "front", "cache": str(tmp_path / "cache"), "held_out": 0.5}
    path = recipe(tmp_path, pretrained=str(wan), data=folder, frames=5)
    before = tree(tmp_path)
    command(monkeypatch, path)
    assert "data: 3 videos" in capsys.readouterr().out and tree(tmp_path) == before


REFUSED = {
    "two data sets": (["objective.data.dataset=set"], "data.dataset and data.videos: name one of the two"),
    "too many bad files": (["objective.data.max_bad_share=0.2"], "2 of 9 videos cannot be used, more than"),
    "no such folder": (["objective.data.videos=absent"], "is no folder"),
    "a missing spec": (["samples.specs=[absent.yaml]"], "absent.yaml"),
    "a LoRA of nothing": (["objective.pretrained=null", "objective.lora.rank=2"], "give one of the two"),
    "a factor of a frozen part": (["optimizer.factors.vae=2"], "'vae' is not in the trained parts of the objective"),
    "a clip to give": (["objective.conditions.clip_frames=[4]"], "objective.conditions.clip_frames: "),
}
REFUSED_LATER = {
    "another recipe": (["objective.batch=3"], "was begun with another recipe (objective.batch: 1 → 3)"),
    "other ranks": (["accumulation=5"], "ranks=1 x accumulation=5 makes steps of 5 batches"),
    "no whole checkpoint": ([], "is whole (step-00000001: state.json has "),
}


def test_what_the_run_refuses_is_refused_with_the_same_line(wan, videos, tmp_path, monkeypatch, capsys):
    for number in (0, 1):
        (videos / f"{number}.mp4").write_bytes(b"no video")
    given = data(tmp_path, videos) | {"max_bad_share": 0.3}
    path = recipe(tmp_path, pretrained=str(wan), data=given, frames=5, batch=1, latents=str(tmp_path / "cache"))
    settings = ["ema_decay=0", "objective.latent_workers=1"]

    def check(name, overrides, line):
        before = tree(tmp_path)
        with pytest.raises(SystemExit) as caught:
            command(monkeypatch, path, *settings, *overrides)
        planned = capsys.readouterr().err.splitlines()[-1]
        assert caught.value.code == 2 and tree(tmp_path) == before, name
        with pytest.raises(InputError) as refused:
            train(load_config(path, [*settings, *overrides]))
        assert line in str(refused.value) and planned == f"error: {refused.value}", name

    for name, case in REFUSED.items():
        check(name, *case)
    run = train(load_config(path, [*settings, "steps=1"]))
    for name, case in REFUSED_LATER.items():
        if name == "no whole checkpoint":
            state = run / "checkpoints" / "step-00000001" / "state.json"
            state.write_text(state.read_text().replace(' "samples": ', ' "samples": 1'))
        check(name, *case)
