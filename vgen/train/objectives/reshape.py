"""A transformer of another shape that starts from a trained one: what fits is taken over, patches are re-cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vgen.backbone.conditioning import CONCATENATION, channels_read, check_padding
from vgen.backbone.transformer import VideoTransformer
from vgen.errors import InputError

READ, WRITE, WRITE_BIAS = "patch_embedding.weight", "proj_out.weight", "proj_out.bias"


def reshaped(trained: VideoTransformer, keywords: Mapping[str, Any]) -> VideoTransformer:
    """A transformer with other `keywords`, with all weights of the trained one that have their shape in both.

    Where the patch is smaller, what is read of one begins as the sum over the pixels of the larger patch, and what is
    written as their mean: an even picture is then read and written as before. What reads further input channels
    begins at zero, so that they change nothing yet. Other weights keep their random start.

    Args:
        trained: the model to start from.
        keywords: of `VideoTransformer`, those that differ.

    Raises:
        InputError: the trained patch is no multiple of the new one.
    """
    config = dict(trained.config) | dict(keywords)
    model = VideoTransformer(**{name: value for name, value in config.items() if not name.startswith("_")})
    weights = dict(trained.state_dict())
    if tuple(model.config.patch_size) != tuple(trained.config.patch_size):
        _check_patches(trained.config.patch_size, model.config.patch_size)
        weights |= _recut(weights, trained.config.patch_size, model.config.patch_size)
    own = model.state_dict()
    if own[READ].shape[1] > weights[READ].shape[1]:
        weights[READ] = _widened(weights[READ], own[READ])
    fitting = {name: weight for name, weight in weights.items() if name in own and own[name].shape == weight.shape}
    model.load_state_dict(fitting, strict=False)
    return model


def for_paradigm(trained: VideoTransformer, paradigm: str) -> VideoTransformer:
    """The same weights, to be trained for a paradigm of conditioning (`vgen.canvas.paradigms`), which the configuration
    then says. For channel concatenation it is another model, whose further channels begin at zero.

    Raises:
        InputError: the model reads more channels than the paradigm gives it, or pads its conditions otherwise.
    """
    config = trained.config
    if CONCATENATION in (paradigm, config.paradigm) and paradigm != config.paradigm:
        if config.paradigm == CONCATENATION:
            rule = f"the pretrained model was trained with {CONCATENATION}, and reads channels that others lack"
            raise InputError(f"objective.paradigm={paradigm}: {rule}; use {CONCATENATION}, or another model")
        read = channels_read(paradigm, config.out_channels)
        return reshaped(trained, {"in_channels": read, "paradigm": paradigm})
    check_padding(paradigm, config.condition_padding)
    trained.register_to_config(paradigm=paradigm)
    return trained


def _widened(read: Tensor, own: Tensor) -> Tensor:
    """Weights [D, C, t, y, x] that read channels, with zeros for those that only `own` has."""
    return torch.cat([read, torch.zeros_like(own[:, read.shape[1] :], dtype=read.dtype)], dim=1)


def _check_patches(old: tuple[int, ...], new: tuple[int, ...]) -> None:
    if any(a % b for a, b in zip(old, new, strict=True)):
        raise InputError(
            f"objective.transformer.patch_size={list(new)} does not divide {list(old)}, that of the pretrained model; "
            f"nearest: {list(old)} or [1, 1, 1]"
        )


def _recut(weights: Mapping[str, Tensor], old: tuple[int, ...], new: tuple[int, ...]) -> dict[str, Tensor]:
    """The weights that read and write patches: Wan reads [D, C, t, y, x] and writes rows in the order (t y x c)."""
    read, write, bias = weights[READ], weights[WRITE], weights[WRITE_BIAS]
    cuts = [length for a, b in zip(old, new, strict=True) for length in (a // b, b)]
    width, channels = read.shape[:2]
    parts = read.reshape(width, channels, *cuts)
    rows = write.reshape(*cuts, -1, write.shape[1])
    own = bias.reshape(*cuts, -1)
    return {
        READ: parts.sum(dim=(2, 4, 6)),
        WRITE: rows.mean(dim=(0, 2, 4)).reshape(-1, write.shape[1]),
        WRITE_BIAS: own.mean(dim=(0, 2, 4)).flatten(),
    }
