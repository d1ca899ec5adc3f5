"""Pickles of others, read as data: containers, numpy arrays and numbers, and nothing that runs."""

from __future__ import annotations

import pickle
import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from vgen.sources.source import LeftOut

LARGEST = 2**30  # bytes of a pickle
MOST_STEPS = 20_000_000  # of a pickle, each of which may make an object of a hundred bytes
DTYPE = re.compile(r"b1|[iu][1248]|f(2|4|8|16)|c(8|16|32)|[SU]\d{1,6}|O8?")
HARMLESS = {
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "complex"): complex,
    ("collections", "OrderedDict"): OrderedDict,
}
"""What a pickle may call that is not of numpy: none of these opens, imports or runs anything."""
MARKERS = (("numpy", "ndarray"), ("builtins", "object"))  # told to `_reconstruct` and `_reconstructor`, and not called
METHODS = {
    ("numpy", "dtype"): "_dtype",
    ("numpy._core.multiarray", "_reconstruct"): "_reconstruct",
    ("numpy._core.multiarray", "scalar"): "_scalar",
    ("numpy._core.numeric", "_frombuffer"): "_frombuffer",
    ("builtins", "bytes"): "_empty",
    ("_codecs", "encode"): "_encode",
    ("copyreg", "_reconstructor"): "_reconstructor",
}
"""What a pickle of arrays and objects calls, and the method of `_Unpickler` that does its work instead."""


def read_pickle(path: Path, packages: tuple[str, ...] = ()) -> Any:
    """What a pickle holds: lists, tuples, dictionaries, sets, texts, numbers, numpy arrays and scalars.

    No function of numpy runs either: arrays are made of their bytes here. An array of objects comes as a flat list.

    Args:
        path: of the file.
        packages: whose classes the pickle may name, such as "rlbench". An object of any of them comes as a
            `SimpleNamespace` with its attributes; the packages are not imported.

    Raises:
        LeftOut: the file is missing or damaged, too large, or names anything else.
    """
    return _read(path, packages)


def read_objects(path: Path) -> Any:
    """What an .npy file of objects holds, as `numpy.save` writes dictionaries: the one object, or a list of them.

    Raises:
        LeftOut: as `read_pickle`, or it is no such file.
    """
    found = _read(path, (), _after_header)
    return found[0] if isinstance(found, list) and len(found) == 1 else found


def _after_header(data: bytes) -> bytes:
    """The pickle in an .npy file of objects."""
    file = BytesIO(data)
    header = np.lib.format.read_array_header_1_0 if np.lib.format.read_magic(file) == (1, 0) else None
    _, _, kind = (header or np.lib.format.read_array_header_2_0)(file)
    if not kind.hasobject:
        raise ValueError(f"it holds an array of {kind}, no objects")
    return data[file.tell() :]


def _read(path: Path, packages: tuple[str, ...], part: Callable[[bytes], bytes] = bytes) -> Any:
    try:
        if path.stat().st_size > LARGEST:
            raise LeftOut(f"its pickle is larger than {LARGEST >> 20} MiB: {path.name}")
        data = part(path.read_bytes())
        _check(data)
        return _Values().of(_Unpickler(data, packages).load())
    except FileNotFoundError as error:
        raise LeftOut(f"its pickle is missing: {path.name}") from error
    except LeftOut as error:
        raise LeftOut(f"{error}, in {path.name}" if path.name not in str(error) else str(error)) from error
    except Exception as error:  # damaged pickles raise nearly any
        reason = " ".join(str(error).split()) or type(error).__name__
        raise LeftOut(f"its pickle is damaged: {path.name}, {reason}") from error


def _check(data: bytes) -> None:
    """Goes through the steps of a pickle, without doing any: the memo of pickle would grow to any number named."""
    for count, (step, number, _) in enumerate(pickletools.genops(data)):
        if count > MOST_STEPS:
            raise LeftOut(f"its pickle has more than {MOST_STEPS} steps: it is no data")
        if step.name in ("PUT", "BINPUT", "LONG_BINPUT") and (number or 0) > count:
            raise ValueError(f"its memo is asked for place {number} at step {count}")


