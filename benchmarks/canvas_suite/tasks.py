"""What each task gives of a clip: which frames, and which pixels of them. Drawn once per clip from the seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Inpainting and outpainting give every second frame: half the conditions, and odd frames still have to be made.
REGION_FRAME_STEP = 2


@dataclass(frozen=True)
class Given:
    """Part of a batch of clips: whole frames, and masks that say which of their pixels may be looked at.

    Attributes:
        pixels: `[B, K, 3, H, W]` in [-1, 1].
        masks: `[B, K, 1, H, W]`, 1 where a pixel is given.
        frames: `[B, K]` int64, pixel frame of each.
    """

    pixels: Tensor
    masks: Tensor
    frames: Tensor

    def region(self, length: int) -> Tensor:
        """The given pixels as a mask `[B, 1, T, H, W]` on a video of `length` frames."""
        batch, _, _, height, width = self.masks.shape
        region = self.masks.new_zeros(batch, length, 1, height, width)
        region.scatter_reduce_(1, self.frames[..., None, None, None].expand_as(self.masks), self.masks, reduce="amax")
        return region.transpose(1, 2)


@dataclass(frozen=True)
class ClipShape:
    """Size of a clip, and the codec's temporal stride N, between whose latents patches should land."""

    length: int
    height: int
    width: int
    stride: int


Selection = tuple[list[int], np.ndarray]
"""The given frames `K` and their masks `[K, H, W]`."""


def give(truth: Tensor, selections: list[Selection]) -> Given:
    """Cuts what is given out of clips `[B, 3, T, H, W]`, by one selection per clip."""
    frames = torch.tensor([frames for frames, _ in selections], device=truth.device)
    masks = torch.from_numpy(np.stack([masks for _, masks in selections])).to(truth)[:, :, None]
    sample = torch.arange(len(truth), device=truth.device)[:, None]
    return Given(truth.transpose(1, 2)[sample, frames], masks, frames)


def select(task: str, shape: ClipShape, seed: tuple[int, ...]) -> Selection:
    """What `task` gives of one clip: always the same for the same seed, whatever the other clips are."""
    return TASKS[task](shape, np.random.default_rng([*seed, list(TASKS).index(task)]))


def whole_frames(frames: list[int], shape: ClipShape) -> Selection:
    """Every pixel of some frames."""
    return frames, np.ones((len(frames), shape.height, shape.width), dtype=np.float32)


def _image_to_video(shape: ClipShape, rng: np.random.Generator) -> Selection:
    return whole_frames([0], shape)


def _first_last(shape: ClipShape, rng: np.random.Generator) -> Selection:
    return whole_frames([0, shape.length - 1], shape)


def _first_middle_last(shape: ClipShape, rng: np.random.Generator) -> Selection:
    return whole_frames([0, shape.length // 2, shape.length - 1], shape)


def _one_patch(shape: ClipShape, rng: np.random.Generator) -> Selection:
    between_latents = [frame for frame in range(shape.length) if frame % shape.stride]
    return [int(rng.choice(between_latents))], crop(shape, rng)[None]


def _three_patches(shape: ClipShape, rng: np.random.Generator) -> Selection:
    frames = sorted(rng.choice(shape.length, size=3, replace=False).tolist())
    return frames, np.stack([crop(shape, rng) for _ in frames])


def _inpainting(shape: ClipShape, rng: np.random.Generator) -> Selection:
    return _through_time(hole(shape, rng), shape)


def _outpainting(shape: ClipShape, rng: np.random.Generator) -> Selection:
    return _through_time(window(shape, rng), shape)


def hole(shape: ClipShape, rng: np.random.Generator) -> np.ndarray:
    """What inpainting gives of a frame, `[H, W]`: all around an interior rectangle of 20 to 50 % of each side."""
    height, width = (round(size * rng.uniform(0.2, 0.5)) for size in (shape.height, shape.width))
    # An interior hole: at least one given pixel on every side.
    top, left = rng.integers(1, shape.height - height), rng.integers(1, shape.width - width)
    return 1 - _box(shape, top, left, height, width)


def window(shape: ClipShape, rng: np.random.Generator) -> np.ndarray:
    """What outpainting gives of a frame, `[H, W]`: a rectangle of its shape, and 10 to 40 % of its area."""
    side = (1 - rng.uniform(0.6, 0.9)) ** 0.5
    return _place(shape, rng, round(shape.height * side), round(shape.width * side))


def crop(shape: ClipShape, rng: np.random.Generator) -> np.ndarray:
    """What a patch gives of a frame, `[H, W]`: a rectangle of 20 to 60 % of each side."""
    height, width = (round(size * rng.uniform(0.2, 0.6)) for size in (shape.height, shape.width))
    return _place(shape, rng, height, width)


def _through_time(mask: np.ndarray, shape: ClipShape) -> Selection:
    frames = list(range(0, shape.length, REGION_FRAME_STEP))
    return frames, np.repeat(mask[None], len(frames), axis=0)


def _place(shape: ClipShape, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    top, left = rng.integers(shape.height - height + 1), rng.integers(shape.width - width + 1)
    return _box(shape, top, left, height, width)


def _box(shape: ClipShape, top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros((shape.height, shape.width), dtype=np.float32)
    mask[top : top + height, left : left + width] = 1
    return mask


TASKS: dict[str, Callable[[ClipShape, np.random.Generator], Selection]] = {
    "image to video": _image_to_video,
    "first, last": _first_last,
    "first, middle, last": _first_middle_last,
    "one patch": _one_patch,
    "three patches": _three_patches,
    "inpainting": _inpainting,
    "outpainting": _outpainting,
}
