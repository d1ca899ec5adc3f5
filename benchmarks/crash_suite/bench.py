"""Where the cases of the matrix run: a recipe, a run of it that nothing has broken, and what each case came to."""

from __future__ import annotations

import itertools
import random
import shutil
import signal
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from crash_suite.compare import differences
from crash_suite.life import End, Life
from crash_suite.seeds import write_recipe, write_tuning

WELL, REFUSED = {0}, {2, 75}
AIMS = 0.1, 0.02, 0.0, 0.0, 0.0  # seconds into a moment, of one try after another
SECONDS = 300.0  # that a command may take on one rank


@dataclass
class CrashCase:
    """What was done to a command and what came of it.

    Attributes:
        kind: of what was done, such as `signals`.
        what: was done, and at which moment.
        code, line: how the command ended, and what it said.
        faults: what must not be.
        skipped: why it could not be tried; "" where it was.
    """

    kind: str
    what: str
    code: str = ""
    line: str = ""
    faults: list[str] = field(default_factory=list)
    skipped: str = ""
    ranks: int = 1
    zero: int = 0

    @property
    def outcome(self) -> str:
        """The outcome in one word or several."""
        return f"skipped: {self.skipped}" if self.skipped else "; ".join(self.faults) or "the same bits in the end"


@dataclass(frozen=True)
class Place:
    """A folder where a run lives, with its cache."""

    folder: Path

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.folder / "run"

    @property
    def cache(self) -> Path:
        """The folder of encoded clips and captions."""
        return self.folder / "cache"

    def exists(self, pattern: str) -> bool:
        """Whether anything is there by that pattern."""
        return any(self.folder.glob(pattern))


# Each is so as long as something is there that matches.
MOMENTS = {
    "starting": "run/run.lock",
    "encoding": "cache/latents/*/*.part",
    "training": "run/log.jsonl",
    "saving": "run/checkpoints/step-*.part",
    "drawing a sample": "run/samples/step-*/*.part",
    "exporting": "run/model.part",
    "keeping an export": "run/exports/step-*.part",
}


class CrashBench:
    """Runs of one recipe on so many ranks.

    Args:
        folder: for all that is written; a new one.
        steps: of the run.
        chance: draws moments and damages.
        quick: a few cases of each kind alone.
    """

    def __init__(self, folder: Path, ranks: int, zero: int, steps: int, chance: random.Random, quick: bool) -> None:
        self.folder, self.ranks, self.zero, self.chance, self.quick = folder, ranks, zero, chance, quick
        self.cases: list[CrashCase] = []
        self._numbers = itertools.count(1)
        begun = folder / "begun"
        begun.mkdir(parents=True)
        recipe = write_recipe(begun, steps, zero)
        base = Life("train", [str(recipe), f"run={folder / 'base'}", "steps=1", "zero_stage=0"], self._output())
        with base as life:
            life.end()
        self.recipe = write_tuning(folder, recipe, folder / "base" / "model")
        self.whole = self.place("whole")
        self._require(self.finish(self.whole))

    def place(self, name: str) -> Place:
        """A new place; one of that name is emptied."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return Place(folder)

    def stopped_half_way(self) -> Place:
        """A place with a run that was stopped, with a checkpoint or two, a model and all that it keeps."""
        place = self.place("half")
        with self.start(place) as life:
            made = "run/model/model_index.json", "run/exports/step-*[0-9]", "run/samples/*/*/*.mp4"
            life.hold(lambda: all(place.exists(pattern) for pattern in made), self.chance)
            life.signal(signal.SIGTERM)
            life.signal(signal.SIGCONT)
            life.end()
        return place

    def start(self, place: Place, *options: str) -> Life:
        """Trains at a place."""
        own = [f"run={place.run}", f"objective.latents={place.cache}", f"objective.data.cache={self._frames(place)}"]
        seconds = SECONDS * self.ranks
        return Life("train", [str(self.recipe), *own, *options], self._output(), self.ranks, seconds)

    def finish(self, place: Place, *options: str) -> End:
        """Trains at a place, to the end."""
        with self.start(place, *options) as life:
            return life.end()

    @contextmanager
    def held(self, name: str, moment: str) -> Iterator[tuple[Place, Life] | None]:
        """A new place and a life there that is stopped at a moment; None where several lives have ended before."""
        for longest in AIMS:
            place = self.place(name)
            with self.start(place) as life:
                if life.hold(lambda place=place: place.exists(MOMENTS[moment]), self.chance, longest):
                    yield place, life
                    return
        yield None

    def command(self, name: str, *options: str) -> Life:
        """Another command."""
        return Life(name, options, self._output(), 1, SECONDS)

    def _frames(self, place: Place) -> Path:
        own = place.folder / "frames"
        return own if own.exists() else self.folder / "begun" / "cache"

    def _output(self) -> Path:
        return self.folder / f"output-{next(self._numbers):04d}.txt"

    def note(
        self, kind: str, what: str, end: End, codes: Collection[int], place: Place | None = None, *options: str
    ) -> CrashCase:
        """Notes what came of a case. The run at a place must then end as the unbroken one: where it has not come to
        its end by itself, it is started again first."""
        case = CrashCase(kind, what, end.code, end.line, list(end.faults), "", self.ranks, self.zero)
        if wrong := [code for code in end.codes if code not in codes]:
            case.faults.append(f"exit code {wrong[0]}")
        if any(end.codes) and not end.line and not any(code < 0 for code in end.codes):
            case.faults.append("no line that says why")
        if place is not None:
            again = end
            if any(end.codes) or not end.line.startswith("done"):
                case.faults += _left(place)
                again = self.finish(place, *options)
            case.faults += self.unlike(place, again)
        self.cases.append(case)
        return case

    def unlike(self, place: Place, end: End) -> list[str]:
        """What is not as in the unbroken run, where a run has lived to its end."""
        if any(end.codes):
            return [f"the next start: {end.code} {end.line}", *end.faults]
        try:
            return [*end.faults, *differences(place.run, self.whole.run)]
        except (OSError, LookupError, ValueError) as error:
            return [f"nothing to compare: {error}"]

    def skip(self, kind: str, what: str, why: str) -> None:
        """Notes what could not be tried."""
        self.cases.append(CrashCase(kind, what, skipped=why, ranks=self.ranks, zero=self.zero))

    def few(self, all_of_them: Sequence, count: int) -> list:
        """All, or where it is to be quick so many, by chance."""
        chosen = self.chance.sample(range(len(all_of_them)), min(count, len(all_of_them)))
        return [each for place, each in enumerate(all_of_them) if not self.quick or place in chosen]

    @staticmethod
    def _require(end: End) -> None:
        assert not any(end.codes), f"the unbroken run failed: {end.line} {end.faults}"
        assert not end.faults, end.faults


def _left(place: Place) -> list[str]:
    """What a run has left half written. In the cache that is what the next start goes on with."""
    left = [str(path.relative_to(place.folder)) for path in place.run.rglob("*.part")]
    return [f"half written: {', '.join(left)}"] if left else []
