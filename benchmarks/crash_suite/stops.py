"""Runs that are told to stop, and two that want the same."""

from __future__ import annotations

import shutil
import signal

from crash_suite.bench import AIMS, MOMENTS, REFUSED, WELL, CrashBench
from crash_suite.life import End, Life

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def signals(bench: CrashBench) -> None:
    """SIGINT and SIGTERM to all ranks at each moment of a run, and while `export` writes."""
    for moment in bench.few(list(MOMENTS), 2):
        for number in SIGNALS:
            what = f"{number.name} to all ranks while {moment}"
            with bench.held("stopped", moment) as held:
                if held is None:
                    bench.skip("signals", what, "the run ended before")
                    continue
                place, life = held
                end = told(life, number)
            early = {-number, 130, 143} if moment == "starting" else set()  # before anybody listens
            case = bench.note("signals", what, end, WELL | early, place)
            if end.codes == (0,) * bench.ranks and not end.line.startswith(("stopped", "done")):
                case.faults.append("it says neither that it was stopped nor that it is done")
    _stop_export(bench)


def told(life: Life, number: signal.Signals) -> End:
    """How a stopped life ended that was sent a signal and then went on."""
    life.signal(number)
    life.signal(signal.SIGCONT)
    return life.end()


def _stop_export(bench: CrashBench) -> None:
    """`export` makes a model of a checkpoint; stopped at it, it leaves nothing, and is started again."""
    wanted, out = bench.folder / "exported", bench.folder / "exports" / "model"
    shutil.rmtree(wanted, ignore_errors=True)
    with bench.command("export", str(bench.whole.run), "--out", str(wanted), "--dtype", "fp32") as life:
        life.end()
    for number in SIGNALS:
        what = f"{number.name} while the command export writes"
        options = str(bench.whole.run), "--out", str(out), "--dtype", "fp32"
        for longest in AIMS:
            shutil.rmtree(out.parent, ignore_errors=True)
            out.parent.mkdir()
            with bench.command("export", *options) as life:
                if life.hold(lambda: any(out.parent.glob(".*.part")), bench.chance, longest):
                    end = told(life, number)
                    break
        else:
            bench.skip("signals", what, "the command ended before")
            continue
        case = bench.note("signals", what, end, {-number, 130, 143})
        if left := [path.name for path in out.parent.iterdir()]:
            case.faults.append(f"half written: {left[0]}")
        with bench.command("export", *options) as life:
            again = life.end()
        names = [path.relative_to(wanted) for path in wanted.rglob("*.safetensors")]
        if any(again.codes) or any((out / name).read_bytes() != (wanted / name).read_bytes() for name in names):
            case.faults.append(f"the next start: {again.code} {again.line}")


def two(bench: CrashBench) -> None:
    """Two runs at once: in one folder, from a moment of the first on and from the start; and with one cache."""
    for moment in bench.few(["encoding", "training", "saving"], 1):
        with bench.held("twice", moment) as held:
            if held is None:
                bench.skip("two", f"a second run while the first is {moment}", "the first ended before")
                continue
            place, first = held
            second = bench.finish(place)
            first.signal(signal.SIGCONT)
            case = bench.note("two", f"a second run while the first is {moment}", second, REFUSED)
            if "is in use by process" not in second.line and not any(second.codes):
                case.faults.append("both ran")
            bench.note("two", f"the first, where a second came while {moment}", first.end(), WELL, place)
    place = bench.place("twice")
    with bench.start(place) as first, bench.start(place) as second:
        ends = sorted((first.end(), second.end()), key=lambda end: end.codes)
    bench.note("two", "two that start together: the one that runs", ends[0], WELL, place)
    bench.note("two", "two that start together: the other", ends[1], REFUSED)
    _one_cache(bench)
    _dead(bench)


def _one_cache(bench: CrashBench) -> None:
    """Two runs that prepare the same cache together."""
    place, other = bench.place("shared"), bench.place("other")
    with bench.start(place) as first, bench.start(other, f"objective.latents={place.cache}") as second:
        bench.note("two", "two runs with one empty cache: the first", first.end(), WELL, place)
        bench.note("two", "two runs with one empty cache: the second", second.end(), WELL, other)


def _dead(bench: CrashBench) -> None:
    """A lock that a killed run has left is taken over."""
    what = "a run whose lock a killed one has left"
    with bench.held("dead", "training") as held:
        if held is None:
            bench.skip("two", what, "the first ended before")
            return
        place, life = held
        life.kill()
    locked = place.exists(MOMENTS["starting"])
    case = bench.note("two", what, bench.finish(place), WELL, place)
    if not locked:
        case.faults.append("there was no lock")
