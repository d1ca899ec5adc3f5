"""What Stage I sees: frames as a few tokens each, from the codec's latents or from a CLIP tower."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from vgen.backbone.codec import Codec
from vgen.backbone.on_paper import on_paper
from vgen.errors import InputError, unknown_key
from vgen.models import loading


class LatentVision(nn.Module):
    """The codec's own latents, in image mode: each frame [C, h, w] becomes (h/p)·(w/p) tokens of C·p·p channels.

    Args:
        latent_channels: C of the codec.
        patch: p, the side of a token in latent pixels.
        codec: only needed where pixels come in; it belongs to the video model and is not saved here.
    """

    def __init__(self, latent_channels: int, patch: int = 2, codec: Codec | None = None) -> None:
        super().__init__()
        self.latent_channels, self.patch, self.codec = latent_channels, patch, codec
        self.channels = latent_channels * patch**2

    def encode(self, pixels: Tensor) -> Tensor:
        """Frames [N, 3, H, W] in [-1, 1], each alone, to tokens [N, P, channels].

        Raises:
            InputError: there is no codec, or the size does not fit.
        """
        if self.codec is None:
            raise InputError("this state model sees with the codec's latents: give from_pretrained the codec")
        return self.tokens(self.codec.encode_image(pixels).squeeze(2))

    def tokens(self, latents: Tensor) -> Tensor:
        """Latents [N, C, h, w] to tokens [N, P, channels].

        Raises:
            InputError: h or w is no multiple of the patch.
        """
        _, _, h, w = latents.shape
        if h % self.patch or w % self.patch:
            raise InputError(f"latents of {h}x{w} do not divide into patches of {self.patch}; patch=1 always fits")
        return rearrange(latents, "n c (h p) (w q) -> n (h w) (c p q)", p=self.patch, q=self.patch)

    def settings(self) -> dict[str, Any]:
        """What `load_vision` needs to make it again."""
        return {"kind": "latent", "latent_channels": self.latent_channels, "patch": self.patch}

    def save(self, folder: Path) -> None:
        """It has no weights."""


class ClipVision(nn.Module):
    """A frozen CLIP vision tower: patch features before the last layer, as LLaVA takes them, averaged to a grid.

    The whole frame is scaled to the tower's square: a hand at the edge must not be cropped away.

    Args:
        tower: of transformers.
        side: of the grid; side² tokens for each frame.
    """

    def __init__(self, tower: CLIPVisionModel, side: int = 8) -> None:
        super().__init__()
        self.tower, self.side = tower.requires_grad_(False).eval(), side
        self.channels: int = tower.config.hidden_size

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """Frames [N, 3, H, W] in [-1, 1] to tokens [N, side², channels]."""
        size = self.tower.config.image_size
        mean, std = (pixels.new_tensor(values).view(3, 1, 1) for values in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))
        scaled = nn.functional.interpolate(pixels, (size, size), mode="bicubic", antialias=True).clamp(-1, 1)
        images = ((scaled + 1) / 2 - mean) / std
        states = self.tower(images.to(self.tower.dtype), output_hidden_states=True).hidden_states[-2][:, 1:]
        across = size // self.tower.config.patch_size
        grid = rearrange(states, "n (h w) c -> n c h w", h=across)
        return rearrange(nn.functional.adaptive_avg_pool2d(grid, self.side), "n c h w -> n (h w) c")

    def settings(self) -> dict[str, Any]:
        """What `load_vision` needs to make it again, beside the tower's folder."""
        return {"kind": "clip", "side": self.side}

    def save(self, folder: Path) -> None:
        """Writes the tower as a transformers folder."""
        self.tower.save_pretrained(folder)


Vision = LatentVision | ClipVision


def load_clip(folder: str | Path, side: int = 8) -> ClipVision:
    """The vision tower of a CLIP folder of transformers.

    Raises:
        InputError: it is none.
    """
    with loading(folder):
        if on_paper():
            return ClipVision(CLIPVisionModel(CLIPVisionConfig.from_pretrained(folder)), side)
        return ClipVision(CLIPVisionModel.from_pretrained(folder), side)


def load_vision(settings: dict[str, Any], folder: Path, codec: Codec | None) -> Vision:
    """What `settings` and `save` kept.

    Raises:
        InputError: the settings or the folder cannot be read.
    """
    kind = settings.get("kind")
    if kind == "latent":
        return LatentVision(settings["latent_channels"], settings["patch"], codec)
    if kind == "clip":
        return load_clip(folder, settings["side"])
    raise unknown_key(str(kind), ("latent", "clip"), "the kinds of vision")
