import os

# Before the libraries are imported, as they read these once. The tests are the same everywhere: on the CPU, offline,
# and with one thread, the fastest for models this small. Set CUDA_VISIBLE_DEVICES to try them on a GPU.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch


@pytest.fixture(autouse=True)
def same_everywhere():
    """One thread (a test may have changed it) and one seed for every test."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
