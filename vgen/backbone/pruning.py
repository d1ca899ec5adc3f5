"""Conditions without the tokens of which nothing is given (`prune_conditions`): a patch costs what it covers.

Which tokens are left differs from condition to condition. In a batch, a condition is cut to the most that one of the
videos has of it, and attention does not see what fills the others up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from vgen.backbone.segments import KeptTokens, Segment

MASKING = ("native", "_native_math", "_native_efficient")
"""Attention kernels, by diffusers' names, that can leave tokens unseen."""


def pruned(segments: Sequence[Segment], patch: int) -> list[Segment]:
    """The same segments, without the tokens of which nothing is given; one is left of a condition without any other.

    Args:
        segments: conditions and targets.
        patch: latent pixels along a side of a token.
    """
    return [replace(segment, kept=_kept(segment, patch)) for segment in segments]


def kept_tokens(given: Tensor, patch: int, clip: bool) -> Tensor:
    """Which tokens of conditions are kept: bool [B, K, tokens], K being the images, or 1 for a clip.

    Args:
        given: [B, F, h, w], the share of pixels that is given of each latent pixel.
        patch: as of `pruned`.
        clip: whether the F latent frames are one clip.
    """
    kept = functional.max_pool2d(given.float(), patch) > 0  # [B, F, rows, columns]
    kept = rearrange(kept, "b f y x -> b 1 (f y x)" if clip else "b f y x -> b f (y x)")
    kept[..., 0] |= ~kept.any(dim=-1)
    return kept


def kept_lengths(kept: Tensor) -> list[int]:
    """How many tokens of each of K conditions a batch reads, of what `kept_tokens` tells."""
    lengths: list[int] = kept.sum(dim=-1).amax(dim=0).tolist()
    return lengths


def _kept(segment: Segment, patch: int) -> KeptTokens | None:
    if segment.given is None:
        return None
    kept = kept_tokens(segment.given, patch, segment.clip)
    if kept.all():
        return None
    order = kept.long().argsort(dim=-1, descending=True, stable=True)  # those that are kept come first
    lengths = kept_lengths(kept)
    index, readable = [], []
    for k, length in enumerate(lengths):
        first = order[:, k, :length]
        index.append(k * kept.shape[2] + first)
        readable.append(kept[:, k].gather(1, first))
    seen = torch.cat(readable, dim=1)
    return KeptTokens(torch.cat(index, dim=1), tuple(lengths), None if seen.all() else seen)


def readable_tokens(segments: Sequence[Segment], lengths: Sequence[int]) -> Tensor | None:
    """bool [B, L], which of all tokens attention may read; None where it reads all.

    Args:
        segments: as `pruned` leaves them.
        lengths: the tokens of each.
    """
    readable = [segment.kept.readable if segment.kept is not None else None for segment in segments]
    sizes = [(len(segment.latent), length) for segment, length in zip(segments, lengths, strict=True)]
    return joined(readable, sizes, segments[0].latent.device)


def joined(readable: Sequence[Tensor | None], sizes: Sequence[tuple[int, int]], device: torch.device) -> Tensor | None:
    """Which tokens are readable of several runs of tokens, one after another; None where all of them are.

    Args:
        readable: of each run bool [B, L], or None where all of it is.
        sizes: (B, L) of each run.
        device: of the result.
    """
    if all(each is None for each in readable):
        return None
    parts = [torch.ones(*size, dtype=torch.bool, device=device) for size in sizes]
    return torch.cat([part if each is None else each for each, part in zip(readable, parts, strict=True)], dim=1)
