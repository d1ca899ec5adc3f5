import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio

from vgen.metrics import PSNR_CAP, SampleMean, moving_pixels, psnr, psnr_curve, ssim


def videos(batch=2, frames=3, size=24, noise=0.3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(batch, 3, frames, size, size, generator=generator) * 2 - 1
    other = (truth + noise * torch.randn(truth.shape, generator=generator)).clamp(-1, 1)
    return other, truth


def test_psnr_agrees_with_skimage_on_each_video():
    prediction, truth = videos()
    expected = [
        peak_signal_noise_ratio(t.numpy(), p.numpy(), data_range=2) for p, t in zip(prediction, truth, strict=True)
    ]
    assert psnr(prediction, truth).numpy() == pytest.approx(expected, abs=1e-4)


def test_psnr_does_not_depend_on_whether_pixels_are_unit_or_bytes():
    prediction, truth = (((video + 1) * 127.5).round() for video in videos())
    expected = [
        peak_signal_noise_ratio(t.numpy().astype(np.uint8), p.numpy().astype(np.uint8))
        for p, t in zip(prediction, truth, strict=True)
    ]
    assert psnr(prediction / 127.5 - 1, truth / 127.5 - 1).numpy() == pytest.approx(expected, abs=1e-3)


def test_masked_psnr_looks_at_the_mask_alone():
    prediction, truth = videos()
    mask = torch.zeros(2, 1, 1, 24, 24)
    mask[..., 4:9, 10:20] = 1
    cut = (slice(None), slice(None), slice(4, 9), slice(10, 20))
    expected = [
        peak_signal_noise_ratio(t[cut].numpy(), p[cut].numpy(), data_range=2)
        for p, t in zip(prediction, truth, strict=True)
    ]
    assert psnr(prediction, truth, mask).numpy() == pytest.approx(expected, abs=1e-4)
    prediction[..., 0, 0] = 1
    assert psnr(prediction, truth, mask).numpy() == pytest.approx(expected, abs=1e-4)


def test_masks_may_differ_by_frame():
    prediction, truth = videos()
    mask = torch.zeros(2, 1, 3, 24, 24)
    mask[0, :, 1], mask[1, :, 2] = 1, 1
    expected = torch.stack(
        [psnr(prediction[i, None, :, j, None], truth[i, None, :, j, None])[0] for i, j in [(0, 1), (1, 2)]]
    )
    torch.testing.assert_close(psnr(prediction, truth, mask), expected)


def test_psnr_is_capped_when_equal_and_nan_without_pixels():
    prediction, truth = videos()
    assert psnr(truth, truth).tolist() == [PSNR_CAP, PSNR_CAP]
    empty = torch.zeros(2, 1, 1, 24, 24)
    empty[1] = 1
    values = psnr(prediction, truth, empty)
    assert math.isnan(values[0]) and not math.isnan(values[1])


def test_curve_is_the_psnr_of_each_frame_against_the_image():
    prediction, truth = videos()
    image = truth[:, :, 1]
    expected = [
        [peak_signal_noise_ratio(image[b].numpy(), prediction[b, :, j].numpy(), data_range=2) for j in range(3)]
        for b in range(2)
    ]
    np.testing.assert_allclose(psnr_curve(prediction, image).numpy(), expected, atol=1e-4)


def reference_ssim(prediction, truth):
    """Wang et al. 2004, equation 13, with a Gaussian window of 11 and edges mirrored, on one channel."""

    def smooth(image):
        return gaussian_filter(image, sigma=1.5, truncate=3.5, mode="mirror")

    mean_p, mean_t = smooth(prediction), smooth(truth)
    var_p, var_t = smooth(prediction**2) - mean_p**2, smooth(truth**2) - mean_t**2
    covariance = smooth(prediction * truth) - mean_p * mean_t
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    above = (2 * mean_p * mean_t + c1) * (2 * covariance + c2)
    return (above / ((mean_p**2 + mean_t**2 + c1) * (var_p + var_t + c2))).mean()


def test_ssim_is_the_mean_over_frames_of_the_published_formula():
    prediction, truth = videos()
    pairs = [
        zip(p.double().numpy().reshape(9, 24, 24), t.double().numpy().reshape(9, 24, 24), strict=True)
        for p, t in zip(prediction, truth, strict=True)
    ]
    expected = [np.mean([reference_ssim(p, t) for p, t in pair]) for pair in pairs]
    assert ssim(prediction, truth).numpy() == pytest.approx(expected, abs=1e-5)
    assert ssim(truth, truth).numpy() == pytest.approx([1, 1], abs=1e-5)


def test_moving_pixels_are_those_whose_range_over_time_exceeds_the_threshold():
    truth = torch.zeros(1, 3, 5, 4, 4)
    truth[0, 1, 2, 0, 1] = 0.25
    truth[0, :, 3, 2, 2] = 0.15
    truth[0, 0, 0, 3, 3], truth[0, 0, 4, 3, 3] = -0.15, 0.15
    expected = torch.zeros(4, 4, dtype=torch.bool)
    expected[0, 1] = expected[3, 3] = True
    mask = moving_pixels(truth)
    assert mask.shape == (1, 1, 1, 4, 4)
    assert torch.equal(mask[0, 0, 0], expected)
    assert moving_pixels(truth, threshold=0.1).sum() == 3


def test_average_runs_over_batches_and_leaves_out_undefined_samples():
    prediction, truth = videos(batch=3)
    mask = torch.ones(3, 1, 1, 24, 24)
    mask[1] = 0
    average = SampleMean(psnr)
    assert math.isnan(average.compute())
    average.update(prediction[:2], truth[:2], mask=mask[:2])
    average.update(prediction[2:], truth[2:], mask=mask[2:])
    expected = psnr(prediction, truth)
    assert average.compute() == pytest.approx((expected[0] + expected[2]).item() / 2)
    assert len(average.values) == 3
