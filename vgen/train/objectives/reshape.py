"""A transformer of another shape that starts from a trained one: what fits is taken over, patches are re-cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vgen.backbone.transformer import VideoTransformer
from vgen.errors import InputError

READ, WRITE, WRITE_BIAS = "patch_embedding.weight", "proj_out.weight", "proj_out.bias"


def reshaped(trained: VideoTransformer, keywords: Mapping[str, Any]) -> VideoTransformer:
    """A transformer with other `keywords`, with all weights of the trained one that have their shape in both.

    Where the patch is smaller, what is read of one begins as the sum over the pixels of the larger patch, and what is
    written as their mean: an even picture is then read and written as before. Other weights keep their random start.

    Args:
        trained: the model to start from.
        keywords: of `VideoTransformer`, those that differ.

    Raises:
        InputError: the trained patch is no multiple of the new one.
    """
    config = dict(trained.config) | dict(keywords)
    model = VideoTransformer(**{name: value for name, value in config.items() if not name.startswith("_")})
    weights = trained.state_dict()
    if tuple(model.config.patch_size) != tuple(trained.config.patch_size):
        _check_patches(trained.config.patch_size, model.config.patch_size)
        weights |= _recut(weights, trained.config.patch_size, model.config.patch_size)
    own = model.state_dict()
    fitting = {name: weight for name, weight in weights.items() if name in own and own[name].shape == weight.shape}
    model.load_state_dict(fitting, strict=False)
    return model


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
