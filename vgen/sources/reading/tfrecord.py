"""TFRecord files and the tf.train.Example messages in them, read without TensorFlow.

Sources: tensorflow/core/lib/io/record_writer.h (framing), tensorflow/core/example/{example,feature}.proto (messages),
protobuf's encoding of the wire (protobuf.dev/programming-guides/encoding), RFC 3720, B.4 (CRC32C).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits turned round
MASK = 0xA282EAD8
LANE = 1024  # bytes of a stretch; all stretches of a record go through the table at once
HEAD, TAIL = 12, 4  # bytes: length and its checksum before the data, and the data's checksum after it


class Damaged(ValueError):
    """A record that is not what was written. Its text is the reason, in a few words."""


@dataclass(frozen=True)
class Records:
    """Where the records of a file are.

    Attributes:
        spans: start and length of each record's data, up to the first that cannot be found.
        reason: why no further one can be found; "" where the file ends with the last.
    """

    spans: list[tuple[int, int]]
    reason: str


def find_records(data: memoryview) -> Records:
    """Goes from record to record by their lengths; their data are not read."""
    spans: list[tuple[int, int]] = []
    start = 0
    while start < len(data):
        if start + HEAD > len(data):
            return Records(spans, "the file is cut off")
        length, checksum = struct.unpack_from("<QI", data, start)
        if masked_crc32c(data[start : start + 8]) != checksum:
            return Records(spans, "a length is damaged")
        if start + HEAD + length + TAIL > len(data):
            return Records(spans, "the file is cut off")
        spans.append((start + HEAD, length))
        start += HEAD + length + TAIL
    return Records(spans, "")


def check_record(data: memoryview, start: int, length: int) -> None:
    """Refuses a record whose data are not those of its checksum.

    Raises:
        Damaged: they are not.
    """
    (checksum,) = struct.unpack_from("<I", data, start + length)
    if masked_crc32c(data[start : start + length]) != checksum:
        raise Damaged("its checksum does not fit")


def mapped(path: Path) -> memoryview:
    """The bytes of a file, of which those are read that are looked at."""
    return memoryview(np.memmap(path, np.uint8, "r")) if path.stat().st_size else memoryview(b"")  # type: ignore[arg-type]


def masked_crc32c(data: memoryview | bytes) -> int:
    """The checksum of TFRecords: CRC32C, turned by 15 bits and shifted by a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF


def crc32c(data: memoryview | bytes) -> int:
    """CRC32C. Long data are cut into stretches that are gone through side by side: of two of them, the checksum is
    that of the first, moved on by the length of the second, plus (xor) that of the second."""
    lanes = len(data) // LANE
    state = 0xFFFFFFFF
    if lanes > 1:
        stretches = np.frombuffer(data, np.uint8, lanes * LANE).reshape(lanes, LANE).T
        low, second, third, high = _moves()
        for found in _through(np.zeros(lanes, np.uint32), np.ascontiguousarray(stretches)).tolist():
            moved = low[state & 255] ^ second[state >> 8 & 255] ^ third[state >> 16 & 255] ^ high[state >> 24]
            state = moved ^ found
        data = data[lanes * LANE :]
    table = _table().tolist()
    for byte in bytes(data):
        state = table[(state ^ byte) & 255] ^ state >> 8
    return state ^ 0xFFFFFFFF


@cache
def _table() -> np.ndarray:
    """What each byte makes of an empty register: uint32 [256]."""
    table: np.ndarray = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> 1) ^ np.where(table & 1, np.uint32(POLYNOMIAL), np.uint32(0))
    return table


@cache
def _moves() -> list[list[int]]:
    """What `LANE` zero bytes make of each value of each byte of the register: [4][256], the lowest byte first."""
    values = (np.arange(256, dtype=np.uint32)[None] << (8 * np.arange(4, dtype=np.uint32)[:, None])).ravel()
    moved: list[list[int]] = _through(values, np.zeros((LANE, 1), np.uint8)).reshape(4, 256).tolist()
    return moved


def _through(state: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Registers [N] after bytes [L, N], row by row."""
    table = _table()
    for row in rows:
        state = table[(state ^ row) & 255] ^ (state >> 8)
    return state


class Example:
    """The features of a tf.train.Example, each of which is read when it is asked for.

    Args:
        data: of a record.

    Raises:
        Damaged: it is no such message.
    """

    def __init__(self, data: memoryview) -> None:
        self._features: Mapping[str, memoryview] = dict(_entries(data))

    def __contains__(self, name: str) -> bool:
        return name in self._features

    def names(self) -> list[str]:
        """Of all features, in order."""
        return sorted(self._features)

    def texts(self, name: str) -> list[memoryview]:
        """The values of a feature of bytes.

        Raises:
            Damaged: it is missing, or of another kind.
        """
        return [value for number, value in _fields(self._list(name, 1)) if number == 1]

    def floats(self, name: str) -> np.ndarray:
        """The values of a feature of numbers, float32 [N].

        Raises:
            Damaged: it is missing, or of another kind.
        """
        packed = b"".join(value for number, value in _fields(self._list(name, 2)) if number == 1)
        if len(packed) % 4:
            raise Damaged(f"{name} is of {len(packed)} bytes")
        return np.frombuffer(packed, "<f4")

    def integers(self, name: str) -> list[int]:
        """The values of a feature of whole numbers.

        Raises:
            Damaged: it is missing, or of another kind.
        """
        values = []
        for number, value in _fields(self._list(name, 3)):
            place = 0
            while number == 1 and place < len(value):
                told, place = _varint(value, place)
                values.append(told - (1 << 64) if told >> 63 else told)
        return values

    def _list(self, name: str, kind: int) -> memoryview:
        """The list in a feature: of bytes (1), floats (2) or int64 (3)."""
        if name not in self._features:
            raise Damaged(f"it has no {name}")
        for number, value in _fields(self._features[name]):
            if number == kind:
                return value
            raise Damaged(f"{name} is of another kind")
        return memoryview(b"")


def _entries(data: memoryview) -> Iterator[tuple[str, memoryview]]:
    """Name and feature of each entry: Example.features = 1, Features.feature = 1, its key = 1 and value = 2."""
    for number, features in _fields(data):
        if number != 1:
            continue
        for entry_number, entry in _fields(features):
            if entry_number == 1:
                parts = dict(_fields(entry))
                yield bytes(parts.get(1, b"")).decode("utf-8", "replace"), parts.get(2, memoryview(b""))


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and bytes of each field of a message; a varint's are its own, as they stand."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, kind = tag >> 3, tag & 7
        if kind == 2:
            length, place = _varint(data, place)
        elif kind == 0:
            length = _varint(data, place)[1] - place
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise Damaged(f"it has a field of kind {kind}, and is no tf.train.Example")
        if length > len(data) - place:
            raise Damaged("a field is longer than what holds it")
        yield number, data[place : place + length]
        place += length


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the place after it."""
    value = 0
    for count, byte in enumerate(data[place : place + 10]):
        value |= (byte & 127) << 7 * count
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, place + count + 1
    raise Damaged("a number does not end")
