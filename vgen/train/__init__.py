"""Training: one loop, and objectives that own their inputs and losses."""

import os

import torch

if not torch.cuda.is_available():  # before anything imports deepspeed, which asks then
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
