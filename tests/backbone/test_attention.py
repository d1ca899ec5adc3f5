import pytest
import torch
from diffusers.models.attention_dispatch import AttentionBackendName

from vgen.backbone import attention
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


@pytest.mark.parametrize("masked", [False, True])
def test_attention_of_many_tokens_keeps_no_scores(masked, monkeypatch):
    """A video of 49 frames would keep gigabytes of them in training."""
    heads = tuple(torch.randn(1, 30, 2, 16).requires_grad_() for _ in range(3))
    mask = torch.arange(30).expand(1, 1, 1, 30) % 3 > 0 if masked else None
    for most, kept in ((2 * 30 * 30, True), (2 * 30 * 30 - 1, False)):
        monkeypatch.setattr(attention, "MOST_SCORES", most)
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x, sizes=sizes: (sizes.append(x.numel()), x)[1], lambda x: x
        ):
            attend(heads, mask, AttentionBackendName._NATIVE_MATH)
        assert (max(sizes) >= 2 * 30 * 30) == kept
