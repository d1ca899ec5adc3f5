import os

# Before the libraries are imported, as they read these once. The tests are the same everywhere: on the CPU, offline,
# and with one thread, the fastest for models this small. Set CUDA_VISIBLE_DEVICES to try them on a GPU.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel
from diffusers.models.attention_dispatch import _AttentionBackendRegistry
from tiny_parts import TEXT, TRANSFORMER, tiny_codec
from transformers import ByT5Tokenizer, UMT5Config, UMT5EncoderModel

from vgen import notices
from vgen.backbone.codec import WanCodec

pytest_plugins = ["canvas_media", "ego_fixtures", "train_fixtures"]


@pytest.fixture(autouse=True)
def same_everywhere():
    """One thread (a test may have changed it), one seed, all warnings, and no test's attention kernel for the next."""
    notices.forget()
    torch.set_num_threads(1)
    torch.set_flush_denormal(False)
    torch.manual_seed(0)
    before = _AttentionBackendRegistry.get_active_backend()[0]
    yield
    _AttentionBackendRegistry.set_active_backend(before)  # a model that is given one gives it to all that have none


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A Wan folder of diffusers with random weights: temporal stride 4, sizes are multiples of 16."""
    vae = tiny_codec(is_residual=False)
    transformer = WanTransformer3DModel(**TRANSFORMER, in_channels=4, out_channels=4, text_dim=16)
    pipe = WanPipeline(
        ByT5Tokenizer(model_max_length=32),
        UMT5EncoderModel(UMT5Config(**TEXT)).eval(),
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
