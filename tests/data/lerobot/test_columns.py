"""Columns of every list type become the arrays that pyarrow's own lists say; others are refused in one line."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vgen.data.lerobot.columns import read_column, to_array, to_numbers
from vgen.errors import InputError

F = pa.float32()
LISTS = [pa.list_(F), pa.large_list(F), pa.list_(F, 2), pa.list_view(F), pa.list_(pa.decimal128(22, 2))]
NESTED = [pa.list_(pa.list_(F)), pa.large_list(pa.list_(F, 2)), pa.list_(pa.large_list(pa.float64()), 2)]


def expected(rows, shape):
    """Null rows and numbers as NaN, by plain Python."""
    filled = [np.full(shape, np.nan) if row is None else np.array(row, dtype=np.float64) for row in rows]
    return np.array(filled).reshape(len(rows), *shape)


@pytest.mark.parametrize("kind", LISTS, ids=str)
@pytest.mark.parametrize("rows", [[[1, 2], [3, 4]], [[1, 2], None, [3, 4]], [[None, 2], [3, 4]], [None, [1, 2], None]])
def test_lists_of_any_type(kind, rows, tmp_path):
    column = pa.array(rows, kind)
    want = expected(rows, (2,))
    for values in (column, pa.chunked_array([column.slice(0, 1), column.slice(1)])):
        assert np.array_equal(to_array(values), want, equal_nan=True)
        assert np.array_equal(to_numbers(values, [2, 1]), want[..., None], equal_nan=True)
    assert np.array_equal(to_array(column.slice(1), [2]), want[1:], equal_nan=True)
    pq.write_table(pa.table({"a": column, "a.b": pa.array(range(len(rows)))}), tmp_path / "t.parquet")
    assert np.array_equal(to_array(read_column(tmp_path / "t.parquet", "a")), want, equal_nan=True)


@pytest.mark.parametrize("kind", NESTED, ids=str)
def test_lists_of_lists(kind):
    rows = [[[1.0, 2.0], [3.0, 4.0]], None, [[5.0, 6.0], [7.0, 8.0]]]
    column = pa.array(rows, kind)
    assert np.array_equal(to_array(column, [2, 2]), expected(rows, (2, 2)), equal_nan=True)
    assert to_array(column, [4]).shape == (3, 4)


PLAIN = [
    (pa.array([1, 2], pa.int16()), [1], np.array([1, 2], np.int16)),
    (pa.array([1, None]), None, np.array([1, np.nan])),
    (pa.array([0.5, None], pa.float32()), [], np.array([0.5, np.nan], np.float32)),
    (pa.array([Decimal("0.5"), None]), [1], np.array([0.5, np.nan])),
    (pa.array([True, False]), [1], np.array([True, False])),
    (pa.array(["a", "b"]).dictionary_encode(), None, np.array(["a", "b"], object)),
    (pa.array(["a", "b"], pa.large_string()), None, np.array(["a", "b"], object)),
    (pa.array([[7], [8]]), [1], np.array([[7], [8]])),
    (pa.nulls(2), [3], np.full((2, 3), np.nan)),
    (pa.array([None, None], pa.list_(F)), [3], np.full((2, 3), np.nan, np.float32)),
    (pa.array([], pa.list_(F)), [3], np.zeros((0, 3), np.float32)),
    (pa.array([[1, 2], None]), None, np.array([[1, 2], [np.nan, np.nan]])),
]


@pytest.mark.parametrize("values, shape, want", PLAIN)
def test_other_columns(values, shape, want):
    got = to_array(values, shape)
    assert got.dtype == want.dtype and got.shape == want.shape
    assert np.array_equal(got, want, equal_nan=want.dtype.kind == "f")


REFUSED = [
    (pa.array([[1, 2], None, [3]]), None, "row 2 holds 1 values and row 0 holds 2"),
    (pa.array([[[1], [2, 3]]]), None, "list 1 holds 2 values and list 0 holds 1"),
    (pa.array([[1, 2, 3]]), [4], r"holds lists of 3; meta/info.json declares the shape \[4\]"),
    (pa.array([1, 2]), [2], "holds single values"),
    (pa.array([{"x": 1}]), None, "holds struct<x: int64>"),
    (pa.array([b"x"]), None, "holds binary"),
    (pa.array([0], pa.timestamp("s")), None, r"holds timestamp\[s\]"),
]


@pytest.mark.parametrize("values, shape, message", REFUSED)
def test_what_is_no_array_is_refused(values, shape, message):
    with pytest.raises(InputError, match=message):
        to_array(values, shape)


@pytest.mark.parametrize("values", [["a"], [True], [["a"]]])
def test_only_numbers_are_numbers(values):
    with pytest.raises(InputError, match="must hold numbers"):
        to_numbers(pa.array(values))


def test_damaged_files_never_give_a_traceback(tmp_path):
    whole = tmp_path / "whole.parquet"
    pq.write_table(pa.table({"a": [[0.1 * n, n] for n in range(500)]}), whole)
    data, rng = bytearray(whole.read_bytes()), np.random.default_rng(0)
    path, refused = tmp_path / "t.parquet", 0
    for turn in range(200):
        broken = bytearray(data)
        for place in rng.integers(0, len(data), 4):
            broken[place] = rng.integers(0, 256)
        path.write_bytes(broken if turn % 2 else broken[: rng.integers(0, len(data))])
        try:
            to_array(read_column(path, "a"))
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 100


def test_what_is_no_parquet_file_is_named(tmp_path):
    (tmp_path / "empty.parquet").touch()
    (tmp_path / "folder.parquet").mkdir()
    pq.write_table(pa.table({"a": [1]}), tmp_path / "folder.parquet" / "x.parquet")  # pyarrow reads such a folder
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "twice.parquet")
    for name, message in (
        ("empty", "damaged or not a parquet file"),
        ("folder", "is a folder"),
        ("lost", "no such parquet file"),
        ("x" * 300, "no such parquet file"),
        ("twice", "holds 2 columns named a"),
    ):
        path = tmp_path / f"{name}.parquet"
        with pytest.raises(InputError, match=message) as refused:
            read_column(path, "a")
        assert str(path) in str(refused.value)
    with pytest.raises(InputError, match="holds 0 columns named b"):
        read_column(tmp_path / "twice.parquet", "b")
