"""A run that is killed again and again."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from crash_suite.compare import differences, differing_steps, read_losses
from crash_suite.life import POLL, Life, changed, newest_step, step_of
from crash_suite.seeds import write_recipe
from vgen.errors import RunStopped

MOMENT = 0.05  # seconds; a kill that aims at a step comes within these of it, so in all that follows a step, too
TAIL = 10_000  # bytes that hold the last line of a log


@dataclass
class Kill:
    """When a run was killed: what was waited for, the last step in its log, and whether a save was cut off."""

    aim: str
    step: int
    in_save: bool


class KilledRun:
    """A run of a recipe that lives again and again."""

    def __init__(self, recipe: Path, folder: Path, ranks: int) -> None:
        self.recipe, self.folder, self.ranks = recipe, folder, ranks

    def live(self) -> Life:
        """Starts the command."""
        options = [str(self.recipe), f"run={self.folder}"]
        return Life("train", options, self.folder.with_suffix(".output"), self.ranks, 24 * 3600)

    def finish(self) -> float:
        """Lives to its end; returns when it began. RunStopped where that is none."""
        with self.live() as life:
            end = life.end()
        if any(end.codes) or end.faults:
            raise RunStopped(f"a run failed by itself: {end.code} {end.line} {'; '.join(end.faults)}")
        return life.began

    def saves(self, life: Life) -> bool:
        """Whether a life is writing a checkpoint."""
        parts = self.folder.glob("checkpoints/step-*.part")
        return any(changed(part) >= life.began and step_of(part) > newest_step(self.folder) for part in parts)

    def last_step(self) -> int:
        """The step of the last whole line of the log; 0 where there is none."""
        try:
            with (self.folder / "log.jsonl").open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL))
                lines = log.read().split(b"\n")[:-1]
        except FileNotFoundError:
            return 0
        return json.loads(lines[-1])["step"] if lines else 0


def kill_once(run: KilledRun, life: Life, aim: str, chance: random.Random, steps: int, start_up: float) -> Kill | None:
    """Kills a life at a moment of the kind `aim`; None where the run ended before.

    Args:
        aim: `save` (somewhere within the writing of a checkpoint), `training` (at any moment of the next `steps`
            steps) or `start` (within `start_up` seconds from nothing).
    """
    goal = newest_step(run.folder) + chance.randint(1, steps)
    due = time.monotonic() + chance.uniform(0, start_up)
    if aim == "save":
        if not life.hold(lambda: run.saves(life), chance):
            return None
    else:
        while (aim == "start" and time.monotonic() < due) or (aim == "training" and not _reached(run, life, goal)):
            if not life.alive():
                return None
            time.sleep(POLL)
        time.sleep(chance.uniform(0, MOMENT) if aim == "training" else 0)
    life.kill()
    return Kill(aim, run.last_step(), run.saves(life))


def _reached(run: KilledRun, life: Life, step: int) -> bool:
    """Whether a life has written to the log, which it does when it begins to train, and come to a step."""
    return changed(run.folder / "log.jsonl") >= life.began and run.last_step() >= step


def crash(folder: Path, count: int, steps: int, ranks: int, zero: int, seed: int) -> dict:
    """Trains a run that is killed `count` times and one that never is; the result, ready for JSON."""
    chance, began = random.Random(seed), time.monotonic()
    folder.mkdir(parents=True)
    recipe = write_recipe(folder, steps, zero)
    whole, broken = (KilledRun(recipe, folder / name, ranks) for name in ("whole", "broken"))
    begin = whole.finish()
    start_up = (whole.folder / "tensorboard").stat().st_ctime - begin
    losses = dict(read_losses(whole.folder))
    aims = [("save", "training", "start" if kill % 9 == 8 else "training")[kill % 3] for kill in range(count)]
    kills, differing = [], set()
    for aim in tqdm(aims, "kills", disable=None):
        with broken.live() as life:
            kill = kill_once(broken, life, aim, chance, max(1, steps // count), start_up)
        if kill is None:
            break
        kills.append(kill)
        differing |= set(differing_steps(broken.folder, losses))
    broken.finish()
    found = differences(broken.folder, whole.folder)
    if differing:
        found.append(f"losses that a killed run had logged, of steps {sorted(differing)}")
    if len(kills) < count:
        found.append(f"only {len(kills)} of {count} kills: the run ended before; give more --steps")
    if "Traceback" in broken.folder.with_suffix(".output").read_text(errors="replace"):
        found.append("a traceback")
    return {
        "kills": len(kills),
        "kills_in_a_save": sum(kill.in_save for kill in kills),
        "aims": Counter(kill.aim for kill in kills),
        "killed_at_steps": [kill.step for kill in kills],
        "ranks": ranks,
        "zero_stage": zero,
        "steps": steps,
        "seed": seed,
        "differences": found,
        "minutes": round((time.monotonic() - began) / 60, 1),
    }
