"""Mixed precision: matrix products in bfloat16, where the machine computes in it."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch


def computes_bf16(device_type: str) -> bool:
    """Whether a device has instructions for bfloat16. A CPU with AVX2 alone has none; torch emulates them there, 40
    times slower than float32."""
    if device_type != "cpu":
        return True
    built: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch's
    return built and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def autocast(device_type: str, bf16: bool = True) -> AbstractContextManager[None]:
    """Matrix products in bfloat16 if wanted, over weights of any kind; in the weights' own where the device has no
    instructions for it."""
    return torch.autocast(device_type, torch.bfloat16, enabled=bf16 and computes_bf16(device_type))
