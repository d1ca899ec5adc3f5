"""Keywords of tiny parts that recipes make anew: a codec, a transformer, a text encoder; and the codec itself."""

from typing import Any

import torch
from diffusers import AutoencoderKLWan

CODEC = {
    "base_dim": 8,
    "z_dim": 4,
    "dim_mult": [1, 1, 1],
    "num_res_blocks": 1,
    "temperal_downsample": [True, True],
    "is_residual": True,
    "patch_size": 2,
    "in_channels": 12,
    "out_channels": 12,
}
TRANSFORMER = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "freq_dim": 32,
    "ffn_dim": 32,
    "num_layers": 1,
    "rope_max_seq_len": 64,
}
TEXT = {"vocab_size": 384, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}


def tiny_codec(**changes: Any) -> AutoencoderKLWan:
    """A codec with random weights, the same ones each time: strides 4 x 8 x 8, latents as they are."""
    torch.manual_seed(0)
    plain = {"latents_mean": [0.0] * 4, "latents_std": [1.0] * 4, "scale_factor_spatial": 8}
    return AutoencoderKLWan(**CODEC | plain | changes)
