"""The codec: a video VAE behind a small protocol. It owns the normalisation of latents and the strides."""

from __future__ import annotations

from os import PathLike
from typing import Protocol

import torch
from diffusers import AutoencoderKLWan
from einops import rearrange
from torch import Tensor

from vgen import checks
from vgen.backbone.codec_at_once import encode_at_once, quicken
from vgen.backbone.shapes import check_frames, check_size
from vgen.models import loading


class Codec(Protocol):
    """What both front-ends ask of a video VAE. Videos lie in [-1, 1]; latents are normalised per channel."""

    temporal_stride: int
    spatial_stride: int
    channels: int

    def encode_video(self, video: Tensor) -> Tensor:
        """Video [B, 3, T, H, W] to latent [B, C, F, h, w], T = 1 + N·(F-1)."""

    def encode_image(self, image: Tensor) -> Tensor:
        """Images [B, 3, H, W], each alone, to latents [B, C, 1, h, w]."""

    def decode(self, latent: Tensor) -> Tensor:
        """Latent [B, C, F, h, w] to video [B, 3, T, H, W], clamped to [-1, 1]."""


def load_vae(folder: str | PathLike[str], dtype: torch.dtype | None = None) -> AutoencoderKLWan:
    """The VAE in a folder of diffusers, in evaluation mode.

    Raises:
        InputError: there is none, or a damaged one.
    """
    with loading(folder):
        return AutoencoderKLWan.from_pretrained(folder, torch_dtype=dtype).eval()


class WanCodec:
    """diffusers' `AutoencoderKLWan`: Wan 2.1 (16 channels, stride 8), Wan 2.2 (48 channels, stride 16), nano's own."""

    def __init__(self, vae: AutoencoderKLWan, device: torch.device | None = None, at_once: bool = False) -> None:
        """InputError where the VAE does not say how its latents are normalised.

        Args:
            device: where the VAE runs, if that is not where it lies (while it is offloaded).
            at_once: whether clips are encoded at once, which takes more memory and starts fewer kernels; the VAE is
                changed for it.
        """
        for name in ("latents_mean", "latents_std"):
            checks.numbers(name, getattr(vae.config, name, None), vae.config.z_dim)
        self.vae = vae
        self._device, self._at_once = device, at_once
        if at_once:
            quicken(vae)
        self.temporal_stride: int = vae.config.scale_factor_temporal
        self.spatial_stride: int = vae.config.scale_factor_spatial
        self.channels: int = vae.config.z_dim

    @property
    def device(self) -> torch.device:
        """Where the VAE runs."""
        return self._device or self.vae.device

    @torch.no_grad()
    def encode_video(self, video: Tensor) -> Tensor:
        """Video [B, 3, T, H, W] in [-1, 1] to its normalised latent [B, C, F, h, w] (the posterior's mode).

        Raises:
            InputError: a frame count that is not 1 + N·k (the VAE would drop the rest without a word), or a size that
                is not a multiple of the spatial stride.
        """
        *_, frames, height, width = video.shape
        check_frames(frames, self.temporal_stride)
        check_size(height, width, self.spatial_stride)
        pixels = video.to(self.device, self.vae.dtype)
        posterior = encode_at_once(self.vae, pixels) if self._at_once else self.vae.encode(pixels).latent_dist
        latent: Tensor = posterior.mode()
        mean, std = self._statistics(latent)
        return (latent.float() - mean) / std

    def encode_image(self, image: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [-1, 1], each encoded alone in image mode, to latents [B, C, 1, h, w]."""
        return self.encode_video(rearrange(image, "b c h w -> b c 1 h w"))

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        """Normalised latent [B, C, F, h, w] to video [B, 3, T, H, W] in [-1, 1], float32."""
        mean, std = self._statistics(latent)
        raw = latent.float() * std + mean
        video: Tensor = self.vae.decode(raw.to(self.device, self.vae.dtype)).sample
        return video.float().clamp(-1, 1)

    def _statistics(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        shape = (1, self.channels, 1, 1, 1)
        config = self.vae.config
        mean, std = (
            torch.tensor(values, device=latent.device, dtype=torch.float32).view(shape)
            for values in (config.latents_mean, config.latents_std)
        )
        return mean, std
