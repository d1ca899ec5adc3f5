"""What stands in a condition's picture for the pixels that are not given (`condition_padding`).

A codec reads whole pictures. Zeros, mid-grey, are the paper's choice (VideoCanvas, section 3). Where conditions are
pruned, tokens at the edge of what is given are read with a part of the padding, and a model that has not seen very many
edges takes the grey for a colour; the nearest given pixels are mostly nearer to what is there.
"""

from __future__ import annotations

from typing import Literal

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

Padding = Literal["zeros", "nearest"]
GIVEN_WHOLE = 0.99  # of a mask, from which a pixel may stand in for others


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
    """Of each pixel of a mask [H, W] the nearest one that is given, as its number counted by rows: int64 [H·W]. Where
    none is given, the pixel itself."""
    height, width = given.shape
    if not given.any():
        return torch.arange(height * width, device=given.device)
    rows, columns = distance_transform_edt(~given.cpu().numpy(), return_distances=False, return_indices=True)
    return torch.from_numpy(rows.astype("int64") * width + columns).flatten().to(given.device)
