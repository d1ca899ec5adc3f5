"""The CPU's name and memory; of GPUs, torch is asked."""

import re
from pathlib import Path

import torch

from vgen.device import device_name, memory_gb


def test_a_cpu_is_told_by_its_kind_and_by_the_most_that_the_process_held():
    assert device_name(torch.device("cpu")).endswith(" CPU")
    told = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    # a process that was started by a larger one has that one's size until its own is larger
    assert memory_gb(torch.device("cpu")) >= 0.95 * int(told[1]) * 1024 / 1e9


def test_a_gpu_is_asked_for_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 10**9 * (device.index == 1))
    gpu = torch.device("cuda", 1)
    assert (device_name(gpu), memory_gb(gpu)) == ("GPU 1", 3.0)
