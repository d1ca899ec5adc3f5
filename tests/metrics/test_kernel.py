import math

import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from vgen.metrics import kernel_distance


def features(count, shift=0.0, seed=0):
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def test_the_distance_is_that_of_the_kernel_inception_distance():
    one, other = features(12), features(12, 0.5, seed=1)
    assert kernel_distance(one, other) == pytest.approx(poly_mmd(one, other).item(), rel=1e-9)


def test_the_distance_does_not_depend_on_the_number_of_videos():
    of_few = [kernel_distance(features(4, seed=n), features(7, seed=1000 + n)) for n in range(300)]
    assert abs(sum(of_few) / len(of_few)) < 0.2  # the biased estimate would be above 2
    assert min(of_few) < 0
    assert kernel_distance(features(300), features(200, 1.0, seed=1)) > 1


def test_one_video_is_no_set():
    assert math.isnan(kernel_distance(features(1), features(5)))
