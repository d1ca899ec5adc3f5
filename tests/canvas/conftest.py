import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel
from PIL import Image
from transformers import ByT5Tokenizer, UMT5Config, UMT5EncoderModel

from vgen.data.video import write_video


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    """A folder of small media: two images, a cut-out, two masks, clips of 9 and 17 frames."""
    folder = tmp_path_factory.mktemp("media")
    random = np.random.default_rng(0)
    for name in ("cat.png", "dog.png"):
        Image.fromarray(random.integers(0, 256, (32, 64, 3), np.uint8)).save(folder / name)
    cutout = np.full((32, 64, 4), 200, np.uint8)
    cutout[:, :32, 3] = 0
    cutout[:, 32:, 3] = 255
    Image.fromarray(cutout).save(folder / "cutout.png")
    Image.new("RGBA", (8, 8)).save(folder / "clear.png")
    Image.new("L", (8, 8)).save(folder / "black.png")
    left = np.zeros((16, 32), np.uint8)
    left[:, :16] = 255
    Image.fromarray(left).save(folder / "left.png")
    for frames in (9, 17):
        ramp = np.linspace(0, 250, frames).astype(np.uint8)
        video = np.broadcast_to(ramp[:, None, None, None], (frames, 32, 64, 3))
        write_video(folder / f"clip{frames}.mp4", np.ascontiguousarray(video), fps=15)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A Wan folder of diffusers with random weights: temporal stride 4, sizes are multiples of 16."""
    torch.manual_seed(0)
    vae = AutoencoderKLWan(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[True, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=8,
    )
    transformer = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=16,
        freq_dim=32,
        ffn_dim=32,
        num_layers=1,
        rope_max_seq_len=64,
    )
    text = UMT5Config(vocab_size=384, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    pipe = WanPipeline(
        ByT5Tokenizer(model_max_length=32),
        UMT5EncoderModel(text).eval(),
        vae,
        FlowMatchEulerDiscreteScheduler(),
        transformer,
    )
    folder = tmp_path_factory.mktemp("tiny")
    pipe.save_pretrained(folder)
    return folder
