"""Columns of a parquet file as numpy arrays, in whichever of its list types they are kept."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vgen.checks import show
from vgen.errors import InputError

NUMBERS = "iuf"  # kinds of numpy types


@contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """A parquet file; what goes wrong with it while it is open is told in one line.

    Raises:
        InputError: it is missing, a folder, damaged, encrypted or another kind of file.
    """
    if not os.path.isfile(path):  # pyarrow would read a folder as one table
        what = "is a folder, not a parquet file" if os.path.isdir(path) else "no such parquet file"
        raise InputError(f"{path}: {what}")
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except InputError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = show(" ".join(str(error).split()))
        raise InputError(f"{path}: damaged or not a parquet file ({reason})") from error


def read_column(path: Path, name: str, groups: Sequence[int] | None = None) -> pa.ChunkedArray:
    """One column of a parquet file, or of some of its row groups.

    Raises:
        InputError: the file cannot be read, or does not hold the column once.
    """
    with open_parquet(path) as file:
        held = file.schema_arrow.names.count(name)
        if held != 1:
            raise InputError(f"{path}: holds {held} columns named {show(name)}; it needs one")
        places = list(range(file.num_row_groups) if groups is None else groups)
        column = file.read_row_groups(places, columns=[name])[name]
        rows = sum(file.metadata.row_group(place).num_rows for place in places)
    if len(column) != rows:
        raise InputError(f"{path}: damaged: column {show(name)} has {len(column)} rows of {rows}")
    return column


def to_array(column: pa.ChunkedArray | pa.Array, shape: Sequence[int] | None = None) -> np.ndarray:
    """The rows of a column: numbers, booleans or text.

    Args:
        column: T rows; plain, or lists of lists of one length. Rows and numbers that are null become NaN.
        shape: of a row, as the data set declares it; None where it does not.

    Returns:
        [T] of a plain column, else [T, *shape].

    Raises:
        InputError: lists of different lengths, a row that is not of the shape, or what is none of the three.
    """
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(values, pa.ChunkedArray):  # of too much text for one array
        raise InputError("holds more than 2 GB in one episode")
    array = _nested(values, tuple(shape or ()))
    row = array.shape[1:]
    if shape is None or row == tuple(shape) or (not row and math.prod(shape) == 1):
        return array
    if row and math.prod(row) == math.prod(shape):
        return array.reshape(len(array), *shape)
    held = f"lists of {'x'.join(map(str, row))}" if row else "single values"
    raise InputError(f"holds {held}; meta/info.json declares the shape {list(shape)}")


def to_numbers(column: pa.ChunkedArray | pa.Array, shape: Sequence[int] | None = None) -> np.ndarray:
    """The array of a column that must hold numbers, as `to_array` gives it."""
    array = to_array(column, shape)
    if array.dtype.kind not in NUMBERS:
        raise InputError(f"holds {column.type} and must hold numbers, such as float32")
    return array


def _nested(values: pa.Array, shape: Sequence[int], what: str = "row") -> np.ndarray:
    """The array of a column as `to_array` gives it; `shape` tells the length of lists that are all null."""
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if pa.types.is_null(values.type):
        return np.full((len(values), *shape), np.nan)
    if not _is_list(values.type):
        return _plain(values)
    lengths = pc.list_value_length(values).to_numpy(zero_copy_only=False)
    present = values.is_valid().to_numpy(zero_copy_only=False)
    fixed = pa.types.is_fixed_size_list(values.type)
    usual = values.type.list_size if fixed else next(iter(shape), 0)
    size = int(lengths[present][0]) if present.any() else usual
    odd = np.flatnonzero(present & (lengths != size))
    if odd.size:
        first = int(present.argmax())
        raise InputError(f"{what} {odd[0]} holds {lengths[odd[0]]:g} values and {what} {first} holds {size}")
    inner = _nested(values.flatten(), shape[1:], "list")  # leaves null rows out
    inner = inner.reshape(int(present.sum()), size, *inner.shape[1:])
    if present.all():
        return inner
    numeric = inner.dtype.kind in NUMBERS
    kind, empty = (np.result_type(inner.dtype, np.float32), np.nan) if numeric else (object, None)
    array = np.full((len(values), *inner.shape[1:]), empty, kind)
    array[present] = inner
    return array


def _plain(values: pa.Array) -> np.ndarray:
    kind = values.type
    if pa.types.is_dictionary(kind):
        values = values.dictionary_decode()
        kind = values.type
    if pa.types.is_decimal(kind):
        values = values.cast(pa.float64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or is_text(kind)):
        raise InputError(f"holds {kind}, which is neither numbers nor text")
    array: np.ndarray = values.to_numpy(zero_copy_only=False)
    return array


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_list(kind: pa.DataType) -> bool:
    views = pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind)
    return bool(views or pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
