"""Conditions without the tokens of which nothing is given (`prune_conditions`): a patch costs what it covers.

Which tokens are left differs from condition to condition. Of one video, each is cut to its own; of a batch, all are cut
to the most that one of them has, and attention does not see what fills the others up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from vgen.backbone.segments import Left, Segment


def pruned(segments: Sequence[Segment], patch: int) -> list[Segment]:
    """The same segments, without the tokens of which nothing is given; one is left of a condition without any other.

    Args:
        segments: conditions and targets.
        patch: latent pixels along a side of a token.
    """
    return [replace(segment, left=_left(segment, patch)) for segment in _apart(segments)]


def _apart(segments: Sequence[Segment]) -> list[Segment]:
    """The same, where each condition of one video is a segment of its own, so that each can have its own length."""
    found: list[Segment] = []
    for segment in segments:
        if len(segment.t) > 1 or segment.clip or segment.given is None or (segment.given > 0).all():
            found.append(segment)
            continue
        for k in (slice(k, k + 1) for k in range(segment.t.shape[1])):
            latent, t, given = segment.latent[:, :, k], segment.t[:, k], segment.given[:, k]
            found.append(replace(segment, latent=latent, t=t, given=given))
    return found


def _left(segment: Segment, patch: int) -> Left | None:
    if segment.given is None:
        return None
    kept = functional.max_pool2d(segment.given.float(), patch) > 0  # [B, F, rows, columns]
    kept = rearrange(kept, "b f y x -> b 1 (f y x)" if segment.clip else "b f y x -> b f (y x)")
    if kept.all():
        return None
    most = int(kept.sum(dim=-1).max().clamp(min=1))
    order = kept.long().argsort(dim=-1, descending=True, stable=True)[..., :most]  # those that are kept come first
    starts = torch.arange(kept.shape[1], device=kept.device)[:, None] * kept.shape[2]
    known = kept.gather(-1, order)
    known[..., 0] = True
    return Left((starts + order).flatten(1), None if known.all() else known.flatten(1))


def known_tokens(segments: Sequence[Segment], lengths: Sequence[int]) -> Tensor | None:
    """bool [B, L], which of all tokens attention may read; None where it reads all.

    Args:
        segments: as `pruned` leaves them.
        lengths: the tokens of each.
    """
    known = [segment.left.known if segment.left is not None else None for segment in segments]
    if all(each is None for each in known):
        return None
    latent = segments[0].latent
    parts = [
        torch.ones(len(latent), length, dtype=torch.bool, device=latent.device) if each is None else each
        for each, length in zip(known, lengths, strict=True)
    ]
    return torch.cat(parts, dim=1)
