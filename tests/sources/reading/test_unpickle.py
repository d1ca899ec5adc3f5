import os
import pickle
import struct
import sys
from types import ModuleType

import numpy as np
import pytest

from vgen.sources.reading.unpickle import read_pickle
from vgen.sources.source import LeftOut

VALUES = {
    "floats": np.arange(12.0).reshape(3, 4),
    "turned": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
    "big": np.arange(3, dtype=">f4"),
    "empty": np.zeros((0, 7), np.float32),
    "true": np.array([True, False]),
    "words": np.array(["pick", "place"]),
    "scalars": [np.float64(0.5), np.int64(7), np.bool_(True)],
    "plain": {"list": [1, 2.5, None, "text", b"bytes"], "set": {1, 2}, "complex": 1j, "tuple": (1, (2, [3]))},
}


def same(given, found):
    if isinstance(given, np.ndarray):
        np.testing.assert_array_equal(given, found)
        assert given.dtype == found.dtype and found.flags.writeable
    elif isinstance(given, dict):
        assert given.keys() == found.keys()
        for key in given:
            same(given[key], found[key])
    elif isinstance(given, list | tuple):
        assert type(given) is type(found) and len(given) == len(found)
        for one, other in zip(given, found, strict=True):
            same(one, other)
    else:
        assert given == found and type(given) is type(found)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("numpy", ["numpy._core", "numpy.core"])
def test_arrays_and_containers_come_back(tmp_path, protocol, numpy):
    data = pickle.dumps(VALUES, protocol=protocol)
    if numpy == "numpy.core" and protocol < 4:  # names in lines, as numpy 1 wrote them
        data = data.replace(b"numpy._core", b"numpy.core")
    (tmp_path / "obs_dict.pkl").write_bytes(data)
    same(VALUES, read_pickle(tmp_path / "obs_dict.pkl"))


@pytest.fixture
def rlbench(monkeypatch):
    """A module of the makers' name, whose classes pickles name."""
    module = ModuleType("rlbench.demo")
    module.Demo = type("Demo", (), {"__module__": "rlbench.demo"})
    monkeypatch.setitem(sys.modules, "rlbench", ModuleType("rlbench"))
    monkeypatch.setitem(sys.modules, "rlbench.demo", module)
    return module


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_objects_of_a_named_package_come_as_their_attributes(tmp_path, protocol, rlbench):
    demo = rlbench.Demo()
    demo.poses, demo.itself = [np.ones(7)], demo
    (tmp_path / "demo.pkl").write_bytes(pickle.dumps(demo, protocol=protocol))
    found = read_pickle(tmp_path / "demo.pkl", ("rlbench",))
    np.testing.assert_array_equal(found.poses[0], np.ones(7))
    assert found.itself is found
    with pytest.raises(LeftOut, match=r"not data: rlbench\.demo\.Demo, in demo\.pkl"):
        read_pickle(tmp_path / "demo.pkl")


def test_shared_arrays_stay_shared(tmp_path):
    array = np.arange(3)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([array, {"again": array}, (array,)]))
    first, second, third = read_pickle(tmp_path / "a.pkl")
    assert first is second["again"] is third[0]


class Runs:
    """Pickled as a call of something."""

    def __init__(self, function, *args):
        self._call = function, args

    def __reduce__(self):
        return self._call


