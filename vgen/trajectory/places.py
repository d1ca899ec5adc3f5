"""Where hands are, and where they would be if they went on by themselves."""

import numpy as np

from vgen.trajectory.trajectory import Trajectory


def body_places(trajectory: Trajectory) -> np.ndarray:
    """Where each body is: [A, bodies, 3], or 2 coordinates in an image; units as in the layout."""
    spec = trajectory.spec
    places = [np.mean([trajectory.values[:, point] for point in spec.place(body)], axis=0) for body in spec.bodies]
    return np.stack(places, axis=1).astype(np.float64)


def constant_velocity(trajectory: Trajectory, present: int, count: int) -> np.ndarray:
    """Places [count, bodies, 3] from the present row on, if the last step before it went on for ever; where there was
    none, nothing moves."""
    rows = body_places(trajectory)
    there = present > 0 and trajectory.valid[present - 1]
    velocity = rows[present] - rows[present - 1] if there else np.zeros_like(rows[present])
    return rows[present] + np.arange(count)[:, None, None] * velocity
