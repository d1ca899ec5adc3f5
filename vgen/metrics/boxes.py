"""How far boxes overlap."""

import numpy as np


def box_iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (x0, y0, x1, y1), [..., 4] twice -> [...].

    A box whose second corner lies before its first is empty; two empty boxes have 0 in common.
    """
    low, high = np.maximum(one[..., :2], other[..., :2]), np.minimum(one[..., 2:], other[..., 2:])
    shared = _area(low, high)
    union = _area(one[..., :2], one[..., 2:]) + _area(other[..., :2], other[..., 2:]) - shared
    overlap: np.ndarray = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlap


def _area(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    area: np.ndarray = (high - low).clip(min=0).astype(np.float64).prod(-1)
    return area
