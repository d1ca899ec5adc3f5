"""The device that computes, as records and results speak of it: its name, and what is held of its memory."""

from __future__ import annotations

import platform
import re
import resource
from pathlib import Path

import torch

STATUS = Path("/proc/self/status")  # of Linux


def device_name(device: torch.device) -> str:
    """What a device is, such as "NVIDIA H100 80GB HBM3" or "x86_64 CPU"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"


def memory_gb(device: torch.device) -> float:
    """The largest memory this process has held so far, in GB of 10^9 bytes: of the GPU where the device is one."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    # Not ru_maxrss, where that can be helped: it is no less than the size of the process that started this one.
    told = re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text()) if STATUS.exists() else None
    kilobytes = int(told[1]) if told else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * 1024 / 1e9
