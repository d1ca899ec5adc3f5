"""Rotary positions: the backbone's own table at integers, an independent formula between them."""

import numpy as np
import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed

from vgen.backbone.rope import axes_widths, rotary_embedding
from vgen.backbone.shapes import temporal_position


@pytest.mark.parametrize("head", [24, 64, 128])
def test_at_integers_it_is_wans_table_exactly(head):
    stock = WanRotaryPosEmbed(head, (1, 2, 2), 64)
    cos, sin = stock(torch.zeros(1, 1, 21, 6, 10))
    got_cos, got_sin = rotary_embedding(torch.arange(21).double()[None], 3, 5, head)
    assert torch.equal(got_cos, cos) and torch.equal(got_sin, sin)


def test_between_integers_it_is_the_formula():
    head, theta = 128, 10000.0
    cos, sin = rotary_embedding(torch.tensor([[10.25]], dtype=torch.float64), 2, 3, head)
    widths = axes_widths(head)
    assert widths == (44, 42, 42)
    for token, (y, x) in enumerate((y, x) for y in range(2) for x in range(3)):
        angles = [
            position * theta ** (-np.arange(0, width, 2) / width)
            for position, width in zip((10.25, y, x), widths, strict=True)
        ]
        expected = np.repeat(np.concatenate(angles), 2)
        np.testing.assert_allclose(cos[0, token, 0], np.cos(expected), atol=1e-6)
        np.testing.assert_allclose(sin[0, token, 0], np.sin(expected), atol=1e-6)


def test_each_sample_has_its_own_positions():
    t = torch.tensor([[0.0, 1.0], [0.5, 3.25]], dtype=torch.float64)
    cos, _ = rotary_embedding(t, 2, 2, 24)
    for row in range(2):
        alone, _ = rotary_embedding(t[[row]], 2, 2, 24)
        assert torch.equal(cos[row], alone[0])
    assert cos.shape == (2, 8, 1, 24)


def test_positions_are_pixel_frames_over_the_stride():
    got = temporal_position(torch.tensor([0, 41, 2.5]), 4)
    assert got.tolist() == [0.0, 10.25, 0.625] and got.dtype == torch.float64
