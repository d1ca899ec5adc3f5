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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from vgen.data.cache.shard import GONE, INDEX, ROWS, Damaged, Draft, Shard, discard, finish, held_by_us
from vgen.data.cache.shares import run_shares
from vgen.errors import RunStopped, TryAgain
from vgen.files import PART, writing

logger = logging.getLogger(__name__)

SHARDS = 64  # that a store is made in, so that so many processes can share the work ...
SHARD_BYTES = 1 << 30  # ... and at most so many bytes in each, or a single batch that is larger
SAMPLE = 64  # rows that are read when a store is opened for work
ASIDE = ".damaged"  # the last suffix of a shard that is not read any more
POLL = 1.0  # seconds between looks at what another process makes


@dataclass(frozen=True)
class Item:
    """What a store is to hold: a key, and of how many blocks its array is."""

    key: str
    blocks: int = 1


Encode = Callable[[Sequence[int]], Mapping[int, np.ndarray | str]]
"""Makes the arrays of some items, told by their places; for each its array, or the reason why it cannot be made."""


class Work(Protocol):
    """What makes the arrays; another process gets a copy of it."""

    def open(self, device: torch.device) -> Encode:
        """Loads what is needed for it."""


class Store:
    """Arrays found by key.

    Args:
        folder: of the shards; it may be missing as yet.
        block: bytes of a block. Shards of other blocks are not looked at.
        broken: shards and keys of rows that are not to be used.
        given: whether nothing here can make its arrays anew. Then it is not noted which of them are broken: who puts
            the whole files back has them again.

    Attributes:
        bad: keys whose arrays could not be made, each with the reason.
    """

    def __init__(
        self, folder: str | Path, block: int, broken: Iterable[tuple[Path, str]] = (), given: bool = False
    ) -> None:
        self.folder, self.block, self._given = Path(folder), block, given
        self._broken = set(broken)  # rows that were seen to be, also where that cannot be noted
        self._loaded: dict[Path, Shard] = {}
        self.load()

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (self.folder, self.block, self._broken, self._given)

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
            if not self._given:
                self._note(shard, [key])
            raise

    def content(self, key: str) -> str:
        """Tells the array of a key from any other, by its checksums."""
        shard = self._shards[key]
        first, count = shard.rows[key]
        return hashlib.sha256(shard.sums[first : first + count].tobytes()).hexdigest()[:24]

    def fill(self, items: Sequence[Item], work: Work, at_once: int, workers: int, label: str) -> None:
        """Makes the arrays that are missing or broken. A sample of those that are there is read for it, and all of a
        shard where one of its sample is broken. Other processes and hosts that fill the same store at the same time
        share the work, and are waited for.

        Args:
            items: all that the store is to hold, whatever it holds besides.
            at_once: items in one call of the encoding.
            workers: processes that share the work; the first alone runs in this process.
            label: what the progress bar says.

        Raises:
            InputError, RunStopped: as the work raises them, or the disk is full, or cannot be written to.
        """
        self._check([item.key for item in items])
        filling = _Filling(self, list({item.key: item for item in items}.values()), _places(items), work, at_once)
        missing = filling.missing()
        if not missing:
            return
        logger.info("%s: %d of %d are made in %s", label, len(missing), len(filling.items), self.folder)
        self._make_room(sum(filling.items[place].blocks for place in missing) * self.block)
        told = False
        while missing:
            with writing(self.folder):
                for gone in self.folder.glob(f"*{GONE}"):
                    shutil.rmtree(gone, ignore_errors=True)
                for part in self.folder.glob(f"*{PART}"):  # which a process left that was killed at it
                    with held_by_us(part) as held:
                        if held:
                            finish(part)
            self.load()
            groups = filling.groups()
            if groups:
                run_shares(filling, min(workers, len(groups)), len(filling.missing()), label)
            self.load()
            missing = filling.missing()
            if missing:
                if not told:
                    logger.warning("another process is making what is missing in %s: waiting for it", self.folder)
                told = True
                filling.wait()
                self.load()
                missing = filling.missing()

    def _make_room(self, size: int) -> None:
        """Makes the folder; refuses to begin what the disk has no room for."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
        if free < size:
            raise TryAgain(
                f"{self.folder} needs {_shown(size)} and its disk has {_shown(free)} left; make room, or name another "
                "folder, then start the same command again"
            )

    def load(self) -> None:
        """Finds out what is there. Of what two shards hold, that of the later one counts."""
        self.bad: dict[str, str] = {}
        self._shards: dict[str, Shard] = {}
        self._damaged: dict[Path, Exception] = {}
        for shard in sorted(self._whole_shards(), key=lambda shard: shard.made):
            noted = set() if self._given else shard.noted()
            broken = noted | {key for folder, key in self._broken if folder == shard.folder}
            rows = dict.fromkeys(shard.rows.keys() - broken, shard)
            self._shards |= rows
            self.bad = {key: reason for key, reason in self.bad.items() if key not in rows} | shard.bad

    def _whole_shards(self) -> Iterator[Shard]:
        for folder in self.folder.glob("*/"):
            if folder.suffix in (PART, ASIDE, GONE):
                continue
            try:
                shard = self._loaded[folder] = self._loaded.get(folder) or Shard.load(folder)
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
        self.load()

    def _note(self, shard: Shard, keys: Sequence[str]) -> None:
        self._broken |= {(shard.folder, key) for key in keys}
        shard.note(keys)


@dataclass(frozen=True)
class _Filling:
    """What is to be made in a store, and each process's share of it.

    Attributes:
        items: no key twice.
        places: of these items among those that `work` is asked for.
    """

    store: Store
    items: list[Item]
    places: list[int]
    work: Work
    at_once: int

    def missing(self) -> list[int]:
        """The items that the store does not hold."""
        return [place for place, item in enumerate(self.items) if item.key not in self.store]

    def groups(self) -> list[list[int]]:
        """The items of each shard to make, whole batches of them. They are cut in the same way whatever is there
        already, so that all processes mean the same ones."""
        least = -(-len(self.items) // SHARDS)
        groups: list[list[int]] = []
        size = SHARD_BYTES
        for start in range(0, len(self.items), self.at_once):
            batch = list(range(start, min(start + self.at_once, len(self.items))))
            more = sum(self.items[place].blocks for place in batch) * self.store.block
            if size + more > SHARD_BYTES or len(groups[-1]) >= least:
                groups.append([])
                size = 0
            groups[-1] += batch
            size += more
        lacking = set(self.missing())
        return [group for group in groups if lacking.intersection(group)]

    def __call__(self, worker: int, workers: int, device: torch.device, progress: Callable[[int], object]) -> None:
        """See `Share`: makes one shard after another that nobody else is making."""
        groups = self.groups()
        begin = worker * len(groups) // workers
        encode = None
        for group in groups[begin:] + groups[:begin]:
            part = self._part(group)
            with ExitStack() as stack:
                with writing(self.store.folder):
                    part.mkdir(exist_ok=True)
                    held = stack.enter_context(held_by_us(part))
                if not held:
                    continue
                self.store.load()
                lacking = [place for place in group if self.items[place].key not in self.store]
                if not lacking:
                    discard(part)
                    continue
                encode = encode or self.work.open(device)
                self._make(part, lacking, encode, progress)

    def wait(self) -> None:
        """Waits for the first shard that another process is making."""
        for group in self.groups()[:1]:
            with held_by_us(self._part(group), wait=True):
                pass
            time.sleep(POLL)

    def _make(self, part: Path, group: list[int], encode: Encode, progress: Callable[[int], object]) -> None:
        first = [0, *np.cumsum([self.items[place].blocks for place in group]).tolist()]
        draft = Draft(part, self.store.block, [self.items[place].key for place in group], first)
        folder = self.store.folder
        with writing(folder):
            draft.prepare()
        try:
            for start in range(0, len(group), self.at_once):
                batch = group[start : start + self.at_once]
                made = encode([self.places[place] for place in batch])
                rows = {row: made[self.places[place]] for row, place in enumerate(batch, start)}
                with writing(folder):
                    draft.write(rows)
                progress(len(batch))
        except RunStopped:  # which gives back the room of what is not done
            with suppress(OSError):
                finish(part)
            raise
        with writing(folder):
            lost = finish(part)
        if lost:
            raise RunStopped(
                f"{folder}: {lost} of {len(group)} rows were other than written when they were read again; do not rely "
                "on this disk"
            )

    def _part(self, group: list[int]) -> Path:
        """Where a group is made: the same place in every process of a user."""
        keys = json.dumps([os.getuid(), *(self.items[place].key for place in group)])
        return self.store.folder / f"{hashlib.sha256(keys.encode()).hexdigest()[:12]}{PART}"


def _places(items: Sequence[Item]) -> list[int]:
    """Where each key comes first."""
    first: dict[str, int] = {}
    for place, item in enumerate(items):
        first.setdefault(item.key, place)
    return list(first.values())


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
