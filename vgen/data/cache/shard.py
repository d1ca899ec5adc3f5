"""A shard of a store: a folder of arrays that is written aside, checked, and never changed afterwards."""

from __future__ import annotations

import base64
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import numpy as np

from vgen.data.cache.claim import claim, release
from vgen.data.cache.sealed import read_sealed, write_sealed
from vgen.data.jsonl import read_summed, summed_line
from vgen.files import append, preallocate, sync

INDEX, ROWS, BROKEN = "index.json", "rows.bin", "broken.jsonl"
PLAN, DONE, LOCK = "plan.json", "done.jsonl", "lock"  # of a shard in the making
GONE = ".gone"  # the last suffix of a folder that is being removed
AT_ONCE = 64  # blocks that are held in memory to be checked


class Damaged(Exception):
    """A row is not what was written, or cannot be read; the message says which file, and how it is seen."""


@dataclass(frozen=True)
class Shard:
    """A whole shard.

    Attributes:
        made: when it was, in seconds.
        block, size: bytes of a block, and of all.
        rows: per key, its first block and how many they are.
        bad: keys whose arrays cannot be made, each with the reason.
        sums: uint32, the CRC-32 of each block.
    """

    folder: Path
    made: float
    block: int
    size: int
    rows: dict[str, tuple[int, int]]
    bad: dict[str, str]
    sums: np.ndarray = field(repr=False)

    @classmethod
    def load(cls, folder: Path) -> Shard:
        """Raises: OSError, ValueError, KeyError, TypeError: it is damaged."""
        index = read_sealed(folder / INDEX)
        sums = np.frombuffer(base64.b64decode(index["sums"]), "<u4")
        rows = {key: (first, blocks) for key, first, blocks in index["rows"]}
        return cls(folder, index["made"], index["block"], index["bytes"], rows, index["bad"], sums)

    def read(self, first: int, places: np.ndarray) -> np.ndarray:
        """Blocks of a row: uint8 [K, block]. Raises: Damaged."""
        file = self.folder / ROWS
        blocks = np.empty((len(places), self.block), np.uint8)
        try:
            with file.open("rb", buffering=0) as rows:  # not mapped: a disk that fails would end the process
                for place, data in zip((first + places).tolist(), blocks, strict=True):
                    if not _read(rows.fileno(), data, place * self.block):
                        raise Damaged(f"{file} breaks off: it had {self.size} bytes")
                    if crc32(data.data) != self.sums[place]:
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
                for start in range(0, len(places), AT_ONCE):
                    self.read(first, places[start : start + AT_ONCE])
            except Damaged:
                found.append(key)
        return found

    def whole(self) -> bool:
        """Whether the file of the blocks has exactly its size, or is known to have another."""
        return self._found_size() in (self.size, *read_summed(self.folder / BROKEN))

    def note(self, keys: Sequence[str]) -> None:
        """Keeps in mind which rows are broken, and the size of the file, where that can be written."""
        with suppress(OSError):
            append(self.folder / BROKEN, "".join(map(summed_line, [*keys, self._found_size()])))

    def noted(self) -> set[str]:
        """The keys of broken rows."""
        return {key for key in read_summed(self.folder / BROKEN) if isinstance(key, str)}

    def _found_size(self) -> int:
        try:
            return (self.folder / ROWS).stat().st_size
        except OSError:
            return 0


@dataclass(frozen=True)
class Draft:
    """A shard in the making. Raises, in all it does: OSError.

    Attributes:
        folder: held by `held_by_us`.
        block: bytes of a block.
        keys: of the rows.
        first: the first block of each row, and the number of all blocks.
    """

    folder: Path
    block: int
    keys: list[str]
    first: list[int]

    @property
    def size(self) -> int:
        """Bytes of all blocks."""
        return self.first[-1] * self.block

    def prepare(self) -> None:
        """Takes the room for the rows; where there is none, nothing is left of the folder."""
        try:
            preallocate(self.folder / ROWS, self.size)
            write_sealed(self.folder / PLAN, {"block": self.block, "keys": self.keys, "first": self.first})
        except OSError:
            discard(self.folder)
            raise

    def write(self, made: Mapping[int, np.ndarray | str]) -> None:
        """Some rows: their arrays, or the reasons why they have none. They count once the disk has them."""
        lines = []
        with (self.folder / ROWS).open("r+b", buffering=0) as file:
            for row, array in made.items():
                if isinstance(array, str):
                    lines.append(summed_line([row, array]))
                    continue
                blocks = np.ascontiguousarray(array).reshape(self.first[row + 1] - self.first[row], -1).view(np.uint8)
                assert blocks.shape[1] == self.block, f"a block of {blocks.shape[1]} bytes, not {self.block}"
                for place, data in enumerate(blocks, self.first[row]):
                    _write(file.fileno(), data, place * self.block)
                lines.append(summed_line([row, [crc32(data.data) for data in blocks]]))
            os.fdatasync(file.fileno())
        append(self.folder / DONE, "".join(lines))
        sync(self.folder / DONE)

    def done(self) -> tuple[dict[int, list[int]], dict[int, str]]:
        """The checksums of the rows that were written, and the reasons of those that have no array."""
        sums, bad = {}, {}
        for record in read_summed(self.folder / DONE):
            match record:
                case [int(row), list(checks)]:
                    sums[row] = checks
                case [int(row), str(reason)]:
                    bad[row] = reason
        return sums, bad


