"""Rotary position embedding at continuous positions: temporal RoPE interpolation (VideoCanvas, arXiv 2510.08555)."""

from __future__ import annotations

import torch
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from torch import Tensor

Rotation = tuple[Tensor, Tensor]


def axes_widths(head_width: int) -> tuple[int, int, int]:
    """How Wan splits the channels of a head between time, height and width: (44, 42, 42) of 128."""
    side = 2 * (head_width // 6)
    return head_width - 2 * side, side, side


def temporal_position(frame: Tensor, stride: int) -> Tensor:
    """The latent position t = τ/N of pixel frame τ, in float64: frame 41 lies at 10.25 for N = 4."""
    return frame.double() / stride


def rotary_embedding(t: Tensor, rows: int, columns: int, head_width: int, theta: float = 10000.0) -> Rotation:
    """Rotation of every token of latent frames at any real-valued times.

    The angles are evaluated in float64 at the positions themselves and then cast, so at integers they equal the
    backbone's own table exactly. No parameter appears.

    Args:
        t: temporal positions [B, F] in latent units.
        rows, columns: the token grid of one latent frame; y and x are its integer indices.
        head_width: channels of one attention head.

    Returns:
        (cos, sin), each float32 [B, F·rows·columns, 1, head_width], in the layout of diffusers' Wan attention.
    """
    batch, frames = t.shape
    y = torch.arange(rows, device=t.device, dtype=torch.float64)
    x = torch.arange(columns, device=t.device, dtype=torch.float64)
    widths = axes_widths(head_width)
    tables = [_angles(axis.flatten(), width, theta) for axis, width in zip((t.double(), y, x), widths, strict=True)]
    shapes = [(batch, frames, 1, 1, -1), (1, 1, rows, 1, -1), (1, 1, 1, columns, -1)]
    whole = (batch, frames, rows, columns, -1)

    def join(part: int) -> Tensor:
        axes = [table[part].view(shape).expand(whole) for table, shape in zip(tables, shapes, strict=True)]
        return torch.cat(axes, dim=-1).reshape(batch, frames * rows * columns, 1, head_width)

    return join(0), join(1)


def _angles(positions: Tensor, width: int, theta: float) -> Rotation:
    cos, sin = get_1d_rotary_pos_embed(
        width,
        positions,
        theta,
        use_real=True,
        repeat_interleave_real=True,
        freqs_dtype=torch.float64,
    )
    return cos, sin
