"""Does an image given at pixel frame τ appear at τ? Read off a per-frame PSNR curve (`pixels.psnr_curve`)."""

from torch import Tensor

CENTROID_WINDOW_DB = 2.5


def curve_peak(curve: Tensor) -> Tensor:
    """The frame at which each curve is highest; the earliest such frame on a tie. `[B, T]` -> `[B]` int64."""
    return curve.argmax(dim=1)


def curve_centroid(curve: Tensor, window: float = CENTROID_WINDOW_DB) -> Tensor:
    """Where the top of each curve lies, to a fraction of a frame.

    The centroid of what rises above `peak - window`: frame j weighs `max(curve[j] - (peak - window), 0)`, so frames
    enter and leave without a jump.

    Args:
        curve: `[B, T]` in dB.
        window: In dB.

    Returns:
        `[B]`, in frames.
    """
    weight = (curve - (curve.amax(dim=1, keepdim=True) - window)).clamp(min=0)
    frames = weight.new_tensor(range(curve.shape[1]))
    return (weight * frames).sum(1) / weight.sum(1)


def least_squares_slope(x: Tensor, y: Tensor) -> Tensor:
    """The slope of the straight line through points, by least squares over the last axis.

    Of centroid against given frame: 1 follows the given frame exactly, 0 does not follow it at all.

    Args:
        x: `[..., N]`, at least two of its values distinct.
        y: `[..., N]`.

    Returns:
        `[...]`.
    """
    x = x - x.mean(-1, keepdim=True)
    return (x * y).sum(-1) / x.square().sum(-1)
