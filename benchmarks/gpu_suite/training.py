"""Training under DeepSpeed ZeRO, by vgen's own command: a small random model on noise, one stage of ZeRO a process.

Each run goes its whole way: data are encoded, steps taken, a checkpoint, a validation and the model written."""

from __future__ import annotations

import json
import math
import statistics
import tempfile
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from gpu_suite.task import Task, Tell
from vgen.data.cache.frames import EpisodeFrames, FrameCache
from vgen.models import component_folder, resolve
from vgen.train.config import load_config
from vgen.train.loop import train

TRANSFORMER = {
    False: {"num_attention_heads": 4, "attention_head_dim": 64, "ffn_dim": 1024, "num_layers": 8},
    True: {"num_attention_heads": 2, "attention_head_dim": 12, "ffn_dim": 32, "num_layers": 1},
}
TEXT = {"vocab_size": 384, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 2}
STEPS, BATCH = {False: 20, True: 3}, {False: 16, True: 2}
FRAMES, SIDE = {False: 17, True: 5}, {False: 128, True: 32}


def make_recipe(folder: Path, stage: int, toy: bool) -> Path:
    """A recipe of a random model on clips of noise, all of it below `folder`."""
    frames, side, batch = FRAMES[toy], SIDE[toy], BATCH[toy]

    def noise(episode: int) -> EpisodeFrames:
        pixels = np.random.default_rng(episode).integers(0, 256, (frames, side, side, 3), dtype=np.uint8)
        return EpisodeFrames(pixels, f"noise number {episode}")

    FrameCache.write(folder / "cache", range(batch + 2), [frames] * (batch + 2), noise, (side, side), 10.0)
    objective = {
        "name": "canvas",
        "codec": str(component_folder(resolve("nano"), "vae")),
        "transformer": TRANSFORMER[toy],
        "text_encoder": TEXT,
        "text_length": 32,
        "data": {"cache": str(folder / "cache")},
        "latents": str(folder / "latents"),
        "latent_workers": 1,
        "frames": frames,
        "batch": batch,
        "clips": batch,
        "validation_clips": 1,
    }
    run = {"run": str(folder / "run"), "steps": STEPS[toy], "log_every": 1, "zero_stage": stage, "precision": "bf16"}
    fast = {"schedule": {"warmup_steps": 5}, "optimizer": {"lr": 1e-3}}
    path = folder / "recipe.yaml"
    OmegaConf.save(OmegaConf.create({**run, **fast, "objective": objective}), path)
    return path


def run(task: Task, tell: Tell) -> None:
    """Tells the part, as "zero2": its losses, speed and memory."""
    stage = int(task.part.removeprefix("zero"))
    with tempfile.TemporaryDirectory(prefix="gpu_check") as name:
        folder = train(load_config(make_recipe(Path(name), stage, task.toy)))
        records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    taken = [record for record in records if record["kind"] == "train"]
    losses = [record["loss"] for record in taken]
    assert len(losses) == STEPS[task.toy], f"{len(losses)} steps of {STEPS[task.toy]} were taken"
    assert all(map(math.isfinite, losses)), f"a loss is not finite: {losses}"
    half = taken[len(taken) // 2 :]
    speed = statistics.median(record["samples_per_s"] for record in half) / BATCH[task.toy]
    memory = taken[-1]["memory_gb"]
    line = (
        f"ZeRO {stage}: {len(losses)} steps, loss {losses[0]:.4f} to {losses[-1]:.4f}, {speed:.3g} steps/s, "
        f"{memory:.2f} GB"
    )
    tell(task.part, line, losses=losses, steps_per_s=speed, memory_gb=memory)
