"""Data that cannot be used: told once, counted, written down, and never a stop unless there is too much of it."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from vgen.checks import show
from vgen.data.jsonl import read_records
from vgen.errors import InputError
from vgen.files import append, writing

logger = logging.getLogger(__name__)

SHOWN = 3  # names in a message


class BadData:
    """The bad episodes of a data set: those that cannot be read, or lack a caption. Safe for several threads.

    Args:
        total: episodes in the data set, bad ones included.
        max_share: of them that may be bad.
        file: a JSONL file that each is added to, as {"data", "name", "reason"}; one that is in it already is not added
            again. All data sets of a run share it.
        data: the name of the data set, as episodes of two may have one name.
    """

    def __init__(self, total: int, max_share: float, file: Path | None = None, data: str = "") -> None:
        self.total, self.max_share, self.file, self.data = total, max_share, file, data
        self.found: dict[str, str] = {}
        self._lock = threading.Lock()
        self._written: dict[str, str] = {}  # what the file holds, of all ranks ...
        self._size = 0  # ... and its bytes when that was read

    def __contains__(self, name: str) -> bool:
        return name in self.found

    def add(self, name: str, reason: str) -> None:
        """Notes one bad episode.

        Raises:
            InputError: more than `max_share` of all are bad now, or the file must not be written.
            TryAgain: the disk is full.
        """
        self.add_all([(name, reason)])

    def add_all(self, episodes: Iterable[tuple[str, str]]) -> None:
        """Notes bad episodes, (name, reason) each, and then looks whether they are too many; see `add`."""
        with self._lock:
            for name, reason in episodes:
                if name not in self.found:
                    self.found[name] = reason
                    self._write(name, reason)
            self.check()

    def check(self) -> None:
        """Refuses to go on where more than `max_share` of all are bad.

        Raises:
            InputError: it names the first few.
        """
        if len(self.found) > self.max_share * self.total:
            first = "; ".join(f"{show(name)} ({reason})" for name, reason in list(self.found.items())[:SHOWN])
            raise InputError(
                f"{len(self.found)} of {self.total} videos cannot be used, more than data.max_bad_share="
                f"{self.max_share:g}: {first}{' ...' if len(self.found) > SHOWN else ''}"
            )

    def summary(self) -> str:
        """One line: how many are bad, and for which reasons."""
        found = self._read() | self.found
        if not found:
            return f"all of {self.total} videos could be used"
        reasons = Counter(found.values()).most_common()
        kinds = ", ".join(f"{count} {reason}" for reason, count in reasons[:SHOWN])
        more = f" and {len(reasons) - SHOWN} other reasons" if len(reasons) > SHOWN else ""
        where = f"; see {self.file}" if self.file else ""
        return f"{len(found)} of {self.total} videos could not be used: {kinds}{more}{where}"

    def _write(self, name: str, reason: str) -> None:
        """Tells and writes what the file does not hold yet, from this rank or another, in this run or before."""
        if name in self._read():
            return
        logger.warning("left out: %s (%s)", show(name), reason)
        if self.file:
            with writing(self.file):
                self.file.parent.mkdir(parents=True, exist_ok=True)
                append(self.file, json.dumps({"data": self.data, "name": name, "reason": reason}) + "\n")
            self._written[name] = reason
            self._size = self.file.stat().st_size

    def _read(self) -> dict[str, str]:
        """What the file holds of this data set."""
        if self.file and self.file.exists() and self.file.stat().st_size != self._size:
            self._size = self.file.stat().st_size
            for record in read_records(self.file):
                match record:
                    case {"data": self.data, "name": str(name), "reason": str(reason)}:
                        self._written[name] = reason
        return self._written