@contextmanager
def held_by_us(part: Path, wait: bool = False) -> Iterator[bool]:
    """Whether a shard in the making is this process's own for the length of the block. The lock ends with the process,
    however that ends; where locks do not reach, see claim.py."""
    try:
        file = (part / LOCK).open("a")
    except (FileNotFoundError, PermissionError):  # finished in this moment; another user's
        yield False
        return
    except OSError:  # a disk that has no room for another file
        with suppress(OSError):
            part.rmdir()
        raise
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        except BlockingIOError:
            yield False
            return
        except OSError:  # a file system without locks
            locked = False
        try:
            there = os.path.samestat(os.fstat(file.fileno()), os.stat(part / LOCK)) and claim(part, locked)
        except FileNotFoundError:
            there = False
        try:
            yield there
        finally:
            if there:
                release(part)


def finish(part: Path) -> int:
    """Makes a shard of the rows that are done, and gives back the room of the others. Its lock is held.

    Returns:
        How many rows are not what was written.

    Raises:
        OSError: it cannot be written; then nothing is left of it.
    """
    try:
        draft = Draft(part, **read_sealed(part / PLAN))
    except (OSError, ValueError, TypeError):
        discard(part)
        return 0
    try:
        sums, bad = draft.done()
        checks = np.zeros(draft.first[-1], "<u4")
        for row, found in sums.items():
            checks[draft.first[row] : draft.first[row + 1]] = found
        rows = {draft.keys[row]: (draft.first[row], draft.first[row + 1] - draft.first[row]) for row in sorted(sums)}
        shard = Shard(part, time.time(), draft.block, draft.size, rows, {draft.keys[r]: bad[r] for r in bad}, checks)
        lost = shard.broken(list(rows))
        for key in lost:
            del rows[key]
        if rows or bad:
            _seal(shard)
        else:
            discard(part)
    except OSError:
        discard(part)
        raise
    return len(lost)


def discard(part: Path) -> None:
    """Removes a shard in the making. Its lock is held, and stays where it is until nobody can find it any more."""
    with suppress(OSError):
        shutil.rmtree(part.rename(_other_name(part, GONE)), ignore_errors=True)


def _seal(shard: Shard) -> None:
    part = shard.folder
    end = max((first + count for first, count in shard.rows.values()), default=0)
    with (part / ROWS).open("ab") as file:
        file.truncate(end * shard.block)
    index = {"made": shard.made, "block": shard.block, "bytes": end * shard.block, "bad": shard.bad}
    index["rows"] = [(key, *place) for key, place in shard.rows.items()]
    index["sums"] = base64.b64encode(shard.sums[:end].tobytes()).decode()
    write_sealed(part / INDEX, index)
    whole = part.rename(_other_name(part))  # with its lock, see `discard`
    for scratch in set(whole.iterdir()) - {whole / INDEX, whole / ROWS}:
        scratch.unlink(missing_ok=True)


def _other_name(part: Path, suffix: str = "") -> Path:
    return part.with_name(uuid.uuid4().hex[:12] + suffix)


def _write(descriptor: int, data: np.ndarray, offset: int) -> None:
    view = data.data
    while len(view):
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _read(descriptor: int, data: np.ndarray, offset: int) -> bool:
    """Fills `data`; False where the file ends before."""
    view = data.data
    while len(view):
        count = os.preadv(descriptor, [view], offset)
        if not count:
            return False
        view, offset = view[count:], offset + count
    return True
