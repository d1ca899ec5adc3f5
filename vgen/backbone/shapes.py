"""The only home of frame, size and token arithmetic: from T x H x W pixels to F x h x w latents, and to tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from vgen.errors import InputError

if TYPE_CHECKING:  # numbers alone need no torch
    from torch import Tensor


@dataclass(frozen=True)
class LatentShape:
    """F latent frames of h x w, each cut into square tokens.

    Attributes:
        frames, height, width: F, h, w.
        patch: latent pixels along a side of a token.
    """

    frames: int
    height: int
    width: int
    patch: int

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens in time, height and width."""
        return self.frames, self.height // self.patch, self.width // self.patch

    @property
    def frame_tokens(self) -> int:
        """Tokens of one latent frame."""
        _, rows, columns = self.grid
        return rows * columns

    @property
    def tokens(self) -> int:
        """Tokens of all frames."""
        return self.frames * self.frame_tokens


@dataclass(frozen=True)
class Strides:
    """How a model cuts videos up.

    Attributes:
        temporal: N, pixel frames of a latent frame, but for the first.
        spatial: S, pixels along a side of a latent pixel.
        patch: latent pixels along a side of a token.
    """

    temporal: int
    spatial: int
    patch: int

    @classmethod
    def of(cls, codec: Mapping[str, Any], transformer: Mapping[str, Any]) -> Self:
        """Those of the configurations of a codec and of a transformer."""
        return cls(codec["scale_factor_temporal"], codec["scale_factor_spatial"], transformer["patch_size"][1])

    @property
    def multiple(self) -> int:
        """Height and width of a video are multiples of it."""
        return self.spatial * self.patch

    def latent(self, frames: int, height: int, width: int) -> LatentShape:
        """The shape of the latent of a video of T x H x W.

        Raises:
            InputError: the frame count or the size is illegal; it names the nearest that are not.
        """
        check_size(height, width, self.multiple)
        sides = height // self.spatial, width // self.spatial
        return LatentShape(latent_frames(frames, self.temporal), *sides, self.patch)


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


def temporal_position(frame: Tensor, stride: int) -> Tensor:
    """The latent position t = τ/N of pixel frame τ, in float64: frame 41 lies at 10.25 for N = 4."""
    return frame.double() / stride


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
