"""A codec of Wan that takes clips at once, and single frames in two dimensions: what it makes is the same to rounding.

diffusers' goes through a clip four frames at a time, which saves memory and starts many times as many kernels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d, WanResample, patchify, unpatchify
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor


def encode_at_once(vae: AutoencoderKLWan, video: Tensor) -> DiagonalGaussianDistribution:
    """The posterior of a video [B, 3, T, H, W], as `vae.encode` has it, of a VAE that `quicken` has changed. The plain
    one goes four frames at a time, which saves memory and takes five passes for 17 frames."""
    patch = vae.config.patch_size
    frames = video if patch is None else patchify(video, patch)
    return DiagonalGaussianDistribution(vae.quant_conv(vae.encoder(frames)))


def decode_at_once(vae: AutoencoderKLWan, latent: Tensor) -> Tensor:
    """The video [B, 3, T, H, W] of a latent [B, C, F, h, w], as `vae.decode` has it, but not clamped: what is out of
    range has a gradient."""
    frames = vae.decoder(vae.post_quant_conv(latent), first_chunk=True)
    patch = vae.config.patch_size
    video: Tensor = frames if patch is None else unpatchify(frames, patch)
    return video


def quicken(vae: AutoencoderKLWan) -> None:
    """Lets a codec take clips at once (`encode_at_once`, `decode_at_once`), and single frames in two dimensions."""
    skip_time_padding(vae)
    for module in vae.modules():
        if type(module) is WanResample:
            module.__class__ = _Resample


def skip_time_padding(vae: AutoencoderKLWan) -> None:
    """Lets the causal convolutions of a codec see single frames in two dimensions. The plain ones lay zeros before a
    frame and multiply them by two thirds of their kernel; what comes out is the same but for rounding."""
    for module in vae.modules():
        if type(module) is WanCausalConv3d:
            module.__class__ = _CausalConv


class _CausalConv(WanCausalConv3d):
    """A causal convolution whose weights and results are WanCausalConv3d's."""

    def forward(self, x: Tensor, cache_x: Tensor | None = None) -> Tensor:
        left, right, top, bottom, before, _ = self._padding
        alone = x.shape[2] == 1 and cache_x is None and before == self.kernel_size[0] - 1
        if not alone or (left, top) != (right, bottom):
            result: Tensor = super().forward(x, cache_x)
            return result
        frame = F.conv2d(x[:, :, 0], self.weight[:, :, -1], self.bias, self.stride[1:], (top, left))
        return frame.unsqueeze(2)


class _Resample(WanResample):
    """Resampling of all frames of a clip at once. The first frame is alone in its latent frame: time is neither halved
    nor doubled there, and when it is doubled afterwards, the frames begin after it."""

    def forward(self, x: Tensor, feat_cache: list[Tensor] | None = None, feat_idx: list[int] | None = None) -> Tensor:
        if feat_cache is not None:
            chunk: Tensor = super().forward(x, feat_cache, feat_idx)
            return chunk
        if self.mode == "upsample3d" and x.shape[2] > 1:
            x = torch.cat([x[:, :, :1], self._doubled(x[:, :, 1:])], 2)
        frames: Tensor = super().forward(x)
        if self.mode == "downsample3d" and frames.shape[2] > 1:
            frames = torch.cat([frames[:, :, :1], self.time_conv(frames)], 2)
        return frames

    def _doubled(self, x: Tensor) -> Tensor:
        both = self.time_conv(x).unflatten(1, (2, -1))  # the two frames that come of each
        doubled: Tensor = both.permute(0, 2, 3, 1, 4, 5).flatten(2, 3)
        return doubled
