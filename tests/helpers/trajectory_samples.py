"""Trajectories of every layout, made up at random but such as the layout allows."""

import numpy as np
from scipy.spatial.transform import Rotation

from vgen.trajectory.layouts import LAYOUTS
from vgen.trajectory.trajectory import Trajectory

LAYOUT_NAMES = sorted(LAYOUTS)


def turns(rng, rows):
    """A smooth path of rotations that goes far from where it begins."""
    steps = Rotation.from_rotvec(rng.normal(0, 0.15, (rows, 3)))
    path = [Rotation.from_rotvec(rng.normal(0, 1, 3))]
    for step in steps[1:]:
        path.append(path[-1] * step)
    return Rotation.concatenate(path)


def six(rotation):
    """First, then second column of the matrices: [A, 6]."""
    matrix = rotation.as_matrix()
    return np.concatenate([matrix[:, :, 0], matrix[:, :, 1]], axis=1)


def sample(name, rows=40, seed=0, rate=20.0):
    """An absolute trajectory of a layout, all valid."""
    rng = np.random.default_rng(seed)
    blocks = []
    for part in LAYOUTS[name].parts:
        width = len(part.columns)
        walk = rng.normal(0, 1, (1, width)) * 0.3 + np.cumsum(rng.normal(0, 0.02, (rows, width)), axis=0)
        if part.type == "rotation":
            rotation = turns(rng, rows)
            walk = six(rotation) if width == 6 else rotation.as_euler("xyz")
        elif part.type == "pose":
            walk = np.concatenate([walk[:, :3], six(turns(rng, rows))], axis=1)
        elif part.type == "flag":
            walk = rng.integers(0, 2, (rows, width))
        blocks.append(walk)
    return Trajectory(np.concatenate(blocks, axis=1), 2.0 + np.arange(rows) / rate, layout=name)


def with_gap(trajectory, *rows):
    """The same, with rows that are not valid."""
    values, valid = trajectory.values.copy(), trajectory.valid.copy()
    values[list(rows)], valid[list(rows)] = np.nan, False
    return Trajectory(values, trajectory.times, valid, trajectory.layout, trajectory.form)
