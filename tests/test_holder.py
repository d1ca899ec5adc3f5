"""A folder that one process holds."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from launched import ROOT

from vgen.holder import Hold, Holder, read_holder

GONE = {"pid": 2**22 - 1}


def leave(file, **changes):
    """The name of another process, which differs from this one in some ways."""
    holder = replace(Holder.here(), **changes)
    file.write_text(json.dumps(asdict(holder)))
    return holder


def ended(hold):
    """As where nothing but this machine's processes is seen."""
    return lambda other, file: bool(other.dead(hold.mine))


def take(file):
    hold = Hold(file)
    return hold, hold.take(ended(hold))


def kill_before(number):
    """Ends this process before one of its calls that change the disk."""
    calls = itertools.count()

    def fatal(call):
        def counted(*args, **keys):
            if next(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **keys)

        return counted

    for of, name in ((os, "link"), (Path, "write_text"), (Path, "replace"), (Path, "unlink")):
        setattr(of, name, fatal(getattr(of, name)))


@pytest.mark.parametrize("left", [False, True], ids=["free", "of one that has ended"])
def test_wherever_a_taker_is_killed_the_next_of_its_host_has_it_at_once(tmp_path, left):
    number = 0
    while True:
        folder = tmp_path / str(number)
        folder.mkdir()
        if left:
            leave(folder / "name", **GONE)
        child = os.fork()
        if not child:
            kill_before(number)
            try:
                os._exit(0 if take(folder / "name")[1] is None else 1)
            finally:
                os._exit(2)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        began = time.monotonic()
        hold, other = take(folder / "name")
        assert other is None and time.monotonic() - began < 5
        hold.release()
        assert not (folder / "name").exists()
        if status == 0:
            break
        assert status == -signal.SIGKILL
        number += 1
    assert number == (4 if left else 3)


def test_who_comes_late_disturbs_nobody(tmp_path):
    """It has seen the name of one that has ended; meanwhile another process has taken over."""
    file = tmp_path / "name"
    leave(file, **GONE)
    late, winners = Hold(file), []

    def slow(other, _):
        if not winners:
            winners.append(take(file)[1])
            assert read_holder(file).pid == os.getpid()
            assert take(file)[1].pid == os.getpid(), "a third one has no moment in which it is free"
        return bool(other.dead(late.mine))

    assert late.take(slow).pid == os.getpid()
    assert winners == [None] and [path.name for path in tmp_path.iterdir()] == ["name"]


RACE = """
import fcntl, os, random, signal, sys, time
from pathlib import Path
from vgen.holder import Hold
folder, deadly = Path(sys.argv[1]), 0.0
def slow_and_fatal(call):
    def changed(*args):
        time.sleep(random.choice((0, 0, 0.002)))
        if random.random() < deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args)
    return changed
os.link, Path.replace = slow_and_fatal(os.link), slow_and_fatal(Path.replace)
def race(seed):
    global deadly
    random.seed(seed)
    for _ in range(10):
        hold, deadly = Hold(folder / "name"), 0.1
        if hold.take(lambda other, _: bool(other.dead(hold.mine))) is not None:
            continue
        deadly = 0.0
        with (folder / "inside").open("a") as inside:
            try:
                fcntl.flock(inside, fcntl.LOCK_EX | fcntl.LOCK_NB)  # which ends with its process
            except BlockingIOError:
                (folder / "two").touch()
            time.sleep(0.001)
            if random.random() < 0.4:
                os.kill(os.getpid(), signal.SIGKILL)
        hold.release()
racing = 0
for seed in range(int(sys.argv[2])):
    while racing >= 6:
        racing -= os.wait()[0] > 0
    if not os.fork():
        race(seed)
        os._exit(0)
    racing += 1
while racing:
    racing -= os.wait()[0] > 0
"""


def test_never_two_have_it_however_many_are_killed(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", RACE, str(tmp_path), "150"], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "two").exists()
    assert take(tmp_path / "name")[1] is None
