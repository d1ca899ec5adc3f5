"""The attention kernels that vgen knows: how far each is from float32, and how long it takes."""

from __future__ import annotations

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch import Tensor

from gpu_suite.task import Task, Tell, attempt
from gpu_suite.timing import forget_peak, peak_gb, seconds_of
from vgen.inference.settings import ATTENTIONS, attention_refusal

SHAPE = {False: (1, 20160, 12, 128), True: (1, 64, 2, 16)}  # B, L, heads, width: 77 frames of 384x672 in Wan 2.1 1.3B
COMPARED = 64  # every so manieth query
ALLOWED = 0.02  # relative error of bfloat16, which keeps 8 bits


def run(task: Task, tell: Tell) -> None:
    """Tells of each kernel "relative_error", "seconds", "tflops" and "memory_gb"."""
    shape = SHAPE[task.toy]
    torch.manual_seed(0)
    heads = [torch.randn(shape, device=task.device) for _ in range(3)]
    small = [x.to(torch.bfloat16) for x in heads]
    query, key, value = (x.float() for x in small)  # the same numbers, so that the error is the kernel's
    wanted = reference(query[:, ::COMPARED], key, value)
    del heads, query, key, value
    for kernel in ATTENTIONS:
        if refusal := attention_refusal(kernel):
            tell(kernel, f"{kernel} {refusal}", refused=refusal)
            continue
        forget_peak(task.device)
        with attempt(tell, kernel), torch.no_grad():
            found = dispatch_attention_fn(*small, backend=kernel)[:, ::COMPARED].float()
            error = float((found - wanted).norm() / wanted.norm())
            assert error < ALLOWED, f"relative error {error:.2g} to float32; {ALLOWED} is allowed"
            seconds = seconds_of(lambda kernel=kernel: dispatch_attention_fn(*small, backend=kernel), task.device, 5)
            _, length, count, width = shape
            tflops, memory = 4 * length**2 * count * width / seconds / 1e12, peak_gb(task.device)
            line = f"{kernel}: {1000 * seconds:.3g} ms, {tflops:.3g} TFLOP/s, error {error:.2g}, {memory:.2f} GB"
            tell(kernel, line, relative_error=error, seconds=seconds, tflops=tflops, memory_gb=memory)


def reference(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention as its formula says, float32 `[B, L, heads, width]`."""
    scores = torch.einsum("blhd,bkhd->bhlk", query, key) / query.shape[-1] ** 0.5
    return torch.einsum("bhlk,bkhd->blhd", scores.softmax(dim=-1), value)
