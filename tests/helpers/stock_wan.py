"""diffusers' own tiny Wan model, with attention that can be masked: what ours is compared with."""

import torch
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanAttnProcessor

TINY = {"num_attention_heads": 2, "attention_head_dim": 24, "in_channels": 4, "out_channels": 4, "num_layers": 3}
COMMON = {"text_dim": 24, "freq_dim": 32, "ffn_dim": 64}


def sharp_wan():
    """A stock model of random weights whose attention is sharp, so that a token too many shows."""
    model = WanTransformer3DModel(**TINY, **COMMON).eval()
    for name, parameter in model.named_parameters():
        if "norm_q" in name:
            torch.nn.init.constant_(parameter, 4.0)
        elif name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    return model


class Masked(WanAttnProcessor):
    """Wan's self-attention under a mask."""

    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def __call__(self, attn, tokens, text, _, rotation):
        return super().__call__(attn, tokens, text, self.mask, rotation)
