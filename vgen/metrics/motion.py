"""Where hands are, where they would be if they went on by themselves, and how far boxes overlap."""

import numpy as np

from vgen.ego.trajectory import Trajectory


def body_places(trajectory: Trajectory) -> np.ndarray:
    """Where each body is: [A, bodies, 3], or 2 coordinates in an image; units as in the layout."""
    kind = trajectory.kind
    places = [np.mean([trajectory.values[:, point] for point in kind.place(body)], axis=0) for body in kind.bodies]
    return np.stack(places, axis=1).astype(np.float64)


def constant_velocity(trajectory: Trajectory, present: int, count: int) -> np.ndarray:
    """Places [count, bodies, 3] from the present row on, if the last step before it went on for ever; where there was
    none, nothing moves."""
    rows = body_places(trajectory)
    there = present > 0 and trajectory.valid[present - 1]
    velocity = rows[present] - rows[present - 1] if there else np.zeros_like(rows[present])
    return rows[present] + np.arange(count)[:, None, None] * velocity


def box_iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (x0, y0, x1, y1), [..., 4] twice -> [...].

    A box whose second corner lies before its first is empty; two empty boxes have 0 in common.
    """
    low, high = np.maximum(one[..., :2], other[..., :2]), np.minimum(one[..., 2:], other[..., 2:])
    shared = _area(low, high)
    union = _area(one[..., :2], one[..., 2:]) + _area(other[..., :2], other[..., 2:]) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _area(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return (high - low).clip(min=0).astype(np.float64).prod(-1)
