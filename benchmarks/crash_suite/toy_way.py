"""A way to nano in seconds: the profile of a GPU, with toy data and tiny shapes."""

import shlex
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from vgen.data.lerobot.writer import LeRobotWriter

GPU = Path(__file__).parents[2] / "configs/train/nano/gpu.yaml"
CAMERA = "observation.images.first_person"
COLUMNS = {"observation.state": ["x", "y", "z", "gripper"]}
CODEC_BENCH = ["--split", "train", "--camera", "first_person", "--clips", "2", "--frames", "9", "--bf16"]
RATE, FRAMES, SIDE, EPISODES = 10, 24, 32, 6


def write_toy_data(folder: Path, split: str = "train") -> Path:
    """Six episodes of a square that follows a hand."""
    writer = LeRobotWriter(folder, RATE, COLUMNS, [CAMERA])
    for number in range(EPISODES):
        time = np.arange(FRAMES) / RATE
        x, y = 0.3 * np.sin(2 * time + number), 0.5 + 0.1 * np.cos(time)
        state = np.stack([x, y, 0.2 + 0.05 * np.cos(3 * time), time > 1], 1).astype(np.float32)
        video = np.full((FRAMES, SIDE, SIDE, 3), 20 * number + 60, np.uint8)
        for frame, left in enumerate(x):
            at = int(SIDE * (0.4 + left))
            video[frame, 8:20, at : at + 8] = (220, 40, 40)
        writer.add_episode({"observation.state": state}, {CAMERA: video}, f"push the square, way {number}")
    writer.finish()
    return folder


def write_toy_profile(folder: Path, seconds: float = 40) -> Path:
    """Writes toy data and the profile of a GPU made tiny; every stage ends after a few steps."""
    data = {"dataset": str(write_toy_data(folder / "data/toy")), "camera": "first_person", "held_out": 0.2}
    data["cache"] = str(folder / "cache")
    few = {"steps": 3, "log_every": 1, "checkpoint_minutes": 0.0001, "prefetch": 1, "schedule": {"warmup_steps": 1}}
    kept = {"latents": str(folder / "cache"), "latent_workers": 1}
    video = {
        **kept,
        "data": data,
        "more_data": [],
        "frames": 9,
        "batch": 2,
        "clips": 4,
        "validation_clips": 2,
        "compile": False,
    }
    body = {"data": data, "layout": "position4"}
    bench = {"canvas": None, "ego": None, "codec": shlex.join([*CODEC_BENCH, "--data", data["dataset"]])}
    tiny = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    profile = {
        "base": str(GPU), "minutes": seconds / 60, "root": str(folder / "data"),
        "data": dict.fromkeys(OmegaConf.load(GPU.with_name("data.yaml")).data),
        "codec": {"set": few | {"objective": {
            "data": data, "more_data": [], "perceptual": 0, "frames": 9, "clips_per_batch": 1, "images_per_batch": 2,
            "validation_clips": 1, "statistics_clips": 2,
            "model": {
                "base_dim": 8, "z_dim": 4, "dim_mult": [1, 1, 1], "patch_size": 2, "in_channels": 12,
                "out_channels": 12, "scale_factor_spatial": 8,
            },
        }}},
        "canvas": {"set": few | {"objective": video | {
            "transformer": {
                "num_attention_heads": 2, "attention_head_dim": 12, "freq_dim": 32, "ffn_dim": 32, "num_layers": 1,
                "rope_max_seq_len": 64,
            },
            "text_encoder": {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2},
        }}},
        "hand": {"set": few | {"objective": video | {
            "ego_batch": 2, "anchor_reach": 12, "adapter": {"width": 16, "heads": 2}, "bodies": [body],
        }}},
        "state": {"set": few | {"objective": kept | {
            "bodies": [body], "llama": tiny | {"num_key_value_heads": 2}, "batch": 2, "horizon": 8,
            "inverse_horizon": 4, "head_width": 16, "validation_windows": 2,
        }}},
        "bench": {"runs": bench},
        "export": {"specs": [str(folder / "noise.yaml")]},
    }  # fmt: skip
    OmegaConf.save(OmegaConf.create({"frames": 9, "size": "32x32", "patches": []}), folder / "noise.yaml")
    file = folder / "toy.yaml"
    OmegaConf.save(OmegaConf.create(profile), file)
    return file
