"""Shards in the making on a file system whose locks do not reach from host to host."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from vgen.data.cache.claim import FRESH, OWNER, claim
from vgen.data.cache.shard import LOCK, held_by_us

HOST = socket.gethostname()
GATE = f"{OWNER}.gate"


@pytest.fixture
def part(tmp_path):
    (tmp_path / "shard.part").mkdir()
    return tmp_path / "shard.part"


@pytest.fixture
def no_locks(monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)


def is_ours(part):
    with held_by_us(part) as held:
        return held


def named(part, host, pid, age=0.0):
    """A shard that a process at work has left its name in, `age` seconds ago."""
    (part / OWNER).write_text(json.dumps([host, pid]))
    (part / LOCK).touch()
    then = os.stat(part / OWNER).st_mtime - age
    os.utime(part / OWNER, (then, then))


def test_its_name_is_there_while_it_is_held(part):
    with held_by_us(part) as held:
        assert held and json.loads((part / OWNER).read_text()) == [HOST, os.getpid()]
    assert not (part / OWNER).exists()


def test_another_host_is_let_be_for_as_long_as_it_writes(part):
    named(part, "another", 1)
    assert not is_ours(part)
    named(part, "another", 1, age=FRESH + 60)
    (part / "done.jsonl").touch()  # it has written something
    assert not is_ours(part)
    os.utime(part / "done.jsonl", (1, 1))
    assert is_ours(part)


def test_of_one_host_the_lock_tells_or_the_process(part, no_locks):
    named(part, HOST, os.getppid())
    assert claim(part, locked=True), "with the lock its maker is gone"
    named(part, HOST, os.getppid())
    assert not is_ours(part)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    named(part, HOST, gone.pid)
    assert is_ours(part)


def test_a_name_that_is_cut_off_is_of_someone_for_a_while(part):
    (part / OWNER).write_text('["ano')
    assert not is_ours(part)  # it may be written in this moment
    os.utime(part / OWNER, (1, 1))
    assert is_ours(part)


KILLED = """
import os, signal, sys
from pathlib import Path
from vgen.data.cache import claim
from vgen.data.cache.shard import held_by_us
owner = claim._owner
def killed(file):
    if (file.parent / "owner.gate").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return owner(file)
claim._owner = killed
with held_by_us(Path(sys.argv[1])):
    pass
"""


def killed_in_the_gate(part):
    """Another process of this host, killed while it takes the shard over from one of this host who is gone."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    named(part, HOST, gone.pid)
    assert subprocess.run([sys.executable, "-c", KILLED, str(part)], check=False).returncode == -signal.SIGKILL
    assert (part / GATE).exists()


def test_who_is_killed_while_it_takes_a_shard_over_keeps_it_from_nobody_of_its_host(part):
    killed_in_the_gate(part)
    with held_by_us(part) as held:
        assert held and json.loads((part / OWNER).read_text()) == [HOST, os.getpid()]
        assert not (part / GATE).exists()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_where_nothing_tells_that_it_was_killed_it_is_taken_for_that_after_a_while(part, elsewhere, request):
    killed_in_the_gate(part)
    if elsewhere:
        (part / GATE).write_text(json.dumps(["another", 1]))
    else:
        request.getfixturevalue("no_locks")
    assert not is_ours(part) and (part / GATE).exists()
    os.utime(part / GATE, (1, 1))
    assert not is_ours(part) and not (part / GATE).exists()
    assert is_ours(part)


RACER = """
import sys, time
from pathlib import Path
from vgen.data.cache.claim import claim
part, go = Path(sys.argv[1]), Path(sys.argv[2])
print("ready", flush=True)
for number in range(int(sys.argv[3])):
    while not (go / str(number)).exists():
        pass
    print(int(claim(part / str(number), locked=False)), flush=True)
sys.stdin.read()
"""


def test_of_several_that_find_a_dead_ones_name_one_has_the_shard(tmp_path):
    rounds, go = 40, tmp_path / "go"
    go.mkdir()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for number in range(rounds):
        (tmp_path / str(number)).mkdir()
        named(tmp_path / str(number), HOST, gone.pid)
    ask = [sys.executable, "-c", RACER, str(tmp_path), str(go), str(rounds)]
    racers = [subprocess.Popen(ask, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    try:
        assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 3
        for number in range(rounds):
            (go / str(number)).touch()
            assert sum(int(racer.stdout.readline()) for racer in racers) == 1
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()
