"""How close pixels are: PSNR and SSIM of videos `[B, 3, T, H, W]` in [-1, 1], so the data range is 2."""

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

DATA_RANGE = 2.0
PSNR_CAP = 100.0
MOVING_THRESHOLD = 0.2


def _decibels(mean_squared_error: Tensor) -> Tensor:
    # Identical pixels would be infinite, and one such sample would swallow every mean.
    return (10 * torch.log10(DATA_RANGE**2 / mean_squared_error)).clamp(max=PSNR_CAP)


def psnr(prediction: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio of each whole video, in dB: 10·log10(2² / MSE), at most `PSNR_CAP`.

    The error is averaged over all channels, frames and pixels of a sample before the logarithm.

    Args:
        prediction: `[B, 3, T, H, W]` in [-1, 1].
        truth: The same shape.
        mask: Weights that broadcast to `[B, 1, T, H, W]`; only pixels where it is 1 count. None: all.

    Returns:
        `[B]` float64; nan for a sample whose mask is empty.
    """
    error = (prediction.double() - truth.double()).square().mean(dim=1, keepdim=True)
    weight = torch.ones_like(error) if mask is None else mask.to(error).expand_as(error)
    return _decibels((error * weight).flatten(1).sum(1) / weight.flatten(1).sum(1))


def psnr_curve(prediction: Tensor, image: Tensor, mask: Tensor | None = None) -> Tensor:
    """PSNR, in dB, of every frame of a video against one image: where in time does the image appear?

    Args:
        prediction: `[B, 3, T, H, W]` in [-1, 1].
        image: `[B, 3, H, W]` in [-1, 1].
        mask: Weights `[B, 1, H, W]`; None: every pixel counts alike.

    Returns:
        `[B, T]` float64; nan for a sample whose mask is empty.
    """
    error = (prediction.double() - image.double()[:, :, None]).square()
    if mask is None:
        return _decibels(error.mean(dim=(1, 3, 4)))
    weight = mask.to(error)
    total = (error.mean(dim=1) * weight).sum(dim=(2, 3))
    return _decibels(total / weight.sum(dim=(2, 3)))


def ssim(prediction: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity of each frame (Gaussian window of 11, sigma 1.5, edges mirrored), averaged over
    the frames.

    Args:
        prediction: `[B, 3, T, H, W]` in [-1, 1], H and W at least 11.
        truth: The same shape.

    Returns:
        `[B]`, at most 1.
    """
    # One video at a time: the filter's intermediates are many times the size of its input.
    return torch.stack(
        [_ssim_of_frames(p.transpose(0, 1), t.transpose(0, 1)) for p, t in zip(prediction, truth, strict=True)]
    )


def _ssim_of_frames(prediction: Tensor, truth: Tensor) -> Tensor:
    values = structural_similarity_index_measure(
        prediction.float(), truth.float(), data_range=DATA_RANGE, reduction="none"
    )
    assert isinstance(values, Tensor)  # and not a pair, as when its parts are asked for
    return values.mean()


def moving_pixels(truth: Tensor, threshold: float = MOVING_THRESHOLD) -> Tensor:
    """Pixels that move: in some channel, the range over time exceeds the threshold.

    The default, 0.2 in [-1, 1], is 25.5 of 255 grey levels: above what video compression alone makes a still pixel do.

    Args:
        truth: `[B, 3, T, H, W]` in [-1, 1].
        threshold: In the same units.

    Returns:
        Boolean mask `[B, 1, 1, H, W]`, the same for all frames.
    """
    span = truth.amax(dim=2, keepdim=True) - truth.amin(dim=2, keepdim=True)
    return span.amax(dim=1, keepdim=True) > threshold


def moving_psnr(prediction: Tensor, truth: Tensor) -> Tensor:
    """`psnr` over the truth's `moving_pixels`, in all frames: `[B, 3, T, H, W]` twice -> `[B]`; nan if none moves."""
    return psnr(prediction, truth, moving_pixels(truth))
