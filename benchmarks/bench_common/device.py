"""The device that computes: its name, and what it holds in memory."""

from __future__ import annotations

import platform
import resource

import torch


def device_name(device: torch.device) -> str:
    """The name of the device that computes."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"


def memory_gb(device: torch.device) -> float:
    """The largest memory held so far, in GB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
