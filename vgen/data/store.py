"""Arrays that are made once, kept on disk and found by key; each is checked whenever it is read.

A store is a folder of shards. A shard is a folder with `rows.bin`, blocks of bytes one after another, and `index.json`,
which says which key has which blocks, the CRC-32 of each block, and the exact size of `rows.bin`, under a SHA-256 of
its own. A shard is written aside (`<name>.part`, held by a lock) and never changed afterwards: what is new or broken
goes into a further shard. So a kill at any moment, and other processes and hosts at work in the same folder, do no
harm.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vgen.data.sealed import write_sealed
from vgen.data.shard import INDEX, PLAN, ROWS, SUMS, Damaged, Rows, Shard, finish, held_by_us
from vgen.data.shares import Work, run_shares
from vgen.errors import RunStopped, TryAgain
from vgen.files import PART, preallocate, writing

logger = logging.getLogger(__name__)

SHARD_BYTES = 4 << 30  # of the blocks of a shard, or a single row that is larger
SAMPLE = 64  # rows that are read when a store is opened for work
ASIDE = ".damaged"  # the last suffix of a shard that is not read any more
POLL = 1.0  # seconds between looks at what another process makes


@dataclass(frozen=True)
class Item:
    """What a store is to hold: a key, and of how many blocks its array is."""

    key: str
    blocks: int = 1


class Store:
    """Arrays found by key.

    Args:
        folder: of the shards; it may be missing as yet.
        block: bytes of a block. Shards of other blocks are not looked at.

    Attributes:
        bad: keys whose arrays could not be made, each with the reason.
    """

    def __init__(self, folder: str | Path, block: int) -> None:
        self.folder, self.block = Path(folder), block
        self._broken: set[tuple[Path, str]] = set()  # rows that were seen to be, also where that cannot be noted
        self._load()

    def __reduce__(self) -> tuple:
        return Store, (self.folder, self.block)

    def __contains__(self, key: str) -> bool:
        """Whether a key has an array, or is known to be bad."""
        return key in self._shards or key in self.bad

    def read(self, key: str, places: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """The blocks of a key, or those at some places of it: uint8 [K, block]. Safe for several threads.

        Raises:
            Damaged: they are not what was written. That is noted, so that `fill` makes the array anew.
        """
        shard = self._shards[key]
        first, count = shard.rows[key]
        wanted = np.arange(count)[slice(None) if places is None else np.asarray(places, dtype=np.int64)]
        try:
            return shard.read(first, wanted)
        except Damaged:  # perhaps of a network that was gone for a moment
            with suppress(Damaged):
                return shard.read(first, wanted)
            self._note(shard, [key])
            raise

    def content(self, key: str) -> str:
        """Tells the array of a key from any other, by its checksums."""
        shard = self._shards[key]
        first, count = shard.rows[key]
        return hashlib.sha256(shard.sums[first : first + count].tobytes()).hexdigest()[:24]

    def fill(
        self, items: Sequence[Item], work: Callable[[Rows, list[int]], Work], at_once: int, workers: int, label: str
    ) -> None:
        """Makes the arrays that are missing or broken. A sample of those that are there is read for it, and all of a
        shard where one of its sample is broken. What others are making at this moment is waited for.

        Args:
            items: all that the store is to hold, whatever it holds besides.
            work: given the rows to write and which of `items` they are, the work on them: see `run_shares`, whose
                arguments the others are.

        Raises:
            InputError, RunStopped: as the work raises them, or the disk is full, or cannot be written to.
        """
        self._check([item.key for item in items])
        unique = {item.key: (place, item.blocks) for place, item in reversed(list(enumerate(items)))}
        wanted = sorted((place, key, blocks) for key, (place, blocks) in unique.items())
        missing = [row for row in wanted if row[1] not in self]
        if missing:
            logger.info("%s: %d of %d are made in %s", label, len(missing), len(wanted), self.folder)
        told = False
        while missing:
            with writing(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                self._finish_others()
            self._load()
            missing = [row for row in wanted if row[1] not in self]
            groups = self._cut(missing, at_once)
            free = False
            for number, group in enumerate(groups, 1):
                of = f", part {number} of {len(groups)}" if len(groups) > 1 else ""
                free |= self._make(group, work, at_once, workers, label + of)
            if groups and not free:
                if not told:
                    logger.warning("another process is making what is missing in %s: waiting for it", self.folder)
                told = True
                self._wait(groups[0])
            self._load()
            missing = [row for row in wanted if row[1] not in self]

    def _load(self) -> None:
        """Finds out what is there. Of what two shards hold, that of the later one counts."""
        self.bad: dict[str, str] = {}
        self._shards: dict[str, Shard] = {}
        self._damaged: dict[Path, Exception] = {}
        for shard in sorted(self._whole_shards(), key=lambda shard: shard.made):
            broken = shard.noted() | {key for folder, key in self._broken if folder == shard.folder}
            rows = dict.fromkeys(shard.rows.keys() - broken, shard)
            self._shards |= rows
            self.bad = {key: reason for key, reason in self.bad.items() if key not in rows} | shard.bad

    def _whole_shards(self) -> Iterator[Shard]:
        for folder in self.folder.glob("*/"):
            if folder.suffix in (PART, ASIDE):
                continue
            try:
                shard = Shard.load(folder)
            except (OSError, ValueError, KeyError, TypeError) as error:
                self._damaged[folder] = error
                continue
            if shard.block == self.block:
                yield shard

    def _check(self, keys: Sequence[str]) -> None:
        """Sets aside the shards that are damaged as a whole. Of the others a sample of the rows is read, the same every
        time, and those that are broken are noted."""
        for folder, error in self._damaged.items():
            logger.warning("%s: %s; what is needed of it is made anew", folder / INDEX, error)
            with suppress(OSError):
                folder.rename(folder.with_suffix(ASIDE))
        rng = np.random.default_rng(0)
        kept = [key for key in dict.fromkeys(keys) if key in self._shards]
        sample = {kept[place] for place in rng.permutation(len(kept))[:SAMPLE]}
        by_shard: dict[Path, list[str]] = {}
        for key in kept:
            by_shard.setdefault(self._shards[key].folder, []).append(key)
        for mine in by_shard.values():
            shard = self._shards[mine[0]]
            if not shard.whole() or shard.broken([key for key in mine if key in sample], rng):
                broken = shard.broken(mine)
                self._note(shard, broken)
                line = "%s is not what was written: %d of its %d rows that are needed are made anew"
                logger.warning(line, shard.folder / ROWS, len(broken), len(mine))
        self._load()

    def _note(self, shard: Shard, keys: Sequence[str]) -> None:
        self._broken |= {(shard.folder, key) for key in keys}
        shard.note(keys)

    def _cut(self, missing: list[tuple[int, str, int]], at_once: int) -> list[list[tuple[int, str, int]]]:
        """Groups for a shard each, of whole batches."""
        groups: list[list[tuple[int, str, int]]] = []
        held = SHARD_BYTES
        for start in range(0, len(missing), at_once):
            batch = missing[start : start + at_once]
            size = self.block * sum(blocks for _, _, blocks in batch)
            if held + size > SHARD_BYTES:
                groups.append([])
                held = 0
            groups[-1] += batch
            held += size
        return groups

    def _part(self, group: list[tuple[int, str, int]]) -> Path:
        """Where a group is made: the same place in every process of a user."""
        keys = json.dumps([os.getuid(), *(key for _, key, _ in group)])
        return self.folder / f"{hashlib.sha256(keys.encode()).hexdigest()[:12]}{PART}"

    def _make(
        self,
        group: list[tuple[int, str, int]],
        work: Callable[[Rows, list[int]], Work],
        at_once: int,
        workers: int,
        label: str,
    ) -> bool:
        """Makes a shard; False where another process is at it."""
        part = self._part(group)
        first = [0, *np.cumsum([blocks for _, _, blocks in group]).tolist()]
        with writing(self.folder):
            part.mkdir(exist_ok=True)
        with held_by_us(part) as held:
            if not held:
                return False
            rows = Rows(part, self.block, first)
            self._prepare(rows, [key for _, key, _ in group])
            try:
                run_shares(part, len(group), work(rows, [place for place, _, _ in group]), at_once, workers, label)
            except RunStopped:
                with suppress(OSError):
                    finish(part)
                raise
            with writing(self.folder):
                lost = finish(part)
        if lost:
            raise RunStopped(
                f"{self.folder}: {lost} of {len(group)} rows were other than written when they were read again; do not "
                "rely on this disk"
            )
        return True

    def _prepare(self, rows: Rows, keys: list[str]) -> None:
        """Takes the room for a shard; where there is none, nothing is left of it."""
        size, part = rows.first[-1] * self.block, rows.folder
        try:
            with writing(self.folder):
                free = shutil.disk_usage(self.folder).free
                if free < size:
                    raise TryAgain(
                        f"{self.folder} needs {_shown(size)} and its disk has {_shown(free)} left; make room, or name "
                        "another folder, then start the same command again"
                    )
                preallocate(part / ROWS, size)
                preallocate(part / SUMS, 4 * rows.first[-1])
                write_sealed(part / PLAN, {"block": self.block, "keys": keys, "first": rows.first})
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise

    def _finish_others(self) -> None:
        """Makes shards of what processes left that were killed at it."""
        for part in self.folder.glob(f"*{PART}"):
            with held_by_us(part) as held:
                if held:
                    finish(part)

    def _wait(self, group: list[tuple[int, str, int]]) -> None:
        with held_by_us(self._part(group), wait=True):
            time.sleep(POLL)


def _shown(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def stopped(what: str, error: Damaged) -> TryAgain:
    """The end of a run that needs a row which is not what was written.

    Args:
        what: is in it, such as "the latent of a.mp4".
    """
    line = f"{what}: {error}; start the same command again: what is broken is made anew, and no more"
    if os.environ.get("RANK", "0") != "0":  # only the first rank's end is told
        logger.error(line)
    return TryAgain(line)
