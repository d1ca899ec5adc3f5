"""Waves: their lengths, and that none is lost."""

import torch

from vgen.ego.fourier import fourier_features


def test_waves_are_sines_and_cosines_of_doubled_frequencies():
    made = fourier_features(torch.tensor([[0.5, 1.0]]), 2)
    angles = torch.tensor([0.25, 0.5, 0.5, 1.0]) * torch.pi  # both octaves of the first number, then of the second
    torch.testing.assert_close(made, torch.cat([angles.sin(), angles.cos()])[None])
