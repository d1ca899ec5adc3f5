"""The tokens of segments: how many they are, where they stand in space and time, and how they become latents again.

In all functions, `patch` is how many latent pixels lie along a side of a token; a token spans one latent frame.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from vgen.backbone.parallel import TokenSplit
from vgen.backbone.rope import Rotation, rotary_embedding
from vgen.backbone.segments import KeptTokens, Places, Segment
from vgen.backbone.shapes import LatentShape
from vgen.errors import InputError


def shape_of(segment: Segment, patch: int) -> LatentShape:
    """The shape of a segment's latent, of all its tokens."""
    *_, frames, height, width = segment.latent.shape
    return LatentShape(frames, height, width, patch)


def count_of(segment: Segment, patch: int) -> int:
    """How many tokens a segment has, without those that are pruned."""
    return shape_of(segment, patch).tokens if segment.kept is None else segment.kept.index.shape[1]


def condition_lengths(segments: Sequence[Segment], patch: int) -> list[int]:
    """Tokens of every condition: of a whole clip, of each frame otherwise."""
    lengths: list[int] = []
    for segment in segments:
        if segment.role == "condition" and segment.kept is not None:
            lengths += segment.kept.lengths
        elif segment.role == "condition":
            count = 1 if segment.clip else segment.t.shape[1]
            lengths += [count_of(segment, patch) // count] * count
    return lengths


def places_of(segments: Sequence[Segment], split: TokenSplit, patch: int) -> Places:
    """The positions of this rank's tokens; the empty ones at the end are no target's, so adapters leave them.

    Raises:
        InputError: the tokens that are kept of a condition differ between the videos of a batch.
    """
    device = segments[0].latent.device
    starts = itertools.accumulate((segment.t.shape[1] for segment in segments), initial=0)
    frame = torch.cat([first + _frames(segment, patch) for first, segment in zip(starts, segments, strict=False)])
    is_target = torch.tensor([segment.role == "target" for segment in segments], device=device)
    role = is_target.repeat_interleave(torch.tensor(split.whole, device=device))
    mine = split.take(torch.stack([frame, role.long()], dim=-1).unsqueeze(0))[0]
    spot = split.take(torch.cat([_spots(segment, patch) for segment in segments]).unsqueeze(0))[0]
    times = torch.cat([segment.t for segment in segments], dim=1).to(device)
    return Places(times, mine[:, 0], mine[:, 1].bool(), spot)


def rotation_of(segment: Segment, patch: int, width: int) -> Rotation:
    """The cosines and sines that turn a segment's queries and keys, for attention heads of this width."""
    _, rows, columns = shape_of(segment, patch).grid
    cos, sin = rotary_embedding(segment.t, rows, columns, width)
    return (cos, sin) if segment.kept is None else (segment.kept.take(cos), segment.kept.take(sin))


def as_latent(tokens: Tensor, segment: Segment, patch: int) -> Tensor:
    """Tokens [B, L, patch · patch · C] of a segment, put together to [B, C, F, h, w]."""
    grid = dict(zip("fhw", shape_of(segment, patch).grid, strict=True)) | {"p": patch, "q": patch}
    return rearrange(tokens, "b (f h w) (p q c) -> b c f (h p) (w q)", **grid)


def _frames(segment: Segment, patch: int) -> Tensor:
    """The latent frame of each token of a segment, [L], counted from its first."""
    tokens = shape_of(segment, patch)
    frames = torch.arange(tokens.frames, device=segment.latent.device).repeat_interleave(tokens.frame_tokens)
    return frames if segment.kept is None else frames[_of_all(segment.kept)]


def _spots(segment: Segment, patch: int) -> Tensor:
    """(y, x) of each token of a segment, [L, 2], as shares of the image."""
    frames, *sides = shape_of(segment, patch).grid
    rows, columns = ((torch.arange(side, device=segment.latent.device) + 0.5) / side for side in sides)
    spots = torch.cartesian_prod(rows, columns).repeat(frames, 1)
    return spots if segment.kept is None else spots[_of_all(segment.kept)]


def _of_all(kept: KeptTokens) -> Tensor:
    """Where the tokens of all videos stand that are kept, int64 [L].

    Raises:
        InputError: they are not the same of every video.
    """
    if not kept.alike:
        rule = "different patches of several videos at once cannot go with a trajectory"
        raise InputError(f"prune_conditions=true: {rule}; give one video at a time")
    return kept.index[0]
