"""Where hands are in front of a camera, of which only the focal length is known or assumed."""

from __future__ import annotations

import math

import numpy as np

from vgen.trajectory.conventions import INDEX, LITTLE, MIDDLE, WRIST

FILM = math.hypot(36, 24)  # mm, the diagonal that a 35 mm equivalent is of
USUAL_FOCAL = 28.0  # mm, 35 mm equivalent: the main camera of a phone while it films
STEPS = 8  # of Gauss and Newton
LEAST_DEPTH = 0.02  # metres
PALM = [(WRIST, INDEX), (WRIST, MIDDLE), (WRIST, LITTLE)]  # what neither bends nor stretches


def focal_pixels(millimetres: float, size: tuple[int, int]) -> float:
    """A focal length as 35 mm equivalent, in pixels of frames of size (H, W)."""
    return millimetres / FILM * math.hypot(*size)


def of_one_size(shapes: np.ndarray) -> np.ndarray:
    """Hands [..., 21, 3] scaled so that all palms are as large as the median one: a detector's idea of how large a hand
    is changes from frame to frame, and how far away it seems to be changes with it. NaN stays."""
    bones = [shapes[..., end, :] - shapes[..., start, :] for start, end in PALM]
    palms: np.ndarray = np.linalg.norm(bones, axis=-1).sum(0)
    known = np.isfinite(palms) & (palms > 0)
    if not known.any():
        return shapes
    scale = np.median(palms[known]) / np.where(known, palms, np.nan)
    scaled: np.ndarray = shapes * scale[..., None, None]
    return scaled


def place_hands(spots: np.ndarray, shapes: np.ndarray, focal: float, centre: np.ndarray) -> np.ndarray:
    """Hands put in front of a camera so that they are seen where they are seen.

    Each shape is moved and turned as one piece to the least squares of the distances, in the picture, between its
    projected keypoints and those that are seen: the place first, which is linear, then turn and place by Gauss and
    Newton. The camera is a pinhole without distortion, its centre in the middle of the picture.

    Args:
        spots: float64 [N, 21, 2], in pixels.
        shapes: float64 [N, 21, 3], in metres, turned nearly as the camera sees them.
        focal: in pixels.
        centre: float64 [2], x and y, in pixels.

    Returns:
        float64 [N, 21, 3], in metres in the camera's frame; NaN where no place in front of the camera fits.
    """
    rays = (spots - centre) / focal
    place = _first_place(rays, shapes)
    turned = shapes
    for _ in range(STEPS):
        turned, place = _step(rays, turned, place)
    placed = turned + place[:, None]
    with np.errstate(invalid="ignore"):
        fits = np.isfinite(placed).all((1, 2)) & (placed[..., 2] > LEAST_DEPTH).all(1)
    return np.where(fits[:, None, None], placed, np.nan)


def _first_place(rays: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """The place [N, 3] of shapes as they are turned: x + X = u (z + Z) for both axes of each keypoint."""
    one, none = np.ones_like(rays[..., 0]), np.zeros_like(rays[..., 0])
    left = np.stack([np.stack([one, none, -rays[..., 0]], -1), np.stack([none, one, -rays[..., 1]], -1)], 2)
    right = rays * shapes[..., 2:] - shapes[..., :2]
    return _solve(left.reshape(len(rays), -1, 3), right.reshape(len(rays), -1))


def _step(rays: np.ndarray, turned: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shapes turned, and places moved, by one step towards the least squares."""
    points = turned + place[:, None]
    depth = np.maximum(points[..., 2], LEAST_DEPTH)
    none = np.zeros_like(depth)
    over_x = np.stack([1 / depth, none, -points[..., 0] / depth**2], -1)
    over_y = np.stack([none, 1 / depth, -points[..., 1] / depth**2], -1)
    moving = np.stack([over_x, over_y], 2)  # [N, 21, 2, 3], of the seen place by the place
    turning = np.cross(turned[:, :, None], moving)  # and by a small turn w: w x X
    by = np.concatenate([turning, moving], -1).reshape(len(rays), -1, 6)
    change = _solve(by, (rays - points[..., :2] / depth[..., None]).reshape(len(rays), -1))
    return _turn(turned, change[:, :3]), place + change[:, 3:]


def _solve(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Least squares [N, K] of systems [N, M, K] and [N, M], a little damped so that none is singular."""
    square = left.swapaxes(1, 2) @ left
    trace = np.trace(square, axis1=1, axis2=2)[:, None, None]
    damped = square + 1e-9 * trace * np.eye(square.shape[-1])
    solved: np.ndarray = np.linalg.solve(damped, left.swapaxes(1, 2) @ right[..., None])[..., 0]
    return solved


def _turn(shapes: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Shapes [N, 21, 3] turned by rotation vectors [N, 3] (Rodrigues)."""
    angle = np.linalg.norm(by, axis=-1)[:, None, None]
    axis = by[:, None] / np.maximum(angle, 1e-12)
    along = (shapes * axis).sum(-1, keepdims=True) * axis
    across = np.cross(np.broadcast_to(axis, shapes.shape), shapes)
    rotated: np.ndarray = along + np.cos(angle) * (shapes - along) + np.sin(angle) * across
    return rotated
