"""How far a way to nano is, and how its minutes are divided: a small file that is whole at any moment."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from vgen.errors import InputError, RunStopped
from vgen.files import write_whole, writing

FILE = "stages.json"
BEAT = 5.0  # seconds between two notes of the time that a stage has taken


@dataclass
class StageProgress:
    """Seconds that a stage may take (0: it has not begun) and has taken, over all its starts; and whether it is over.
    `note` says why it has no result, and `earlier` what it took before it went on after its end."""

    allotted: float = 0.0
    spent: float = 0.0
    done: bool = False
    note: str = ""
    earlier: float = 0.0

    @property
    def left(self) -> float:
        """Seconds."""
        return max(0.0, self.allotted - self.spent)


@dataclass
class Progress:
    """All stages of a way, by name, as they are kept in its folder."""

    folder: Path
    stages: dict[str, StageProgress] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Progress:
        """What is kept in a folder; nothing has begun where that is nothing.

        Raises:
            InputError: it is damaged.
        """
        file = folder / FILE
        if not file.exists():
            return cls(folder)
        try:
            kept = json.loads(file.read_text(encoding="utf-8"))
            return cls(folder, {name: StageProgress(**stage) for name, stage in kept.items()})
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{file} is damaged ({error}); remove it: the stages look for what they made") from error

    def of(self, stage: str) -> StageProgress:
        """One stage's."""
        return self.stages.setdefault(stage, StageProgress())

    def write(self) -> None:
        """Keeps it as it is now."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            kept = {name: asdict(stage) for name, stage in self.stages.items()}
            write_whole(self.folder / FILE, json.dumps(kept, indent=2) + "\n")

    @contextmanager
    def running(self, stage: str) -> Iterator[StageProgress]:
        """A stage at work: its time is noted every few seconds, so that a kill loses no more than these."""
        own, over = self.of(stage), threading.Event()
        before, began = own.spent, time.monotonic()

        def note() -> None:
            own.spent = before + time.monotonic() - began
            self.write()

        def beat() -> None:
            while not over.wait(BEAT):
                with suppress(InputError, RunStopped):  # a full disk is told at the end
                    note()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield own
        finally:
            over.set()
            thread.join()
            note()

    def begin_anew(self, stage: str, shares: Mapping[str, float], seconds: float) -> None:
        """A stage that is over goes on for its share of all `seconds`."""
        allotted = seconds * shares[stage] / sum(shares.values()) if stage in shares else 0.0
        own = self.of(stage)
        self.stages[stage] = StageProgress(allotted, earlier=own.earlier + own.spent)


def allot(progress: Progress, shares: Mapping[str, float], seconds: float, stage: str) -> float:
    """Seconds for a stage that begins: of what those before it have left of all `seconds`, its share among the stages
    that are still to come. So one that ended early gives its rest to the later ones, and one that took too long takes
    it from them.

    Args:
        shares: of all stages that share the time, in order.
    """
    spent = sum(progress.of(name).spent for name in shares)
    coming = [name for name in shares if not progress.of(name).done]
    return max(0.0, seconds - spent) * shares[stage] / sum(shares[name] for name in coming)
