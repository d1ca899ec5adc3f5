"""A codec of more channels that begins as a trained one: what it makes is the same to rounding, and all of its further
weights can learn (after Net2Net, arXiv 1511.05641)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanAttentionBlock, WanResample, WanRMS_norm
from torch import Tensor, nn

from vgen.errors import InputError

START_LOG_VARIANCE = -6.0  # of the latents: at the usual 0, noise as large as the signal would hide it for long
Convolution = nn.Conv2d | nn.Conv3d
WIDTHS = ("base_dim", "decoder_base_dim", "z_dim")  # the keywords that may grow


def widened(trained: AutoencoderKLWan, keywords: Mapping[str, Any]) -> AutoencoderKLWan:
    """A codec with other `keywords`: wider, with more latent channels, or both.

    Further channels inside begin at zero and are read with random weights; further latent channels begin with random
    values that are read with zeros. So each has a gradient, and nothing changes yet.

    Args:
        trained: the codec to start from.
        keywords: of `AutoencoderKLWan`, those that differ.

    Raises:
        InputError: something else than a width differs, or a width is smaller than the trained one.
    """
    before = dict(trained.config)
    before["decoder_base_dim"] = before["decoder_base_dim"] or before["base_dim"]
    wanted = before | dict(keywords)
    _check(before, wanted)
    statistics = {"latents_mean": [0.0] * wanted["z_dim"], "latents_std": [1.0] * wanted["z_dim"]}
    known = {name: value for name, value in (wanted | statistics).items() if not name.startswith("_")}
    model = AutoencoderKLWan(**known)
    with torch.no_grad():
        for (name, old), new in zip(trained.named_modules(), model.modules(), strict=True):
            if isinstance(old, WanRMS_norm) and isinstance(new, WanRMS_norm):
                _grow_norm(old, new)
            elif isinstance(old, Convolution) and isinstance(new, Convolution):
                _grow_convolution(old, new, _blocks(model, name), latent_read=name == "decoder.conv_in")
        for old, new in zip(trained.modules(), model.modules(), strict=True):  # after the convolutions in them
            if isinstance(old, WanAttentionBlock) and isinstance(new, WanAttentionBlock):
                _keep_scale(old, new)
        _grow_latents(model, trained.config.z_dim)
    return model


def _check(before: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for name, value in wanted.items():
        if name.startswith(("_", "latents_")) or value == before.get(name):
            continue
        old = before.get(name)
        if name not in WIDTHS:
            rule = f"only {', '.join(WIDTHS)} may differ from those of objective.pretrained"
            raise InputError(f"objective.model.{name}={value}: {rule}; nearest: {old}")
        if value < old:
            raise InputError(
                f"objective.model.{name}={value} is below the {old} of objective.pretrained; nearest: {old}"
            )


def _blocks(model: AutoencoderKLWan, name: str) -> tuple[int, int]:
    """Into how many equal blocks the channels that a convolution reads and writes fall."""
    owner, _, part = name.rpartition(".")
    if name in ("encoder.conv_out", "quant_conv"):
        return (2 if name == "quant_conv" else 1), 2  # means and log variances
    if part == "to_qkv":
        return 1, 3
    above = model.get_submodule(owner)
    doubled = isinstance(above, WanResample) and above.mode == "upsample3d" and part == "time_conv"
    return 1, 2 if doubled else 1  # the two frames that come of each


def _places(old: int, new: int, blocks: int) -> Tensor:
    """Where the old channels are among the new: the first of each block."""
    return torch.cat([torch.arange(old // blocks) + block * (new // blocks) for block in range(blocks)])


def _grow_norm(old: WanRMS_norm, new: WanRMS_norm) -> None:
    """The root mean square is of more channels now, of which the further ones are zero."""
    share = (len(old.gamma) / len(new.gamma)) ** 0.5
    new.gamma[: len(old.gamma)] = old.gamma * share


def _grow_convolution(old: Convolution, new: Convolution, blocks: tuple[int, int], latent_read: bool) -> None:
    """Weights [O, I, ...]: further outputs are zero, and further inputs are read at random, or not at all where they
    are latents, which are not zero."""
    read = _places(old.weight.shape[1], new.weight.shape[1], blocks[0])
    write = _places(old.weight.shape[0], new.weight.shape[0], blocks[1])
    grown = torch.zeros_like(new.weight)
    grown[write] = torch.zeros_like(new.weight[write]) if latent_read else new.weight[write]
    grown[write[:, None], read[None]] = old.weight
    new.weight.copy_(grown)
    if old.bias is not None and new.bias is not None:
        new.bias.zero_()
        new.bias[write] = old.bias


def _keep_scale(old: WanAttentionBlock, new: WanAttentionBlock) -> None:
    """Attention divides by the root of its width, which queries make up for. Further queries begin at random: with
    queries and keys both at zero neither would have a gradient."""
    width, more = old.proj.weight.shape[0], new.proj.weight.shape[0]
    new.to_qkv.weight[:width] *= (more / width) ** 0.5
    new.to_qkv.bias[:width] *= (more / width) ** 0.5
    if more > width:
        nn.init.kaiming_uniform_(new.to_qkv.weight[width:more], a=5**0.5)


def _grow_latents(model: AutoencoderKLWan, before: int) -> None:
    """Further latent channels: random means, little noise, handed on as they are."""
    z = model.config.z_dim
    if z == before:
        return
    further = torch.arange(before, z)
    means = model.encoder.conv_out.weight[:z]
    nn.init.normal_(means[before:], std=float(means[:before].std()))
    for weight in (model.quant_conv.weight, model.post_quant_conv.weight):
        weight[further] = 0
        weight[:, further] = 0
        weight[further, further] = 1
    model.quant_conv.weight[:before, z + before :] = 0  # means and log variances of the old ones read no new ones
    model.quant_conv.weight[z : z + before, z + before :] = 0
    model.quant_conv.bias[z + before :] = START_LOG_VARIANCE