@pytest.mark.parametrize(
    ("evil", "name"),
    [
        (lambda mark: Runs(os.mkdir, mark), "mkdir"),
        (lambda mark: Runs(os.system, f"mkdir {mark}"), "system"),
        (lambda mark: Runs(eval, f"__import__('os').mkdir({mark!r})"), "builtins.eval"),
        (lambda mark: Runs(exec, f"import os; os.mkdir({mark!r})"), "builtins.exec"),
        (lambda mark: Runs(getattr, "", "upper"), "builtins.getattr"),
        (lambda mark: Runs(open, mark, "w"), "open"),
        (lambda mark: Runs(np.load, mark), "numpy.load"),
        (lambda mark: Runs(np.fromfile, mark), "fromfile"),
        (lambda mark: Runs(np.lib.format.open_memmap, mark), "open_memmap"),
        (lambda mark: Runs(bytearray, 10**11), "builtins.bytearray"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_what_runs_is_refused_by_its_name_and_does_not_run(tmp_path, evil, name, protocol):
    mark = str(tmp_path / "ran")
    path = tmp_path / "policy_out.pkl"
    path.write_bytes(pickle.dumps([{"actions": np.ones(7)}, evil(mark)], protocol=protocol))
    with pytest.raises(LeftOut, match=f"its pickle asks for what is not data: .*{name}, in policy_out.pkl") as told:
        read_pickle(path)
    assert not os.path.exists(mark) and "\n" not in str(told.value)


def test_a_named_package_cannot_be_called_into(tmp_path, rlbench):
    rlbench.run = os.system
    path = tmp_path / "demo.pkl"
    path.write_bytes(f"crlbench.demo\nrun\n(Vmkdir {tmp_path}/ran\ntR.".encode())
    try:
        read_pickle(path, ("rlbench",))
    except LeftOut as error:
        assert "damaged" in str(error)
    assert not (tmp_path / "ran").exists()


def test_truncated_and_flipped_pickles_are_damaged_in_one_line(tmp_path):
    path = tmp_path / "obs_dict.pkl"
    data = pickle.dumps(VALUES, protocol=4)
    for length in range(0, len(data), 61):
        path.write_bytes(data[:length])
        with pytest.raises(LeftOut, match=r"its pickle is damaged: obs_dict\.pkl, ") as told:
            read_pickle(path)
        assert "\n" not in str(told.value)
    random = np.random.default_rng(0)
    for place in random.integers(0, len(data), 60):
        flipped = bytearray(data)
        flipped[place] ^= 1 << random.integers(8)
        path.write_bytes(flipped)
        try:
            read_pickle(path)  # a flip in a number is not seen
        except LeftOut as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04]r\xff\xff\xff\x7f.",  # a memo of 2^31 places
        b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.",  # bytes that are not there
        b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"N.",  # a frame that is not there
        b"\x80\x02cbuiltins\nbytes\n\x8a\x05" + (10**11).to_bytes(5, "little") + b"\x85R.",  # bytes(10**11)
        b"(" * 50 + b"l" * 49 + b"e.",
        b"]" + b"(" * 5000 + b"l" * 5000 + b".",
        b"\x80\x02" + b"]" * 3000 + b"a" * 2999 + b".",  # a list in a list in a list …
        b"",
        b"hello",
    ],
)
def test_what_would_fill_the_memory_is_damaged(tmp_path, data):
    (tmp_path / "a.pkl").write_bytes(data)
    with pytest.raises(LeftOut, match=r"its pickle is damaged: a\.pkl"):
        read_pickle(tmp_path / "a.pkl")


def test_arrays_that_do_not_fit_their_bytes_are_damaged(tmp_path):
    data = pickle.dumps(np.arange(4.0), protocol=2).replace(b"K\x04\x85", b"K\x05\x85")
    (tmp_path / "a.pkl").write_bytes(data)
    with pytest.raises(LeftOut, match=r"its pickle is damaged: a\.pkl"):
        read_pickle(tmp_path / "a.pkl")
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(np.zeros(3, [("x", "f4"), ("y", "i4")])))
    with pytest.raises(LeftOut, match=r"damaged: b\.pkl, an array of 'V8' is not read"):
        read_pickle(tmp_path / "b.pkl")


def test_arrays_of_objects_come_as_lists(tmp_path):
    array = np.empty(2, object)
    array[:] = [np.ones(2), "text"]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(array))
    first, second = read_pickle(tmp_path / "a.pkl")
    np.testing.assert_array_equal(first, np.ones(2))
    assert second == "text"


def test_a_missing_pickle_is_told(tmp_path):
    with pytest.raises(LeftOut, match=r"its pickle is missing: policy_out\.pkl"):
        read_pickle(tmp_path / "policy_out.pkl")
