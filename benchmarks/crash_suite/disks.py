"""Disks that are full, at one write after another, and folders that come to be read-only. Needs root, for mounts."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from crash_suite.bench import REFUSED, WELL, CrashBench, Place

PAGE = os.sysconf("SC_PAGE_SIZE")
ROOMY = ("size=256m", "nr_inodes=100000")
SAMPLING = 0.001  # seconds between looks at how full a disk is


class CannotMount(Exception):
    """This process may not; the message says why."""


def _mount(*options: str) -> None:
    done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotMount(" ".join(done.stderr.split())[:100] or f"mount: exit code {done.returncode}")


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", ",".join(ROOMY), "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def resize(disk: Path, *limits: str) -> None:
    """Other limits of a small disk, such as `size=4096`."""
    _mount("-o", f"remount,{','.join(limits)}", str(disk))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder in which nothing can be written meanwhile, by whoever opens a file from now on."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("--bind", str(folder), str(folder))
    try:
        _mount("-o", "remount,bind,ro", str(folder))
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


class Filling:
    """Watches how full a disk gets: `levels["size"]` and `levels["nr_inodes"]`, each time that it was fuller than ever
    before, in bytes and in files."""

    def __init__(self, disk: Path) -> None:
        self.levels: dict[str, list[int]] = {"size": [0], "nr_inodes": [0]}
        self._disk, self._over = disk, threading.Event()

    def look(self) -> dict[str, int]:
        """How full it is now."""
        now = os.statvfs(self._disk)
        return {"size": (now.f_blocks - now.f_bfree) * now.f_bsize, "nr_inodes": now.f_files - now.f_ffree}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Around what fills it."""
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _watch(self) -> None:
        while not self._over.wait(SAMPLING):
            for limit, level in self.look().items():
                if level > self.levels[limit][-1]:
                    self.levels[limit].append(level)


def disk(bench: CrashBench) -> None:
    """A run on a disk that is full sooner or later: of each size that it had grown to when another write began, and of
    each number of files. It goes on, start after start, as it is given more room, and must end as the unbroken one."""
    try:
        with small_disk(bench.place("disk").folder) as folder:
            place, filling = Place(folder / "full"), Filling(folder)
            place.folder.mkdir()
            with filling.watched():
                bench.finish(place)
            for limit, levels in filling.levels.items():
                shutil.rmtree(place.folder)
                place.folder.mkdir()
                _climb(bench, place, folder, filling, limit, _steps(levels, 5 if bench.quick else 40))
        with small_disk(bench.place("disk").folder) as folder:
            _other_commands(bench, folder)
    except CannotMount as error:
        bench.skip("disk", "a full disk", str(error))


def _steps(levels: Sequence[int], count: int) -> list[int]:
    """Chooses so many of some levels, the first and the last among them."""
    if len(levels) <= count:
        return list(levels)
    return sorted({levels[round(place * (len(levels) - 1) / (count - 1))] for place in range(count)})


def _climb(bench: CrashBench, place: Place, folder: Path, filling: Filling, limit: str, levels: Sequence[int]) -> None:
    unit = "bytes" if limit == "size" else "files"
    for level in levels:
        room = max(level - PAGE, PAGE) if limit == "size" else max(level - 1, 2)
        if room < filling.look()[limit]:
            continue
        resize(folder, *(f"{limit}={room}" if each.startswith(limit) else each for each in ROOMY))
        end = bench.finish(place)
        case = bench.note("disk", f"room for {room} {unit}", end, WELL | REFUSED)
        if any(end.codes):
            case.faults += [f"half written: {each}" for each in _parts(place)]
    resize(folder, *ROOMY)
    case = bench.note("disk", f"in the end, with room for all {unit}", bench.finish(place), WELL, place)


def _parts(place: Place) -> list[str]:
    return [path.name for path in place.folder.rglob("*.part")]


def _other_commands(bench: CrashBench, folder: Path) -> None:
    """`train --dry-run`, `train --prepare` and `export` where a disk is full."""
    run, cache = folder / "run", folder / "cache"
    own = [str(bench.recipe), f"run={run}", f"objective.latents={cache}"]
    resize(folder, f"size={PAGE}")
    (folder / "ballast").write_bytes(b"x" * PAGE)
    with bench.command("train", *own, "--dry-run") as life:
        case = bench.note("disk", "train --dry-run on a full disk", life.end(), WELL)
    if left := [path.name for path in folder.iterdir() if path.name != "ballast"]:
        case.faults.append(f"it wrote {left[0]}")
    for name, options in (
        ("train --prepare", ["train", *own, "--prepare"]),
        ("export", ["export", str(bench.whole.run), "--out", str(folder / "model")]),
    ):
        for pages in bench.few((0, 1, 2, 8, 32), 1):
            resize(folder, f"size={(1 + pages) * PAGE}")
            with bench.command(*options) as life:
                case = bench.note("disk", f"{name} with room for {pages * PAGE} bytes", life.end(), WELL | REFUSED)
            case.faults += [f"half written: {path.name}" for path in folder.rglob("*.part")]
            for each in (run, cache, folder / "model"):
                shutil.rmtree(each, ignore_errors=True)


def readonly(bench: CrashBench) -> None:
    """Folders that are read-only from a moment on, or from the start; then they are not, and the run goes on."""
    try:
        for part, moment in bench.few([*_MOMENTS], 2):
            _turn_read_only(bench, part, moment)
        half = bench.stopped_half_way()
        for part, codes in (("run", REFUSED), ("cache", WELL), ("", REFUSED)):
            place = bench.place("kept")
            shutil.copytree(half.folder, place.folder, dirs_exist_ok=True)
            what = f"{part or 'all'} of a run that goes on is read-only"
            with read_only(place.folder / part):
                end = bench.finish(place)
            bench.note("readonly", what, end, codes, place)
        for part in ("run", "cache"):
            place = bench.place("new")
            with read_only(place.folder / part):
                end = bench.finish(place)
            bench.note("readonly", f"{part} of a new run is read-only", end, REFUSED, place)
    except CannotMount as error:
        bench.skip("readonly", "a read-only folder", str(error))


_MOMENTS = (
    ("run", "encoding"), ("run", "training"), ("run", "saving"), ("run", "exporting"), ("run", "drawing a sample"),
    ("run", "keeping an export"), ("cache", "encoding"), ("cache", "training"),
)  # fmt: skip


def _turn_read_only(bench: CrashBench, part: str, moment: str) -> None:
    what = f"{part} turns read-only while {moment}"
    with bench.held("turned", moment) as held:
        if held is None:
            bench.skip("readonly", what, "the run ended before")
            return
        place, life = held
        with read_only(place.folder / part):
            life.signal(signal.SIGCONT)
            end = life.end()
    with suppress(OSError):  # what could not be removed, as nothing could be written
        for left in place.folder.rglob("*.part"):
            shutil.rmtree(left)
    bench.note("readonly", what, end, WELL | REFUSED, place)
