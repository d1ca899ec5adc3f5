"""Trajectories as a network reads them: the one place where orientations change their form.

A trajectory holds Euler angles where its layout says so, the network's rows hold rot6d (`Layout.network`). Training,
rollouts and benchmarks all come through here, so one motion has one set of rows, without a jump at ±pi, whichever of
its angles were recorded.
"""

import numpy as np

from vgen.trajectory.layouts import Layout
from vgen.trajectory.rotations import to_columns, to_matrices
from vgen.trajectory.trajectory import Trajectory


def network_rows(trajectory: Trajectory) -> np.ndarray:
    """The rows as a network reads them, not yet normalised: float64 [A, N]; anything where they are not valid."""
    values = trajectory.values.astype(np.float64)
    if not any(part.euler for part in trajectory.spec.parts):
        return values
    values[~trajectory.valid] = 0.0
    parts = trajectory.spec.slices()
    return np.concatenate(
        [to_columns(to_matrices(values[:, where]), 6) if part.euler else values[:, where] for part, where in parts], 1
    )


def recorded_columns(rows: np.ndarray, spec: Layout, valid: np.ndarray) -> np.ndarray:
    """The inverse of `network_rows`: [A, D] in the columns of the layout."""
    values = []
    for part, (_, where) in zip(spec.parts, spec.network.slices(), strict=True):
        columns = rows[:, where]
        if part.euler:
            columns = np.full((len(rows), 3), np.nan)
            columns[valid] = to_columns(to_matrices(rows[valid, where]), 3)
        values.append(columns)
    return np.concatenate(values, 1)
