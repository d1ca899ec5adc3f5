import numpy as np
import pytest
import torch

from vgen.metrics import copy_nearest, extend_edges, linear_blend


def given(batch=2, count=3, size=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(batch, count, 3, size, size, generator=generator) * 2 - 1
    return pixels, torch.ones(batch, count, 1, size, size)


def test_copy_takes_the_nearest_given_frame_and_the_earlier_on_a_tie():
    pixels, masks = given()
    video = copy_nearest(pixels, masks, torch.tensor([[0, 4, 9], [2, 3, 4]]), 10)
    sources = [[0, 0, 0, 1, 1, 1, 1, 2, 2, 2], [0, 0, 0, 1, 2, 2, 2, 2, 2, 2]]
    for sample, source in enumerate(sources):
        torch.testing.assert_close(video[sample], pixels[sample, source].transpose(0, 1))


def test_blend_agrees_with_numpy_interpolation():
    pixels, masks = given()
    frames = torch.tensor([[1, 4, 9], [2, 3, 10]])
    video = linear_blend(pixels, masks, frames, 13)
    for sample, channel, y, x in [(0, 0, 1, 2), (1, 2, 3, 0), (0, 1, 0, 0)]:
        expected = np.interp(np.arange(13), frames[sample].numpy(), pixels[sample, :, channel, y, x].numpy())
        np.testing.assert_allclose(video[sample, channel, :, y, x].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("baseline", [copy_nearest, linear_blend])
def test_order_of_the_given_frames_does_not_matter(baseline):
    pixels, masks = given()
    order = [2, 0, 1]
    frames = torch.tensor([[0, 4, 8], [1, 3, 8]])
    shuffled = baseline(pixels[:, order], masks[:, order], frames[:, order], 9)
    torch.testing.assert_close(shuffled, baseline(pixels, masks, frames, 9))


def test_each_pixel_draws_on_the_frames_that_give_it():
    pixels, masks = given(batch=1)
    masks[:, 1, :, :, :2] = 0
    masks[:, 2, :, 0, 0] = 0
    frames = torch.tensor([[0, 4, 8]])
    copy, blend = copy_nearest(pixels, masks, frames, 9), linear_blend(pixels, masks, frames, 9)
    torch.testing.assert_close(copy[0, :, 4, 1, 3], pixels[0, 1, :, 1, 3])
    torch.testing.assert_close(copy[0, :, 5, 1, 1], pixels[0, 2, :, 1, 1])
    torch.testing.assert_close(copy[0, :, 8, 0, 0], pixels[0, 0, :, 0, 0])
    torch.testing.assert_close(blend[0, :, 4, 1, 1], (pixels[0, 0, :, 1, 1] + pixels[0, 2, :, 1, 1]) / 2)
    torch.testing.assert_close(blend[0, :, 2, 1, 3], (pixels[0, 0, :, 1, 3] + pixels[0, 1, :, 1, 3]) / 2)


@pytest.mark.parametrize("baseline", [copy_nearest, linear_blend])
def test_a_pixel_that_is_never_given_takes_the_mean_colour_of_the_given_ones(baseline):
    pixels, masks = given(batch=1)
    masks[..., 1:3, 1:3] = 0
    frames = torch.tensor([[0, 4, 8]])
    video = baseline(pixels, masks, frames, 9)
    mean = np.array([pixels[0, :, c][masks[0, :, 0] > 0].mean() for c in range(3)])
    np.testing.assert_allclose(video[0, :, 5, 2, 1].numpy(), mean, atol=1e-6)
    pixels[..., 1:3, 1:3] = 1e3
    torch.testing.assert_close(baseline(pixels, masks, frames, 9), video)


@pytest.mark.parametrize("baseline", [copy_nearest, linear_blend])
def test_nothing_given_is_mid_grey(baseline):
    pixels, masks = given(batch=1)
    assert baseline(pixels, torch.zeros_like(masks), torch.tensor([[0, 4, 8]]), 9).abs().max() == 0


def test_edges_extend_to_the_nearest_known_pixel():
    video = torch.arange(2 * 3 * 2 * 5 * 6).float().view(2, 3, 2, 5, 6)
    known = torch.zeros(2, 1, 5, 6)
    known[0, 0, 1:3, 2:5] = 1
    filled = extend_edges(video, known)
    for (y, x), source in {(0, 0): (1, 2), (4, 3): (2, 3), (2, 5): (2, 4), (1, 3): (1, 3), (4, 5): (2, 4)}.items():
        torch.testing.assert_close(filled[0, :, :, y, x], video[0, :, :, source[0], source[1]])
    torch.testing.assert_close(filled[1], video[1])
