"""Statistics of trajectories, by which models normalise them.

They belong to one layout and one form, and travel in the model's folder as JSON. A trajectory of another kind is
refused, so that they are neither missing nor mixed up in silence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vgen.errors import InputError, unknown_key
from vgen.trajectory.layouts import find_layout
from vgen.trajectory.network import network_rows, recorded_columns
from vgen.trajectory.trajectory import FORMS, Trajectory

METHODS = ("quantile", "mean_std")
QUANTILE = 0.01  # and 1 - 0.01: the range that becomes [-1, 1]
CONSTANT = 1e-6  # a column that spreads less than this is taken for constant
OUTLIER = 4.0  # deviations from the mean


@dataclass(frozen=True, eq=False)
class Statistics:
    """Per column of the network's layout (`Layout.network`), normalised = (value - centre) / spread.

    Attributes:
        layout, form: of the trajectories that they are for.
        method: "quantile": centre and spread map the quantiles 0.01 and 0.99 to -1 and 1, and what lies beyond is
            clamped. "mean_std": they are mean and standard deviation, and nothing is clamped.
        centre, spread: float64 [N], a number for each column of the network. The spread of a constant column is 1.

    Raises:
        InputError: an unknown layout, form or method, or arrays that do not fit the layout; those of a model that was
            trained on Euler angles as they come do not.
    """

    layout: str
    form: str
    method: str
    centre: np.ndarray
    spread: np.ndarray

    def __post_init__(self) -> None:
        spec = find_layout(self.layout)
        width = spec.network.width
        for given, known, where in ((self.form, FORMS, "forms"), (self.method, METHODS, "normalisation methods")):
            if given not in known:
                raise unknown_key(given, known, f"the {where}")
        for name in ("centre", "spread"):
            try:
                array = np.asarray(getattr(self, name), dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise InputError(f"statistics of {self.layout}: {name} does not hold numbers") from error
            if array.shape == (spec.width,) != (width,):
                rule = f"of Euler angles; a model now reads orientations as rot6d, {width} columns: train it anew"
                raise InputError(f"statistics of {self.layout} hold {spec.width} columns {rule}")
            if array.shape != (width,) or not np.isfinite(array).all():
                raise InputError(
                    f"statistics of {self.layout}: {name} of shape {list(array.shape)} must be {width} finite numbers"
                )
            object.__setattr__(self, name, array)
        if (self.spread <= 0).any():
            raise InputError(f"statistics of {self.layout}: spread holds {self.spread.min():g}; it must be positive")

    @classmethod
    def fit(cls, trajectories: Sequence[Trajectory], method: str = "quantile") -> "Statistics":
        """Statistics of the valid rows of all trajectories.

        Raises:
            InputError: no trajectory, none with a valid row, several layouts or forms, or an unknown method.
        """
        found = sorted({(each.layout, each.form) for each in trajectories})
        if len(found) != 1:
            named = ", ".join(f"{name} ({form})" for name, form in found) or "none"
            raise InputError(f"statistics are of trajectories of one layout and form; given: {named}")
        rows = np.concatenate([network_rows(each)[each.valid] for each in trajectories])
        if not len(rows):
            raise InputError(f"no valid row in {len(trajectories)} trajectories; statistics need 1 or more")
        if method == "mean_std":
            centre, spread = rows.mean(0), rows.std(0)
        else:
            low, high = np.quantile(rows, [QUANTILE, 1 - QUANTILE], axis=0)
            centre, spread = (low + high) / 2, (high - low) / 2
        return cls(*found[0], method, centre, np.where(spread < CONSTANT, 1.0, spread))

    def normalise(self, trajectory: Trajectory) -> np.ndarray:
        """Float32 [A, N], as the network reads them; rows that are not valid are 0.

        Raises:
            InputError: the trajectory has another layout or form.
        """
        rows = self._rows(trajectory)
        return (rows.clip(-1, 1) if self.method == "quantile" else rows).astype(np.float32)

    def outlier_share(self, trajectory: Trajectory) -> float:
        """The share of its values that are unlike those of the fit: beyond the quantiles, or more than four standard
        deviations from the mean. A model is hardly at home there.

        Raises:
            InputError: as `normalise`.
        """
        rows = self._rows(trajectory)[trajectory.valid]
        return float((np.abs(rows) > (1.0 if self.method == "quantile" else OUTLIER)).mean()) if len(rows) else 0.0

    def farthest_column(self, trajectory: Trajectory) -> str:
        """Which column is farthest from what it was in the fit, in words.

        Raises:
            InputError: as `normalise`.
        """
        place = int(np.abs(self._rows(trajectory)).max(0).argmax())
        values = network_rows(trajectory)[trajectory.valid, place]
        low, high = self.usual_range(place)
        name = trajectory.spec.network.names[place]
        return f"{name} is {values.min():.3g} to {values.max():.3g}, and was {low:.3g} to {high:.3g}"

    def usual_range(self, place: int) -> tuple[float, float]:
        """Between what values a column of the network mostly was in the fit."""
        reach = self.spread[place] * (1.0 if self.method == "quantile" else OUTLIER)
        return float(self.centre[place] - reach), float(self.centre[place] + reach)

    def restore(self, rows: np.ndarray, times: np.ndarray, valid: np.ndarray | None = None) -> Trajectory:
        """The trajectory of normalised rows [A, N], such as a model predicts; the inverse of `normalise` within the
        quantiles.

        Raises:
            InputError: the rows do not fit the layout, or what `Trajectory` refuses.
        """
        rows = np.asarray(rows, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != len(self.centre):
            raise InputError(f"rows of shape {list(rows.shape)} are not [A, {len(self.centre)}] of {self.layout}")
        known = np.ones(len(rows), bool) if valid is None else np.asarray(valid)
        values = recorded_columns(rows * self.spread + self.centre, find_layout(self.layout), known)
        return Trajectory(values, times, valid, self.layout, self.form)

    def to_json(self) -> dict[str, object]:
        """Plain values, for a config.json."""
        arrays = {"centre": self.centre.tolist(), "spread": self.spread.tolist()}
        return {"layout": self.layout, "form": self.form, "method": self.method} | arrays

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Statistics":
        """What `to_json` made.

        Raises:
            InputError: a key is missing or unknown, or a value is not usable.
        """
        names = tuple(cls.__dataclass_fields__)
        if not isinstance(kept, Mapping) or set(kept) != set(names):
            raise InputError(f"statistics hold {sorted(kept)}; they must hold {', '.join(names)}")
        return cls(**kept)

    def _rows(self, trajectory: Trajectory) -> np.ndarray:
        if (trajectory.layout, trajectory.form) != (self.layout, self.form):
            raise InputError(
                f"the trajectory is {trajectory.layout} ({trajectory.form}); the statistics are of {self.layout}"
                f" ({self.form}): convert it first"
            )
        rows: np.ndarray = (network_rows(trajectory) - self.centre) / self.spread
        rows[~trajectory.valid] = 0.0
        return rows
