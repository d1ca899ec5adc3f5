"""What stands in a condition's picture for the pixels that are not given (`condition_padding`).

A codec reads whole pictures. Zeros, mid-grey, are the paper's choice (VideoCanvas, section 3). Where conditions are
pruned, tokens at the edge of what is given are read with a part of the padding, and a model that has not seen very many
edges takes the grey for a colour; the nearest given pixels are mostly nearer to what is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

Padding = Literal["zeros", "nearest"]
GIVEN_WHOLE = 0.99  # of a mask, from which a pixel may stand in for others


@dataclass(frozen=True)
class Nearest:
    """Of each pixel of some pictures the nearest one that is given whole. Who finds them before the pictures reach a
    GPU spares it the wait.

    Attributes:
        places: int64 [M, H·W], of M masks: its number, counted by rows; of a given pixel, and where none is, its own.
        found: bool [M], whether any pixel of a mask is given.
        mask: int64 [...], which of the M a picture has: those of a clip mostly have one.
    """

    places: Tensor
    found: Tensor
    mask: Tensor

    @classmethod
    def of(cls, masks: Tensor) -> Nearest:
        """Of masks [..., 1, H, W], one or more of them; see `padded`."""
        whole = (masks >= GIVEN_WHOLE).cpu().numpy()
        height, width = whole.shape[-2:]
        kinds: dict[bytes, int] = {}
        mask = [kinds.setdefault(each.tobytes(), len(kinds)) for each in whole.reshape(-1, height, width)]
        each_once = [np.frombuffer(kind, bool).reshape(height, width) for kind in kinds]
        return cls(
            torch.from_numpy(np.stack([_places(given) for given in each_once])).to(masks.device),
            torch.tensor([bool(given.any()) for given in each_once], device=masks.device),
            torch.tensor(mask, device=masks.device).view(masks.shape[:-3]),
        )

    def pixels(self, pixels: Tensor) -> Tensor:
        """Pictures [..., 3, H, W] in which each pixel is the nearest given one; zeros where none is."""
        flat, mask = pixels.flatten(0, -4).flatten(2), self.mask.flatten()  # [N, 3, H·W]
        near: Tensor = flat.gather(2, self.places[mask].unsqueeze(1).expand_as(flat))
        return (near * self.found[mask].view(-1, 1, 1)).view_as(pixels)


def padded(pixels: Tensor, masks: Tensor, padding: Padding, nearest: Nearest | None = None) -> Tensor:
    """Pictures as the codec reads them: each pixel as far as it is given, and the rest of it padding.

    Args:
        pixels: [..., 3, H, W] in [-1, 1], with one leading dimension or more.
        masks: [..., 1, H, W], by how much a pixel is given, 0 to 1 or booleans.
        padding: "zeros"; or "nearest": the nearest pixel of the same picture that is given whole, or zeros where none
            is.
        nearest: of these masks, where it is known already.
    """
    given = pixels * masks
    if padding == "zeros":
        return given
    if nearest is None:
        nearest = Nearest.of(masks)
    return given + nearest.pixels(pixels) * (1 - masks.to(pixels.dtype))


def _places(given: np.ndarray) -> np.ndarray:
    """See `Nearest.places`: of a mask [H, W], int64 [H·W]."""
    if not given.any():
        return np.arange(given.size)
    rows, columns = distance_transform_edt(~given, return_distances=False, return_indices=True)
    places: np.ndarray = (rows.astype(np.int64) * given.shape[1] + columns).ravel()
    return places
