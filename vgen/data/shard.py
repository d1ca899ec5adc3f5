"""A shard of a store: a folder of arrays that is written aside, checked, and never changed afterwards."""

from __future__ import annotations

import base64
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import numpy as np

from vgen.data.jsonl import read_summed, summed_line
from vgen.data.sealed import read_sealed, write_sealed
from vgen.data.shares import DONE, read_reasons, read_state
from vgen.files import append, writing

INDEX, ROWS, BROKEN = "index.json", "rows.bin", "broken.jsonl"
PLAN, SUMS, LOCK = "plan.json", "sums.bin", "lock"  # of a shard in the making
AT_ONCE = 64  # blocks that are held in memory to be checked


class Damaged(Exception):
    """A row is not what was written, or cannot be read; the message says which file, and how it is seen."""


@dataclass(frozen=True)
class Rows:
    """The rows of a shard that is being written; another process gets a copy of it.

    Attributes:
        folder: of the shard in the making.
        block: bytes of a block.
        first: the first block of each row, and the number of all blocks.
    """

    folder: Path
    block: int
    first: list[int]

    def write(self, arrays: dict[int, np.ndarray]) -> None:
        """Writes the arrays of some rows, and waits until the disk has them.

        Raises:
            InputError, TryAgain: see `writing`.
        """
        with (
            writing(self.folder),
            (self.folder / ROWS).open("r+b", buffering=0) as rows,
            (self.folder / SUMS).open("r+b", buffering=0) as sums,
        ):
            for row, array in arrays.items():
                blocks = np.ascontiguousarray(array).reshape(self.first[row + 1] - self.first[row], -1).view(np.uint8)
                assert blocks.shape[1] == self.block, f"a block of {blocks.shape[1]} bytes, not {self.block}"
                for place, data in enumerate(blocks, self.first[row]):
                    _write(rows.fileno(), data, place * self.block)
                checks = np.array([crc32(data) for data in blocks], "<u4")
                _write(sums.fileno(), checks.view(np.uint8), self.first[row] * 4)
            os.fdatasync(rows.fileno())
            os.fdatasync(sums.fileno())


@dataclass(frozen=True)
class Shard:
    """A whole shard. rows: per key, its first block and how many they are; made: when it was, in seconds."""

    folder: Path
    made: float
    block: int
    size: int
    rows: dict[str, tuple[int, int]]
    bad: dict[str, str]
    sums: np.ndarray = field(repr=False)

    @classmethod
    def load(cls, folder: Path) -> Shard:
        """Raises: OSError, ValueError, KeyError: it is damaged."""
        index = read_sealed(folder / INDEX)
        sums = np.frombuffer(base64.b64decode(index["sums"]), "<u4")
        rows = {key: (first, blocks) for key, first, blocks in index["rows"]}
        return cls(folder, index["made"], index["block"], index["bytes"], rows, index["bad"], sums)

    def read(self, first: int, places: np.ndarray) -> np.ndarray:
        """Blocks of a row: uint8 [K, block]. Raises: Damaged."""
        file = self.folder / ROWS
        blocks = np.empty((len(places), self.block), np.uint8)
        try:
            with file.open("rb", buffering=0) as rows:
                for place, data in zip((first + places).tolist(), blocks, strict=True):
                    if not _read(rows.fileno(), data, place * self.block):
                        raise Damaged(f"{file} breaks off: it had {self.size} bytes")
                    if crc32(data) != self.sums[place]:
                        raise Damaged(f"{file} is not what was written: the checksum of block {place} differs")
        except OSError as error:
            raise Damaged(f"{file} cannot be read: {error.strerror or error}") from error
        return blocks

    def broken(self, keys: Sequence[str], rng: np.random.Generator | None = None) -> list[str]:
        """Those of some keys whose blocks (with `rng`: one of whose blocks, drawn by it) are not what was written."""
        found = []
        for key in keys:
            first, count = self.rows[key]
            places = np.arange(count) if rng is None else rng.integers(count, size=1)
            try:
                for start in range(0, len(places), AT_ONCE):  # not a whole long episode at once
                    self.read(first, places[start : start + AT_ONCE])
            except Damaged:
                found.append(key)
        return found

    def whole(self) -> bool:
        """Whether the file of the blocks has exactly its size."""
        try:
            return (self.folder / ROWS).stat().st_size == self.size
        except OSError:
            return False

    def note(self, keys: Sequence[str]) -> None:
        """Keeps in mind which rows are broken, where that can be written."""
        with suppress(OSError):
            append(self.folder / BROKEN, "".join(map(summed_line, keys)))

    def noted(self) -> set[str]:
        """The keys of broken rows."""
        return {key for key in read_summed(self.folder / BROKEN) if isinstance(key, str)}


@contextmanager
def held_by_us(part: Path, wait: bool = False) -> Iterator[bool]:
    """Whether a shard in the making is this process's own for the length of the block. The lock ends with the process,
    however that ends."""
    try:
        file = (part / LOCK).open("a")
    except (FileNotFoundError, PermissionError):  # finished in this moment; another user's
        yield False
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:  # a file system without locks
            pass
        try:
            there = os.path.samestat(os.fstat(file.fileno()), os.stat(part / LOCK))
        except FileNotFoundError:
            there = False
        yield there


def finish(part: Path) -> int:
    """Makes a shard of the rows that are done, and gives back the room of the others. Its lock is held.

    Returns:
        How many rows are not what was written.

    Raises:
        OSError: it cannot be written; then nothing is left of it.
    """
    try:
        plan = read_sealed(part / PLAN)
        state, reasons = read_state(part), read_reasons(part)
        sums = np.frombuffer((part / SUMS).read_bytes(), "<u4")
    except (OSError, ValueError):
        shutil.rmtree(part)
        return 0
    keys, first, block = plan["keys"], plan["first"], plan["block"]
    rows = {keys[row]: (first[row], first[row + 1] - first[row]) for row in np.flatnonzero(state == DONE).tolist()}
    draft = Shard(part, time.time(), block, first[-1] * block, rows, {}, sums)
    lost = draft.broken(list(rows))
    for key in lost:
        del rows[key]
    bad = {keys[row]: reason for row, reason in reasons.items()}
    if not rows and not bad:
        shutil.rmtree(part)
        return len(lost)
    end = max((begin + count for begin, count in rows.values()), default=0)
    try:
        os.truncate(part / ROWS, end * block)
        index = {"made": draft.made, "block": block, "bytes": end * block, "bad": bad}
        index["rows"] = [(key, *place) for key, place in rows.items()]
        index["sums"] = base64.b64encode(sums[:end].tobytes()).decode()
        write_sealed(part / INDEX, index)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
        raise
    for scratch in set(part.iterdir()) - {part / INDEX, part / ROWS}:
        scratch.unlink()
    part.rename(part.with_name(uuid.uuid4().hex[:12]))
    return len(lost)


def _write(descriptor: int, data: np.ndarray, offset: int) -> None:
    view = memoryview(data)
    while len(view):
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _read(descriptor: int, data: np.ndarray, offset: int) -> bool:
    """Fills `data`; False where the file ends before."""
    view = memoryview(data)
    while len(view):
        count = os.preadv(descriptor, [view], offset)
        if not count:
            return False
        view, offset = view[count:], offset + count
    return True
