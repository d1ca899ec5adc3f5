import os

# Before the libraries are imported, as they read these once. The tests are the same everywhere: on the CPU, offline,
# and with one thread, the fastest for models this small. Set CUDA_VISIBLE_DEVICES to try them on a GPU.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel
from transformers import ByT5Tokenizer, UMT5Config, UMT5EncoderModel

from vgen import notices
from vgen.backbone.codec import WanCodec

pytest_plugins = ["canvas_media", "ego_fixtures", "train_fixtures"]


@pytest.fixture(autouse=True)
def same_everywhere():
    """One thread (a test may have changed it), one seed, and all warnings for every test."""
    notices.forget()
    torch.set_num_threads(1)
    torch.set_flush_denormal(False)
    torch.manual_seed(0)


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


@pytest.fixture(scope="session")
def codec(tiny_model):
    """The codec of `tiny_model`."""
    return WanCodec(AutoencoderKLWan.from_pretrained(tiny_model, subfolder="vae").eval())
