"""Shards in the making on a file system whose locks do not reach from host to host."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from vgen import holder
from vgen.data.cache.claim import FRESH, OWNER, claim
from vgen.data.cache.shard import LOCK, held_by_us
from vgen.holder import Hold, Holder, read_holder

HOST = socket.gethostname()
GONE = {"pid": 2**22 - 1}


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


def named(part, host, age=0.0, **changes):
    """A shard that another process has left its name in, `age` seconds ago."""
    (part / OWNER).write_text(json.dumps(asdict(replace(Holder.here(), host=host, **changes))))
    (part / LOCK).touch()
    then = os.stat(part / OWNER).st_mtime - age
    os.utime(part / OWNER, (then, then))


def test_its_name_is_there_while_it_is_held(part):
    with held_by_us(part) as held:
        assert held and read_holder(part / OWNER).same(Holder.here())
    assert not (part / OWNER).exists()


def test_another_host_is_let_be_for_as_long_as_it_writes(part):
    named(part, "another")
    assert not is_ours(part)
    named(part, "another", age=FRESH + 60)
    (part / "done.jsonl").touch()  # it has written something
    assert not is_ours(part)
    os.utime(part / "done.jsonl", (1, 1))
    assert is_ours(part)


def test_of_one_host_the_lock_tells_or_the_process(part, no_locks):
    parent = {"pid": os.getppid(), "begun": holder._begun(os.getppid())}
    named(part, HOST, **parent)
    assert claim(part, locked=True), "with the lock its maker is gone"
    named(part, HOST, **parent)
    assert not is_ours(part)
    named(part, HOST, **parent | {"begun": "1"})
    assert is_ours(part), "its number is another process's now"
    named(part, HOST, **GONE)
    assert is_ours(part)


@pytest.mark.parametrize("text", [b'["ano', b"\xff\xfe no text"])
def test_a_name_that_is_cut_off_is_of_someone_for_a_while(part, text):
    (part / OWNER).write_bytes(text)
    assert not is_ours(part)  # it may be written in this moment
    os.utime(part / OWNER, (1, 1))
    assert is_ours(part)


KILLED = """
import os, signal, sys
from pathlib import Path
from vgen.data.cache.shard import held_by_us
Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
with held_by_us(Path(sys.argv[1])):
    pass
"""


@pytest.mark.parametrize("locks", [True, False])
def test_who_is_killed_while_it_takes_a_shard_over_keeps_it_from_nobody_of_its_host(part, locks, request):
    if not locks:
        request.getfixturevalue("no_locks")
    named(part, HOST, **GONE)
    assert subprocess.run([sys.executable, "-c", KILLED, str(part)], check=False).returncode == -signal.SIGKILL
    assert list(part.glob(".owner.after.*"))
    with held_by_us(part) as held:
        assert held and read_holder(part / OWNER).same(Holder.here())
        assert not list(part.glob(".owner.*"))


def test_of_another_host_it_is_taken_for_killed_after_a_while(part):
    named(part, HOST, **GONE)
    heir = Hold(part / OWNER)._heir(read_holder(part / OWNER))
    heir.write_text(json.dumps(asdict(replace(Holder.here(), host="another"))))
    assert not is_ours(part)
    os.utime(heir, (1, 1))
    assert is_ours(part) and not heir.exists()
