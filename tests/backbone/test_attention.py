import pytest
import torch
from diffusers.models.attention_dispatch import AttentionBackendName

from vgen.backbone.attention import attend


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 0.02)])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_that_is_written_out_is_that_of_the_kernel(dtype, tolerance, masked):
    source = torch.Generator().manual_seed(0)
    heads = tuple(torch.randn(2, 50, 4, 16, generator=source).to(dtype).requires_grad_() for _ in range(3))
    mask = torch.rand(2, 1, 1, 50, generator=source) > 0.3 if masked else None
    found = []
    for backend in (AttentionBackendName._NATIVE_MATH, AttentionBackendName.NATIVE):
        update = attend(heads, mask, backend)
        found.append([update, *torch.autograd.grad(update.square().sum(), heads)])
    for mine, its in zip(*found, strict=True):
        torch.testing.assert_close(mine, its, atol=tolerance * its.abs().max().item(), rtol=0)
