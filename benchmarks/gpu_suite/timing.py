"""Seconds and memory of what a device does."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import torch

from vgen.device import memory_gb


def now(device: str) -> float:
    """The time when the device has done all that it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds_of(call: Callable[[], object], device: str, repeats: int, warm_up: int = 1) -> float:
    """The mean seconds of a call, of `repeats` that follow each other; after some that do not count."""
    for _ in range(warm_up):
        call()
    began = now(device)
    for _ in range(repeats):
        call()
    return (now(device) - began) / repeats


def forget_peak(device: str) -> None:
    """From here on `peak_gb` counts anew; what nothing refers to is freed."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gb(device: str) -> float:
    """The most that tensors took since `forget_peak`, in GB; on a CPU, the process since its start."""
    return memory_gb(torch.device(device))
