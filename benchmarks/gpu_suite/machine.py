"""Which device and packages these are, and two ceilings: a bf16 matrix product and a copy in the device's memory."""

from __future__ import annotations

import torch
from bench_common.report import versions

from gpu_suite.task import Task, Tell
from gpu_suite.timing import seconds_of
from vgen.device import device_name

PACKAGES = ("torch", "triton", "diffusers", "transformers", "accelerate", "deepspeed", "numpy")
SIDE, COPIED = {False: 8192, True: 64}, {False: 2**31, True: 2**16}  # of a matrix; bytes


def run(task: Task, tell: Tell) -> None:
    """Tells "versions", "device", "matmul" and "copy"."""
    found = versions(PACKAGES)
    tell("versions", "  ".join(f"{name} {version}" for name, version in found.items()), **found)
    name, memory = device_name(torch.device(task.device)), 0.0
    if task.device == "cuda":
        memory = torch.cuda.get_device_properties(0).total_memory / 1e9
    tell("device", f"{name}, {memory:.1f} GB, CUDA {torch.version.cuda}", device=name, memory_gb=memory)
    side = SIDE[task.toy]
    left, right = (torch.randn(side, side, device=task.device).to(torch.bfloat16) for _ in range(2))
    seconds = seconds_of(lambda: left @ right, task.device, 10, warm_up=3)
    tflops = 2 * side**3 / seconds / 1e12
    tell("matmul", f"bf16 matrix product of {side}^3: {tflops:.4g} TFLOP/s", tflops=tflops)
    source = torch.empty(COPIED[task.toy], dtype=torch.uint8, device=task.device).fill_(1)
    copy = torch.empty_like(source)
    seconds = seconds_of(lambda: copy.copy_(source), task.device, 10, warm_up=3)
    speed = 2 * len(source) / seconds / 1e12
    tell("copy", f"copy, read and written bytes: {speed:.4g} TB/s", tb_per_s=speed)
