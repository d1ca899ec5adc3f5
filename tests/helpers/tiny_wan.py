"""Tiny random models of Wan's formats, and clips to train them on, for tests."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler
from transformers import ByT5Tokenizer, UMT5Config, UMT5EncoderModel

from vgen.backbone.transformer import VideoTransformer
from vgen.canvas.pipeline import CanvasPipeline
from vgen.data.cache.frames import EpisodeFrames, FrameCache

TEXT = {"vocab_size": 384, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
TRANSFORMER = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "freq_dim": 32,
    "ffn_dim": 32,
    "num_layers": 2,
    "rope_max_seq_len": 64,
    "text_dim": 16,
    "in_channels": 4,
    "out_channels": 4,
}
CODEC = {"base_dim": 8, "z_dim": 4, "num_res_blocks": 1, "latents_mean": [0.0] * 4, "latents_std": [1.0] * 4}
WAN_21 = CODEC | {"dim_mult": [1, 1, 1, 1], "temperal_downsample": [False, True, True], "scale_factor_spatial": 8}
WAN_22 = WAN_21 | {"is_residual": True, "patch_size": 2, "in_channels": 12, "out_channels": 12}
WAN_22 |= {"scale_factor_spatial": 16}


def save_tiny_wan(folder: Path, codec: dict = WAN_21) -> Path:
    """A Wan text-to-video folder of diffusers, strides 4 x 8 x 8, or 4 x 16 x 16 of Wan 2.2."""
    torch.manual_seed(0)
    pipe = CanvasPipeline(
        ByT5Tokenizer(model_max_length=32),
        UMT5EncoderModel(UMT5Config(**TEXT)),
        AutoencoderKLWan(**codec),
        VideoTransformer(**TRANSFORMER),
        FlowMatchEulerDiscreteScheduler(shift=3.0),
        default_steps=2,
    )
    for name, parameter in pipe.transformer.named_parameters():  # which a Wan starts from zero
        if name.startswith("proj_out"):
            torch.nn.init.normal_(parameter, std=0.1)
    pipe.save_pretrained(folder)
    return folder


def save_clips(folder: Path, size: tuple[int, int], frames: int = 12, episodes: int = 4) -> Path:
    """A frame cache of noise, 15 frames per second."""

    def read(episode):
        pixels = np.random.default_rng(episode).integers(0, 255, (frames, *size, 3), dtype=np.uint8)
        return EpisodeFrames(pixels, f"episode {episode}")

    FrameCache.write(folder, range(episodes), [frames] * episodes, read, size, 15.0)
    return folder


class GivenRotation(torch.nn.Module):
    """Stands for the rotary embedding of a stock transformer: it gives a table that was made elsewhere."""

    def __init__(self, rotation):
        super().__init__()
        self.rotation = rotation

    def forward(self, _):
        return self.rotation
