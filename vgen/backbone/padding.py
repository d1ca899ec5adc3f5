"""What stands in a condition's picture for the pixels that are not given (`condition_padding`).

A codec reads whole pictures. Zeros, mid-grey, are the paper's choice (VideoCanvas, section 3). Where conditions are
pruned, tokens at the edge of what is given are read with a part of the padding, and a model that has not seen very many
edges takes the grey for a colour; the nearest given pixels tell it nothing that is far from the truth.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Padding = Literal["zeros", "nearest"]
GIVEN_WHOLE = 0.99  # of a mask, from which a pixel may stand in for others
AT_ONCE = 1 << 23  # distances that are held in memory


def padded(pixels: Tensor, masks: Tensor, padding: Padding) -> Tensor:
    """Pictures as the codec reads them: each pixel as far as it is given, and the rest of it padding.

    Args:
        pixels: [..., 3, H, W] in [-1, 1].
        masks: [..., 1, H, W], by how much a pixel is given, 0 to 1 or booleans.
        padding: "zeros"; or "nearest": the nearest pixel of the same picture that is given whole, or zeros where none
            is.
    """
    given = pixels * masks
    if padding == "zeros":
        return given
    return given + nearest_given(pixels, masks) * (1 - masks.to(pixels.dtype))


def nearest_given(pixels: Tensor, masks: Tensor) -> Tensor:
    """Pictures in which each pixel is the nearest one that is given whole; zeros where none is. See `padded`."""
    whole = masks.flatten(0, -4).flatten(1) >= GIVEN_WHOLE
    height, width = pixels.shape[-2:]
    kinds, kind = torch.unique(whole, dim=0, return_inverse=True)  # the frames of a clip mostly have one mask
    places = torch.stack([_places(each.view(height, width)) for each in kinds])
    found = kinds.any(dim=1).to(pixels.dtype)
    flat = pixels.flatten(0, -4).flatten(2)  # [N, 3, H·W]
    near: Tensor = flat.gather(2, places[kind].unsqueeze(1).expand_as(flat)) * found[kind].view(-1, 1, 1)
    return near.view_as(pixels)


def _places(given: Tensor) -> Tensor:
    """Of each pixel of a mask [H, W] the nearest one that is given, as its number H·W counted by rows: int64 [H·W].

    By the separable distance transform (Felzenszwalb and Huttenlocher, 2012, section 3): the nearest one of each
    column, and of these the nearest one of all columns; of several the leftmost.
    """
    height, width = given.shape
    if given.all() or not given.any():
        return torch.arange(height * width, device=given.device)
    rows, columns = (torch.arange(size, dtype=torch.int32, device=given.device) for size in given.shape)
    rows, far = rows[:, None], height + width
    above = torch.where(given, rows, -far).cummax(dim=0).values
    below = torch.where(given, rows, height + far).flip(0).cummin(dim=0).values.flip(0)
    row = torch.where(rows - above <= below - rows, above, below)  # [H, W], out of the picture in a column without any
    # the distance and the column in one number, so that the smaller column wins of two at one distance
    kind = torch.int32 if ((far + height) ** 2 + width**2) * width < 1 << 31 else torch.int64
    down, across = (rows - row).to(kind).square() * width, (columns[:, None] - columns).to(kind).square() * width
    distances = across + columns
    parts = torch.split(down, max(1, AT_ONCE // width**2))
    nearest = [(part[:, None] + distances).amin(dim=2) for part in parts]
    column = torch.cat(nearest).remainder(width).long()
    return (row.gather(1, column) * width + column).flatten().long()
