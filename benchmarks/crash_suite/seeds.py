"""The tiny canvas that is trained: a data set of noise, a codec and a recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from omegaconf import OmegaConf

from vgen.data.cache.frames import EpisodeFrames, FrameCache

FRAMES, SIDE, CHANNELS = 12, 16, 4


def write_recipe(folder: Path, steps: int, zero: int) -> Path:
    """Writes a data set of noise, a codec and the recipe of a tiny canvas below `folder`."""

    def read(episode: int) -> EpisodeFrames:
        pixels = np.random.default_rng(episode).integers(0, 255, (FRAMES, SIDE, SIDE, 3), dtype=np.uint8)
        return EpisodeFrames(pixels, f"episode {episode}")

    FrameCache.write(folder / "cache", range(6), [FRAMES] * 6, read, (SIDE, SIDE), 10.0)
    torch.manual_seed(0)
    AutoencoderKLWan(
        base_dim=8, z_dim=CHANNELS, dim_mult=[1, 1, 1], num_res_blocks=1, temperal_downsample=[True, True],
        is_residual=True, patch_size=2, in_channels=12, out_channels=12, scale_factor_spatial=8,
        latents_mean=[0.0] * CHANNELS, latents_std=[1.0] * CHANNELS,
    ).save_pretrained(folder / "vae")  # fmt: skip
    recipe = {
        "steps": steps, "log_every": 1, "zero_stage": zero, "ema_decay": 0.9, "checkpoint_minutes": 0.01, "keep": 2,
        "optimizer": {"lr": 1e-3}, "schedule": {"warmup_steps": 10},
        "objective": {
            "name": "canvas", "data": {"cache": str(folder / "cache"), "held_out": 0.2}, "codec": str(folder / "vae"),
            "latents": str(folder / "latents"), "latent_workers": 1, "frames": 9, "batch": 2, "validation_clips": 2,
            "text_length": 32,
            "transformer": {
                "num_attention_heads": 2, "attention_head_dim": 12, "freq_dim": 32, "ffn_dim": 32, "num_layers": 2,
                "rope_max_seq_len": 64,
            },
            "text_encoder": {
                "vocab_size": 384, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2,
            },
        },
    }  # fmt: skip
    path = folder / "recipe.yaml"
    OmegaConf.save(OmegaConf.create({"run": "???", **recipe}), path)
    return path


def write_tuning(folder: Path, recipe: Path, model: Path) -> Path:
    """Writes a recipe that goes on from a trained model with all that a run can write: cached captions, samples and
    models that are kept."""
    spec = {"frames": 5, "size": f"{SIDE}x{SIDE}", "prompt": "noise", "patches": []}
    OmegaConf.save(OmegaConf.create(spec), folder / "noise.yaml")
    tuning = OmegaConf.load(recipe)
    for begun in ("codec", "transformer", "text_encoder"):
        del tuning.objective[begun]
    tuning.objective.pretrained = str(model)
    tuning.keep_exports = 5
    tuning.samples = {"specs": [str(folder / "noise.yaml")], "every_steps": 5, "steps": 1}
    OmegaConf.save(tuning, folder / "tuning.yaml")
    return folder / "tuning.yaml"
