"""Networks that look at frames, each in a folder of transformers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers.utils import logging

from vgen.errors import InputError
from vgen.files import file_sha256
from vgen.models import loading

BATCH = 16
"""Frames that go through a network at once."""
PREPARATION = "preprocessor_config.json"
NOT_LOOKED_AT = ("pooler", "position_ids")
"""Weights that a folder may lack, since no measure looks at what they make."""


@dataclass(frozen=True)
class Preparation:
    """How frames are brought to what a network looks at.

    Attributes:
        size: Pixels of the shorter side.
        mean, std: Of the colour channels, 0 to 1.
        mode: Of `torch.nn.functional.interpolate`, without antialiasing, as VBench does.
        crop: Whether only the square in the middle is looked at.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mode: str
    crop: bool

    def __call__(self, frames: np.ndarray) -> Tensor:
        """uint8 `[T, H, W, 3]` -> float32 `[T, 3, h, w]`; what is resized is rounded to whole grey levels again."""
        images = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float()
        height, width = images.shape[-2:]
        short = min(height, width)
        size = height * self.size // short, width * self.size // short
        images = functional.interpolate(images, size, mode=self.mode, align_corners=False).round().clamp(0, 255)
        if self.crop:
            top, left = (round((side - self.size) / 2) for side in size)
            images = images[..., top : top + self.size, left : left + self.size]
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (images / 255 - mean) / std


class Encoder:
    """A network that was read from a folder.

    Attributes:
        model: Of transformers, frozen.
        prepare: What it does to frames first.
        folder: Where it was.
    """

    def __init__(self, folder: Path, auto_class: Any, device: torch.device | str, whole: bool = False) -> None:
        """
        Args:
            folder: A model of transformers with its `preprocessor_config.json`.
            auto_class: The class of transformers that reads it.
            device: On which it runs.
            whole: Looks at whole frames, not at the square in their middle, where the network can.

        Raises:
            InputError: the folder cannot be read.
        """
        with loading(folder), _quietly():
            model, found = auto_class.from_pretrained(folder, local_files_only=True, output_loading_info=True)
        lacking = [name for name in found["missing_keys"] if not any(part in name for part in NOT_LOOKED_AT)]
        if lacking:
            raise InputError(f"{folder} lacks weights of its network, as {min(lacking)}; take a folder that has all")
        self.folder, self.device = folder, torch.device(device)
        self.model = model.requires_grad_(False).eval().to(self.device)
        stretches = whole and "interpolate_pos_encoding" in signature(self.model.forward).parameters
        self.options = {"interpolate_pos_encoding": True} if stretches else {}
        self.prepare = self._preparation(crop=not stretches)

    def _preparation(self, crop: bool) -> Preparation:
        file = self.folder / PREPARATION
        try:
            told = json.loads(file.read_text())
            mean, std = (tuple(map(float, told[key])) for key in ("image_mean", "image_std"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file} must tell image_mean and image_std of the network") from error
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise InputError(f"{file} must tell image_mean and image_std of three channels, above 0")
        return Preparation(int(self.vision.image_size), mean, std, "bicubic" if crop else "bilinear", crop)

    @property
    def vision(self) -> Any:
        """The configuration of what looks at frames."""
        return getattr(self.model.config, "vision_config", self.model.config)

    @property
    def shape(self) -> tuple[str, int, int, int]:
        """What tells a network from others: its type, layers, width, and the side of a patch in pixels."""
        config = self.vision
        numbers = (int(getattr(config, key, 0) or 0) for key in ("num_hidden_layers", "hidden_size", "patch_size"))
        return (self.model.config.model_type, *numbers)  # type: ignore[return-value]

    @property
    def suffix(self) -> str:
        """Of the name of a measure that this network makes another one than VBench's, such as dinov2-384-14."""
        kind, _, width, patch = self.shape
        return f"{kind.replace('_', '-')}-{width}-{patch}"

    def told(self) -> str:
        """One line: what it is, with the hash of its weights."""
        files = sorted(file for file in self.folder.iterdir() if file.suffix in (".safetensors", ".bin", ".pth"))
        hashes = ", ".join(f"{file.name} sha256 {file_sha256(file)[:16]}" for file in files)
        kind, layers, width, patch = self.shape
        return f"{kind}, {layers} layers of {width}, patches of {patch} pixels; {hashes}"

    @torch.no_grad()
    def features(self, frames: np.ndarray) -> Tensor:
        """Of each frame of uint8 `[T, H, W, 3]`, a vector of length 1, `[T, D]` float32 on the CPU: the projection
        that a network of pictures and texts compares, otherwise the class token."""
        parts = [self._features(part) for part in self.batches(frames)]
        return functional.normalize(torch.cat(parts), dim=-1)

    def batches(self, frames: np.ndarray) -> list[Tensor]:
        """Frames as the network takes them, some at once."""
        return [self.prepare(frames[n : n + BATCH]).to(self.device) for n in range(0, len(frames), BATCH)]

    def _features(self, images: Tensor) -> Tensor:
        if hasattr(self.model, "get_image_features"):
            return vector(self.model.get_image_features(pixel_values=images, **self.options))
        states: Tensor = self.model(pixel_values=images, **self.options).last_hidden_state
        return states[:, 0].float().cpu()


def vector(output: Any) -> Tensor:
    """The projected features in what a network of transformers returns, `[N, D]` float32 on the CPU."""
    found: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return found.float().cpu()


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the library's table of weights that are missing: those that matter are an error."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
