"""The only home of frame and size arithmetic: T pixel frames, F latent frames, legal counts and sizes."""

from __future__ import annotations

from vgen.errors import InputError


def latent_frames(frames: int, stride: int) -> int:
    """F of T = 1 + stride·(F - 1) pixel frames.

    Raises:
        InputError: no F gives this T.
    """
    check_frames(frames, stride)
    return 1 + (frames - 1) // stride


def pixel_frames(latent: int, stride: int) -> int:
    """T of F latent frames: a causal codec holds the first frame alone, then `stride` frames in each latent."""
    return 1 + stride * (latent - 1)


def check_frames(frames: int, stride: int) -> None:
    """Refuses a number of pixel frames that is not 1 + stride·k.

    Raises:
        InputError: it names the legal counts on both sides.
    """
    if frames < 1:
        raise InputError(f"frames={frames} is not 1 + {stride}k; nearest: 1")
    if (frames - 1) % stride:
        below = 1 + (frames - 1) // stride * stride
        raise InputError(f"frames={frames} is not 1 + {stride}k; nearest: {below}, {below + stride}")


def check_size(height: int, width: int, multiple: int) -> None:
    """Refuses a size in pixels that is not a multiple of the codec's stride times the transformer's patch.

    Raises:
        InputError: it names the nearest legal size.
    """
    if height < 1 or width < 1 or height % multiple or width % multiple:
        near = "x".join(str(max(1, round(side / multiple)) * multiple) for side in (height, width))
        raise InputError(f"size={height}x{width} is not a multiple of {multiple} in height and width; nearest: {near}")


def check_advance(advance: int, stride: int) -> None:
    """Refuses a step of a rollout, in pixel frames, that a codec of this temporal stride cannot decode.

    Raises:
        InputError: it names the nearest that it can.
    """
    if advance != 1 and (advance < 1 or advance % stride):
        nearest = max(1, round(advance / stride)) * stride
        raise InputError(f"advance={advance} is neither 1 nor a multiple of {stride}; nearest: {nearest}")
