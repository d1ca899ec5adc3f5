"""Where bodies are, and where they would be if they went on at a constant velocity."""

import numpy as np

from vgen.trajectory.trajectory import Trajectory


def body_places(trajectory: Trajectory) -> np.ndarray:
    """Where each body is: [A, bodies, 3], or 2 coordinates in an image; units as in the layout."""
    return np.stack([place_of(trajectory, body) for body in trajectory.spec.bodies], axis=1)


def place_of(trajectory: Trajectory, body: str) -> np.ndarray:
    """Where a body is: float64 [A, 3], or 2 coordinates in an image; the mean of its points of `Layout.place`."""
    place: np.ndarray = trajectory.values[:, trajectory.spec.place(body)].astype(np.float64).mean(axis=1)
    return place


def known_rows(trajectory: Trajectory, body: str) -> np.ndarray:
    """Where a body is told of: bool [A], the valid rows in which its flag, where it has one, says that it is seen."""
    known: np.ndarray = trajectory.valid & trajectory.spec.seen(trajectory.values, body)
    return known


def joint_place(trajectory: Trajectory, row: int) -> np.ndarray:
    """Where all bodies are in a row: float64 [bodies · 3], or 2 coordinates each in an image."""
    place: np.ndarray = body_places(trajectory.rows(row, row + 1))[0].ravel()
    return place


def constant_velocity(trajectory: Trajectory, present: int, count: int) -> np.ndarray:
    """Places [count, bodies, 3] from the present row on, if the last step before it went on for ever; where there was
    none, nothing moves."""
    rows = body_places(trajectory)
    there = present > 0 and trajectory.valid[present - 1]
    velocity = rows[present] - rows[present - 1] if there else np.zeros_like(rows[present])
    places: np.ndarray = rows[present] + np.arange(count)[:, None, None] * velocity
    return places


def body_speeds(trajectory: Trajectory, body: str) -> np.ndarray:
    """How fast a body is between rows that both tell of it: float64 [up to A - 1], its unit of place per second."""
    steps = np.linalg.norm(np.diff(place_of(trajectory, body), axis=0), axis=1)
    known = known_rows(trajectory, body)
    speeds: np.ndarray = (steps / np.diff(trajectory.times))[known[1:] & known[:-1]]
    return speeds
