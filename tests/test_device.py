"""The CPU's name and memory; of GPUs, torch is asked."""

import re
import types
from pathlib import Path

import pytest
import torch

from vgen import device
from vgen.device import device_name, memory_gb


def test_a_cpu_is_told_by_its_kind_and_by_the_most_that_the_process_held(monkeypatch, tmp_path):
    assert device_name(torch.device("cpu")).endswith(" CPU")
    told = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    launcher = types.SimpleNamespace(ru_maxrss=10**12)  # of a process that was started by a larger one
    monkeypatch.setattr(device.resource, "getrusage", lambda who: launcher)
    assert memory_gb(torch.device("cpu")) == pytest.approx(int(told[1]) * 1024 / 1e9, rel=0.05)
    monkeypatch.setattr(device, "STATUS", tmp_path / "absent")
    assert memory_gb(torch.device("cpu")) == pytest.approx(1024e3)


def test_a_gpu_is_asked_for_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 10**9 * (device.index == 1))
    gpu = torch.device("cuda", 1)
    assert (device_name(gpu), memory_gb(gpu)) == ("GPU 1", 3.0)
