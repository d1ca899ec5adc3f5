"""Columns of numbers, squeezed: each dimension on a grid that is fine for it, as differences in time, by LZMA.

A dimension of floating-point numbers is rounded to multiples of a power of two of at most a 1024th of its standard
deviation, so that its error is at most a 2048th of that: less than a float16 has of most. Whole numbers, and what is
constant, not finite or of too wide a range, are kept to the bit.
"""

from __future__ import annotations

import json
import lzma
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

FINE = 1024  # steps of the grid in a standard deviation
WIDEST = 2**30  # steps from zero
COMPRESSION = 6  # of LZMA


def squeeze(columns: Mapping[str, np.ndarray], about: object) -> bytes:
    """Columns [N] or [N, ...] of numbers or truth values, N the same for all, and what is said about them."""
    head, body = [], []
    for name, column in columns.items():
        flat = np.ascontiguousarray(column.reshape(len(column), -1).T)
        steps = [_step(values) for values in flat]
        head.append([name, column.dtype.str, list(column.shape), steps])
        body += [_differences(_whole(values, step)) for values, step in zip(flat, steps, strict=True)]
    text = json.dumps({"columns": head, "about": about}).encode()
    return lzma.compress(len(text).to_bytes(8, "little") + text + b"".join(body), preset=COMPRESSION)


def expand(data: bytes) -> tuple[dict[str, np.ndarray], Any]:
    """What `squeeze` was given.

    Raises:
        ValueError: it is no such data.
    """
    try:
        plain = lzma.decompress(data)
        start = 8 + int.from_bytes(plain[:8], "little")
        told = json.loads(plain[8:start])
        columns = {}
        for name, kind, shape, steps in told["columns"]:
            flat = []
            for step in steps:
                width = np.dtype(kind).itemsize if step == 0 else 4
                flat.append(_values(plain[start : start + width * shape[0]], width, np.dtype(kind), step))
                start += width * shape[0]
            columns[name] = np.stack(flat, axis=-1).reshape(shape)
        return columns, told["about"]
    except (lzma.LZMAError, KeyError, TypeError) as error:
        raise ValueError(str(error)) from error


def _step(values: np.ndarray) -> float:
    """Of the grid of one dimension; 0 where it is kept to the bit."""
    if values.dtype.kind != "f" or not np.isfinite(values).all():
        return 0.0
    deviation = float(values.astype(np.float64).std())
    if deviation < np.finfo(np.float32).tiny or (values == values[0]).all():
        return 0.0
    step = 2.0 ** math.floor(math.log2(deviation / FINE))
    return step if np.abs(values).max() < step * WIDEST else 0.0


def _whole(values: np.ndarray, step: float) -> np.ndarray:
    """Whole numbers without sign that stand for the values."""
    if step == 0:
        return values.view(np.dtype(f"<u{values.dtype.itemsize}"))
    return np.round(values.astype(np.float64) / step).astype("<i4").view("<u4")


def _differences(numbers: np.ndarray) -> bytes:
    """Each number less the one before, which wraps around; first the lowest bytes of all, then the next ones."""
    changes = np.diff(numbers, prepend=numbers.dtype.type(0))
    return changes.view(np.uint8).reshape(len(numbers), -1).T.tobytes()


def _values(data: bytes, width: int, kind: np.dtype[np.generic], step: float) -> np.ndarray:
    bytes_of = np.frombuffer(data, np.uint8).reshape(width, -1).T
    numbers = np.cumsum(np.ascontiguousarray(bytes_of).view(f"<u{width}")[:, 0], dtype=f"<u{width}")
    return numbers.view(kind) if step == 0 else (numbers.view("<i4") * step).astype(kind)
