"""The best linear code of videos (Karhunen-Loève transform): what a codec of as many numbers is read against."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import torch
from einops import rearrange
from torch import Tensor

COLOURS = 3


class LinearCode:
    """Blocks of a video as weighted sums of fixed blocks, those that leave out least on average (Karhunen 1947, Loève
    1948; principal components).

    A block is what one place of a causal VAE's latent stands for: the first frame of a clip alone, then `temporal`
    frames at once, `spatial` pixels a side. The first half of a group's numbers are those of its mean frame, by the
    blocks of a single frame, so that a number means the same in a frame and in a group; that leaves out hardly more.

    Attributes:
        frame: blocks of a single frame, [3·s·s, K], orthonormal, the one that holds most first.
        change: of what a group has beside its mean frame's first K/2, [3·n·s·s, K - K//2], orthonormal.
    """

    def __init__(self, frame: Tensor, change: Tensor, spatial: int, temporal: int) -> None:
        self.frame, self.change = frame, change
        self.spatial, self.temporal = spatial, temporal

    @classmethod
    def fit(cls, videos: Iterable[Tensor], numbers: int, spatial: int, temporal: int) -> LinearCode:
        """The code of `numbers` a block that leaves out least of all `videos`, each of which counts as much.

        Args:
            videos: [B, 3, T, H, W] around 0, T = 1 + n·k; without one of more frames, the code is of single frames.
            numbers: K, up to the 3·s·s of a single frame's block.
            spatial, temporal: s and n, the strides of the codec.
        """
        videos = list(videos)
        nothing = torch.zeros(COLOURS * temporal * spatial**2, 0)
        code = cls(torch.zeros(COLOURS * spatial**2, numbers), nothing, spatial, temporal)
        code.frame = _largest((code._split(video, 1).flatten(0, 3).flatten(1) for video in videos), numbers)
        groups = [code._groups(video) for video in videos if video.shape[2] > 1]
        if not groups:
            return code
        left_over = ((blocks - code._still(code._of_mean(blocks))).flatten(0, 3).flatten(1) for blocks in groups)
        code.change = _largest(left_over, numbers - numbers // 2)
        return code

    def to(self, device: torch.device) -> LinearCode:
        """The same on a device."""
        return LinearCode(self.frame.to(device), self.change.to(device), self.spatial, self.temporal)

    @property
    def numbers(self) -> int:
        """K, the numbers of a block."""
        return self.frame.shape[1]

    def encode(self, video: Tensor) -> Tensor:
        """Video [B, 3, 1 + n·k, H, W] to numbers [B, K, 1 + k, H/s, W/s]; k is 0 where the code is of single frames."""
        first = self._split(video[:, :, :1], 1).flatten(4) @ self.frame
        codes = [first]
        if video.shape[2] > 1:
            blocks = self._groups(video)
            mean = self._of_mean(blocks)
            codes.append(torch.cat([mean, (blocks - self._still(mean)).flatten(4) @ self.change], -1))
        return rearrange(torch.cat(codes, 1), "b t h w k -> b k t h w")

    def decode(self, code: Tensor) -> Tensor:
        """Numbers [B, K, 1 + k, h, w] to video [B, 3, 1 + n·k, h·s, w·s]."""
        code = rearrange(code, "b k t h w -> b t h w k")
        videos = [self._joined(self._blocks(code[:, :1] @ self.frame.T, 1))]
        if code.shape[1] > 1:
            mean, change = code[:, 1:, ..., : self.numbers // 2], code[:, 1:, ..., self.numbers // 2 :]
            moved = self._blocks(change @ self.change.T, self.temporal)
            videos.append(self._joined(self._still(mean) + moved))
        return torch.cat(videos, 2)

    def _groups(self, video: Tensor) -> Tensor:
        return self._split(video[:, :, 1:], self.temporal)

    def _split(self, video: Tensor, frames: int) -> Tensor:
        """Blocks [B, k, h, w, 3, n, s·s] of a video."""
        pattern = "b c (t n) (h y) (w x) -> b t h w c n (y x)"
        return rearrange(video, pattern, n=frames, y=self.spatial, x=self.spatial)

    @staticmethod
    def _blocks(pixels: Tensor, frames: int) -> Tensor:
        """Pixels [..., 3·n·s·s] as blocks [..., 3, n, s·s]."""
        return rearrange(pixels, "... (c n p) -> ... c n p", c=COLOURS, n=frames)

    def _joined(self, blocks: Tensor) -> Tensor:
        return rearrange(blocks, "b t h w c n (y x) -> b c (t n) (h y) (w x)", y=self.spatial)

    def _of_mean(self, blocks: Tensor) -> Tensor:
        """The first numbers of the mean frames of blocks: [B, k, h, w, K//2]."""
        return blocks.mean(5).flatten(4) @ self.frame[:, : self.numbers // 2]

    def _still(self, mean: Tensor) -> Tensor:
        """Blocks of one frame, [..., 3, 1, s·s], of the first numbers of a mean frame."""
        return self._blocks(mean @ self.frame[:, : mean.shape[-1]].T, 1)


def _largest(sets: Iterable[Tensor], count: int) -> Tensor:
    """The orthonormal columns that hold most of sets of blocks [N, D]: [D, count]."""
    total = reduce(torch.add, (blocks.T @ blocks / len(blocks) for blocks in sets))
    vectors: Tensor = torch.linalg.eigh(total).eigenvectors
    return vectors.flip(1)[:, :count].contiguous()
