import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from vgen.metrics import FrechetDistance, frechet_distance


def by_definition(one, other):
    means, covariances = zip(*[(f.mean(0), np.cov(f, rowvar=False)) for f in (one.numpy(), other.numpy())], strict=True)
    root = sqrtm(covariances[0] @ covariances[1]).real
    return np.sum((means[0] - means[1]) ** 2) + np.trace(covariances[0] + covariances[1] - 2 * root)


def test_the_distance_is_that_of_its_definition():
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    other = torch.randn(50, 6, generator=generator, dtype=torch.float64) @ torch.diag(torch.arange(1.0, 7).double()) + 1
    assert frechet_distance(one, other) == pytest.approx(by_definition(one, other), rel=1e-9)


def test_a_set_is_at_no_distance_from_itself_also_when_it_is_small():
    few = torch.randn(3, 20)
    assert frechet_distance(few, few.flip(0)) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(few, few + 2) == pytest.approx(80, rel=1e-6)


def test_batches_make_one_set():
    metric = FrechetDistance(lambda videos: videos.mean(dim=(2, 3, 4)))
    assert math.isnan(metric.compute())
    predictions, truths = torch.rand(2, 6, 3, 4, 5, 5)
    for part in (slice(0, 1), slice(1, 6)):
        metric.update(predictions[part], truths[part])
        if part.stop == 1:
            assert math.isnan(metric.compute())
    features = [videos.mean(dim=(2, 3, 4)) for videos in (predictions, truths)]
    assert metric.compute() == pytest.approx(frechet_distance(*features))
