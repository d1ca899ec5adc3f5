"""Whose a shard in the making is, where locks do not reach from host to host, as on some network file systems.

`flock` tells the processes of one host apart, and of several where the file system carries it. Where it does not, every
host believes that a shard is its own. So who makes a shard leaves its name in it, and others let it be for as long as
it is written to.
"""

from __future__ import annotations

from pathlib import Path

from vgen.holder import Hold, Holder, read_holder

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
    hold = Hold(part / OWNER)
    owner = read_holder(part / OWNER)
    if owner is not None and owner.same(hold.mine):
        return True

    def ended(other: Holder, file: Path) -> bool:
        dead = (locked and other.host == hold.mine.host) or other.dead(hold.mine)
        return not _is_fresh(part, file) if dead is None else dead

    return hold.take(ended) is None


def release(part: Path) -> None:
    """Takes this process's name out of a shard, if that is still there."""
    Hold(part / OWNER).release()


def _is_fresh(part: Path, name: Path) -> bool:
    """Whether something was written into a shard a moment ago, or a file with the name of a process that has it."""
    try:
        made = [file for file in part.iterdir() if not file.name.startswith((".", "lock", OWNER))]
    except FileNotFoundError:  # finished in this moment
        return True
    return min(_age(part, file) for file in [name, *made]) < FRESH


def _age(part: Path, file: Path) -> float:
    """Seconds since a file of a shard was written, by the clock of its file system; 0 of one that is gone."""
    probe = part / NOW
    try:
        probe.touch()
        return probe.stat().st_mtime - file.stat().st_mtime
    except FileNotFoundError:
        return 0.0
