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


def test_completions_of_the_very_clips_are_not_nearer_than_those_of_others():
    """Features of wide tails, as those of I3D are: what a clip and its completion have in common counts nowhere."""
    wide = [features(8, seed=n) * torch.logspace(0, 1, 8, dtype=torch.float64)[:, None] for n in range(200)]
    names = [str(n) for n in range(8)]
    plain = [kernel_distance(each, each + 0.01) for each in wide]
    apart = [kernel_distance(each, each + 0.01, (names, names)) for each in wide]
    assert sum(plain) / len(plain) < -100  # far below that of a set and itself
    assert abs(sum(apart) / len(apart)) < 1


def test_several_completions_of_a_clip_count_beside_those_of_others_alone():
    one, other = features(6), features(3, seed=1)
    names = ["a", "a", "b", "b", "c", "c"], ["a", "b", "c"]
    kernel = lambda x, y: ((x @ y.T / 6 + 1) ** 3).tolist()  # noqa: E731
    means = []
    for x, xs, y, ys in (
        (one, names[0], one, names[0]),
        (other, names[1], other, names[1]),
        (one, names[0], other, names[1]),
    ):
        values = kernel(x, y)
        kept = [values[i][j] for i in range(len(xs)) for j in range(len(ys)) if xs[i] != ys[j]]
        means.append(sum(kept) / len(kept))
    assert kernel_distance(one, other, names) == pytest.approx(means[0] + means[1] - 2 * means[2])
