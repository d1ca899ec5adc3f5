"""A trajectory: the hand or end effector over time, with what its columns mean, checked when it is made.

Alignment: row k of the `absolute` form is the state at frame k. Row k of the `delta` form is the action that leads
from frame k to frame k + 1, and its time is its arrival, the time of frame k + 1. `vgen.trajectory.convert` goes
between them.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from vgen.checks import show
from vgen.errors import InputError, unknown_key
from vgen.trajectory.layouts import LAYOUTS, Column, Layout, find_layout

__all__ = ["FORMS", "LAYOUTS", "TIME_TOLERANCE", "Column", "Layout", "Trajectory", "find_layout"]

FORMS = ("absolute", "relative", "delta")
LARGEST_TIME = 1e25  # seconds; nanoseconds since 1970 lie far below
TIME_TOLERANCE = 1e-4  # of a second: what lies no further apart is at one time, since data sets keep times in float32


@dataclass(frozen=True, eq=False, init=False)
class Trajectory:
    """A rows of D columns.

    Attributes:
        values: float32 [A, D]; units and signs as the layout says. Finite where valid. Of a hand that is not seen any
            more, those of when it was last seen, whatever was given; in delta form as given.
        times: float64 [A], in seconds, increasing.
        valid: bool [A]; where it is not given, all are.
        layout: name of a layout.
        form: "absolute": a row for each frame, A = T. "relative": the same, each against the first frame. "delta": A =
            T - 1 steps, each with the time of the frame that it leads to.

    Raises:
        InputError: an unknown layout or form, arrays that do not fit together or the layout, times that do not
            increase, or in a valid row a value that is not finite or an angle that cannot be in radians.
    """

    values: np.ndarray
    times: np.ndarray
    valid: np.ndarray
    layout: str
    form: str

    def __init__(
        self,
        values: ArrayLike,
        times: ArrayLike,
        valid: ArrayLike | None = None,
        layout: str = "",
        form: str = "absolute",
    ) -> None:
        if form not in FORMS:
            raise unknown_key(form, FORMS, "the forms of a trajectory")
        with np.errstate(over="ignore"):  # what is too large for float32 is reported below
            rows = _numbers(values, "values", 2).astype(np.float32)
        flags = np.ones(len(rows), bool) if valid is None else _flags(valid)
        given = {"values": rows, "times": _numbers(times, "times", 1), "valid": flags, "layout": layout, "form": form}
        for name, value in given.items():
            object.__setattr__(self, name, value)  # as it is frozen
        for name in ("times", "valid"):
            count = len(getattr(self, name))
            if count != len(self):
                raise InputError(f"{name} has {count} entries for {len(self)} rows of values; give one for each")
        self._check_times()
        self.spec.check(self.values, self.valid)
        if form != "delta":
            self.spec.hold_unseen(self.values, self.valid)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def spec(self) -> Layout:
        """The layout of that name: what each column means."""
        return find_layout(self.layout)

    def rows(self, start: int, stop: int) -> "Trajectory":
        """Rows start to stop - 1.

        Raises:
            InputError: they are not all there.
        """
        if not 0 <= start < stop <= len(self):
            raise InputError(
                f"rows {start} to {stop - 1} are not in a trajectory of {len(self)} rows, 0 to {len(self) - 1}"
            )
        keep = slice(start, stop)
        return replace(self, values=self.values[keep], times=self.times[keep], valid=self.valid[keep])

    def _check_times(self) -> None:
        lost = np.flatnonzero(~(np.abs(self.times) <= LARGEST_TIME))
        if lost.size:
            raise InputError(f"times[{lost[0]}]={self.times[lost[0]]} must be a finite number of seconds")
        late = np.flatnonzero(np.diff(self.times) <= 0)
        if late.size:
            k = late[0] + 1
            rule = "sort the rows" if self.times[k] < self.times[k - 1] else "keep one of the two, and times in float64"
            raise InputError(
                f"times[{k}]={self.times[k]:.10g} does not come after times[{k - 1}]={self.times[k - 1]:.10g}; {rule}"
            )


def _numbers(given: object, name: str, dimensions: int) -> np.ndarray:
    """The values as float64, of that many dimensions."""
    try:
        array = np.asarray(given)
    except ValueError as error:  # lists of different lengths
        raise InputError(f"{name} are not rows of one length; give every row all columns") from error
    if array.shape[:1] == (0,):
        raise InputError("the trajectory has no rows; it needs 1 or more")
    if array.dtype.kind not in "iuf":
        odd = [each for each in array.ravel().tolist() if not _is_number(each)]
        found = f"; it has {show(odd[0])}" if odd else ""
        raise InputError(f"{name} hold {array.dtype} and must hold numbers, such as float32{found}")
    if array.ndim != dimensions:
        shape = {1: "[A]", 2: "[A, D]"}[dimensions]
        raise InputError(f"{name} of shape {list(array.shape)} must be {shape}, A rows")
    return array.astype(np.float64)


def _is_number(value: object) -> bool:
    return isinstance(value, float) or (type(value) is int and abs(value) < 2**63)


def _flags(given: object) -> np.ndarray:
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise InputError("valid holds lists of different lengths and must be bool [A]") from error
    if array.ndim != 1 or array.dtype != bool:
        raise InputError(f"valid is {array.dtype} of shape {list(array.shape)} and must be bool [A]")
    return array.copy()
