"""Whose a shard in the making is, where locks do not reach from host to host, as on some network file systems.

`flock` tells the processes of one host apart, and of several where the file system carries it. Where it does not, every
host believes that a shard is its own. So who makes a shard leaves its name in it, and others let it be for as long as
it is written to.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from pathlib import Path

OWNER = "owner"
NOW = f"{OWNER}.now"
FRESH = 300.0  # seconds since something was last written into a shard that another host is still making


def claim(part: Path, locked: bool) -> bool:
    """Whether a shard in the making may be this process's own; then its name is in it.

    Args:
        part: its folder.
        locked: whether this process has its lock, which no other of this host has then.

    Raises:
        OSError: the name cannot be written.
    """
    me = [socket.gethostname(), os.getpid()]
    owner = _owner(part / OWNER)
    if owner == me:
        return True
    if owner is not None:
        host, pid = owner
        at_work = not locked and _is_alive(pid) if host == me[0] else _is_fresh(part)
        return not at_work and _taken_over(part, owner, me, locked)
    try:
        with (part / OWNER).open("x") as file:
            file.write(json.dumps(me))
    except FileExistsError:  # another one came first
        return False
    return True


def release(part: Path) -> None:
    """Takes this process's name out of a shard, if that is still there."""
    if _owner(part / OWNER) == [socket.gethostname(), os.getpid()]:
        with suppress(OSError):
            (part / OWNER).unlink()


def _owner(file: Path) -> list[object] | None:
    """The host and the process whose name is in a file; None where there is no file."""
    try:
        host, pid = json.loads(file.read_text())
        return [str(host), int(pid)]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):  # being written in this moment, or cut off by a full disk
        return ["", 0]


def _taken_over(part: Path, gone: list[object], me: list[object], locked: bool) -> bool:
    """Puts this process's name in place of one who is gone; of several that try, one does. A gate lets one at a time
    look whether that name is still there: another may have put its own there meanwhile.

    A gate may be of one who was killed there. With the lock, a gate of this host is: only who has the lock gets so far.
    Any other is taken for that after a while.
    """
    gate = part / f"{OWNER}.gate"
    if locked and (held := _owner(gate)) is not None and held[0] == me[0]:
        gate.unlink(missing_ok=True)
    try:
        with gate.open("x") as file:
            file.write(json.dumps(me))
    except FileNotFoundError:  # the shard was finished in this moment
        return False
    except FileExistsError:
        if _age(part, gate) > FRESH:
            gate.unlink(missing_ok=True)
        return False
    try:
        if _owner(part / OWNER) != gone:
            return False
        own = part / f"{OWNER}.{me[0]}.{me[1]}"
        own.write_text(json.dumps(me))
        own.replace(part / OWNER)
        return True
    finally:
        gate.unlink(missing_ok=True)


def _is_alive(pid: object) -> bool:
    try:
        os.kill(int(str(pid)), 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _is_fresh(part: Path) -> bool:
    """Whether something was written into a shard a moment ago."""
    try:
        made = [file for file in part.iterdir() if not file.name.startswith(("lock", NOW))]
    except FileNotFoundError:  # finished in this moment
        return True
    return min((_age(part, file) for file in made), default=0.0) < FRESH


def _age(part: Path, file: Path) -> float:
    """Seconds since a file of a shard was written, by the clock of its file system; 0 of one that is gone."""
    probe = part / NOW
    try:
        probe.touch()
        return probe.stat().st_mtime - file.stat().st_mtime
    except FileNotFoundError:
        return 0.0