class _Type:
    """What numpy's pickles say of a dtype. `value` is the dtype, once its state is told."""

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not DTYPE.fullmatch(name):
            raise ValueError(f"an array of {str(name)[:40]!r} is not read")
        self._name = name
        self.value = np.dtype(name)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, order, part, names, fields, *_ = state
        if part is not None or names is not None or fields is not None or order not in ("<", ">", "|", "="):
            raise ValueError("an array of records is not read")
        self.value = np.dtype(self._name if order == "|" else order + self._name)


class _Array:
    """What numpy's pickles say of an array. `value` is the array, once its state is told."""

    value: Any = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        shape, kind, by_columns, data = state[-4:]
        self.value = list(data) if kind.value.hasobject else _array(data, kind, shape, "F" if by_columns else "C")


def _array(data: Any, kind: _Type, shape: Any, order: Any) -> np.ndarray:
    if isinstance(data, str):
        data = data.encode("latin1")  # texts of Python 2 are bytes
    if not isinstance(data, bytes | bytearray) or kind.value.hasobject:
        raise ValueError(f"an array whose values are of {type(data).__name__} is not read")
    values: np.ndarray = np.frombuffer(bytes(data), kind.value)
    return values.reshape(shape, order=order).copy()


class _Unpickler(pickle.Unpickler):
    """Hands a pickle these methods for what it names of numpy: unlike functions, it cannot change them."""

    def __init__(self, data: bytes, packages: tuple[str, ...]) -> None:
        super().__init__(BytesIO(data), encoding="latin1")  # of Python 2's texts, so that none is refused
        self._packages = packages

    def find_class(self, module: str, name: str) -> Any:
        """Called by pickle for everything that is named."""
        module = (
            module.replace("numpy.core.", "numpy._core.")
            .replace("__builtin__", "builtins")
            .replace("copy_reg", "copyreg")
        )
        if (module, name) in HARMLESS:
            return HARMLESS[module, name]
        if module.split(".")[0] in self._packages:
            return SimpleNamespace
        if (module, name) in MARKERS:
            return name
        if (module, name) in METHODS:
            return getattr(self, METHODS[module, name])
        raise LeftOut(f"its pickle asks for what is not data: {module}.{name}"[:200])

    def _dtype(self, name: str, *_: bool) -> _Type:
        return _Type(name)

    def _reconstruct(self, kind: str, *_: object) -> _Array:
        if kind != "ndarray":
            raise ValueError("an array of another class is not read")
        return _Array()

    def _scalar(self, kind: _Type, data: bytes) -> Any:
        return _array(data, kind, (1,), "C")[0]

    def _frombuffer(self, data: Any, kind: _Type, shape: tuple[int, ...], order: str) -> np.ndarray:
        return _array(data, kind, shape, order)

    def _empty(self) -> bytes:
        return b""  # protocols before 3 write empty bytes as a call, of no arguments

    def _encode(self, text: str, coding: str = "") -> bytes:
        if coding != "latin1":
            raise ValueError(f"bytes coded as {str(coding)[:40]!r} are not read")
        return text.encode("latin1")

    def _reconstructor(self, kind: type, *_: object) -> SimpleNamespace:
        if kind is not SimpleNamespace:
            raise ValueError("an object of this class is not read")
        return SimpleNamespace()


class _Values:
    """Puts arrays into the places of what stands for them, each object once."""

    def __init__(self) -> None:
        self._done: dict[int, tuple[Any, Any]] = {}  # with what it was, as an id is free when its object goes

    def of(self, found: Any) -> Any:
        """The same with arrays; lists, dictionaries and objects are changed in place."""
        if isinstance(found, _Type):
            return found.value
        if isinstance(found, _Array):
            found = found.value
        if not isinstance(found, list | tuple | dict | SimpleNamespace):
            return found
        if id(found) in self._done:
            return self._done[id(found)][1]
        self._done[id(found)] = found, found
        if isinstance(found, tuple):
            made = tuple(map(self.of, found))
            self._done[id(found)] = found, made
            return made
        if isinstance(found, list):
            found[:] = map(self.of, found)
        else:
            held = found if isinstance(found, dict) else vars(found)
            held.update({key: self.of(value) for key, value in held.items()})
        return found
