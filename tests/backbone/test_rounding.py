"""What rounds under autocast, beside the same in float32."""

import pytest
import torch
from diffusers.models.normalization import FP32LayerNorm
from tiny_parts import TRANSFORMER
from torch import nn

from vgen.backbone.attention import rotate
from vgen.backbone.rope import rotary_embedding
from vgen.backbone.rounding import RoundingNorm, gated, let_round, modulated, rounds
from vgen.backbone.segments import condition, target
from vgen.backbone.transformer import VideoTransformer


@pytest.fixture
def bf16():
    return lambda: torch.autocast("cpu", torch.bfloat16)


def test_only_half_precision_under_autocast_rounds(bf16):
    half = torch.zeros(1, dtype=torch.bfloat16)
    assert not rounds(half)
    with bf16():
        assert rounds(half) and not rounds(torch.zeros(1))


def test_norms_modulations_and_gates_are_those_of_float32(bf16):
    torch.manual_seed(0)
    tokens, update = torch.randn(2, 7, 16), torch.randn(2, 7, 16)
    scales, shifts, gates = ([torch.randn(2, 1, 16) for _ in range(2)] for _ in range(3))
    norm, plain = (FP32LayerNorm(16) for _ in range(2))
    nn.init.normal_(norm.weight)
    plain.load_state_dict(norm.state_dict())
    let_round(norm)
    assert torch.equal(norm(tokens), plain(tokens))
    parts = tokens.split([3, 4], 1)
    wanted_modulated = torch.cat([x * (1 + s) + h for x, s, h in zip(parts, scales, shifts, strict=True)], 1)
    gains = torch.cat([gate.expand(-1, n, -1) for gate, n in zip(gates, (3, 4), strict=True)], 1)
    with bf16():
        found = norm(tokens.bfloat16())
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), plain(tokens.bfloat16().float()), rtol=2e-2, atol=4e-2)
        found = modulated(tokens.bfloat16(), scales, shifts, [3, 4])
        torch.testing.assert_close(found.float(), wanted_modulated, rtol=3e-2, atol=6e-2)
        found = gated(tokens.bfloat16(), update.bfloat16(), gates, [3, 4])
        torch.testing.assert_close(found.float(), tokens + update * gains, rtol=3e-2, atol=6e-2)


def test_a_rounding_norm_has_the_weights_of_a_plain_one(bf16):
    torch.manual_seed(0)
    plain, rounding = nn.RMSNorm(16, eps=1e-6), RoundingNorm(16, eps=1e-6)
    nn.init.normal_(plain.weight)
    rounding.load_state_dict(plain.state_dict())
    x = torch.randn(3, 16)
    assert torch.equal(rounding(x), plain(x))
    with bf16():
        found = rounding(x.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), plain(x), rtol=3e-2, atol=3e-2)


def test_rotation_of_half_precision_is_that_of_float32_rounded():
    torch.manual_seed(0)
    heads = torch.randn(2, 12, 3, 16).bfloat16()
    rotation = rotary_embedding(torch.rand(2, 3, dtype=torch.float64) * 5, 2, 2, 16)
    wanted = rotate(heads.float(), rotation).bfloat16()
    torch.testing.assert_close(rotate(heads, rotation).float(), wanted.float(), rtol=1e-2, atol=1e-2)


def test_a_block_gives_nearly_the_same_velocity_and_gradients(bf16):
    torch.manual_seed(0)
    channels = 4
    model = VideoTransformer(**TRANSFORMER, in_channels=channels, out_channels=channels, text_dim=16)
    latent, known = torch.randn(2, channels, 3, 4, 4), torch.randn(2, channels, 2, 4, 4)
    places, text = torch.tensor([[0.0, 1.25]] * 2, dtype=torch.float64), torch.randn(2, 5, model.config.text_dim)
    results = []
    for rounding in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=rounding):
            (velocity,) = model([condition(known, places), target(latent, torch.tensor([0.2, 0.7]))], text)
        velocity.float().square().mean().backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        results.append((velocity.float().detach(), gradient))
    for wanted, found in zip(*results, strict=True):
        assert (found - wanted).norm() / wanted.norm() < 0.03
