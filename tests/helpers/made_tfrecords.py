"""TFRecord files of tf.train.Example messages, as TensorFlow writes them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from vgen.sources.reading.tfrecord import masked_crc32c

Value = list[bytes] | list[int] | np.ndarray


def write_records(path: Path, contents: Iterable[bytes]) -> None:
    """A file of records."""
    path.write_bytes(b"".join(map(record, contents)))


def record(data: bytes) -> bytes:
    """Length, its checksum, the data and theirs."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))


def example(features: Mapping[str, Value], packed: bool = True) -> bytes:
    """A tf.train.Example; numbers one after the other (packed), as protobuf 3 has them, or each as a field."""
    entries = b""
    for name, values in features.items():
        feature = _feature(values, packed)
        entries += _field(1, _field(1, name.encode()) + _field(2, feature))
    return _field(1, entries)


def _feature(values: Value, packed: bool) -> bytes:
    if isinstance(values, np.ndarray):
        numbers = [struct.pack("<f", value) for value in values.ravel()]
        return _field(2, _field(1, b"".join(numbers)) if packed else b"".join(b"\x0d" + number for number in numbers))
    if values and isinstance(values[0], bytes):
        return _field(1, b"".join(_field(1, value) for value in values))
    numbers = [_varint(value % 2**64) for value in values]
    return _field(3, _field(1, b"".join(numbers)) if packed else b"".join(b"\x08" + number for number in numbers))


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
