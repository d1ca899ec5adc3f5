"""The manifest of a checkpoint: what lies in its folder, file by file, and what makes that folder damaged."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from vgen.train.checkpoint.unpickling import read_tensors

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
# What file systems leave by themselves: a file that was deleted while it was open (NFS), a look of the Finder. No
# loader reads such names, so they are told of and not a damage.
LEFT_BY_SYSTEMS = re.compile(r"\.nfs[0-9a-f]+|\.DS_Store")

Stamp = tuple[int, int, int, int]
"""What changes with a file: inode, bytes, and the times of the last change of content and of anything else, in ns."""


class Damage(Exception):
    """A checkpoint's folder is not as it was written; the message says what differs."""


def write_manifest(folder: Path, files: Mapping[str, Any], run: str) -> Path:
    """Writes the manifest of a folder: its files, the run that they are of, and the sha256 of both together.

    Args:
        files: `{"sha256": ..., "bytes": ...}` by name below the folder, as `hash_file` gives them.
        run: the fingerprint of the run's recipe.
    """
    about = {"run": run, "files": dict(sorted(files.items()))}
    path = folder / MANIFEST
    path.write_text(json.dumps({**about, "sha256": _digest(about)}, indent=1) + "\n")
    return path


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder; one that an older vgen wrote names no run and has no sha256 of its own.

    Raises:
        Damage: it is not there, or not as vgen writes it.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        files = manifest["files"]
        entries = all(type(e["bytes"]) is int and type(e["sha256"]) is str for e in files.values())
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise Damage(f"{MANIFEST} is missing or unreadable") from error
    if not entries:
        raise Damage(f"{MANIFEST} is missing or unreadable")
    if "run" in manifest or "sha256" in manifest:
        about = {key: manifest.get(key) for key in ("run", "files")}
        if manifest.get("sha256") != _digest(about):
            raise Damage(f"{MANIFEST} is not what was written: its own sha256 differs")
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or str(path) != name or name in (".", MANIFEST):
            raise Damage(f"{MANIFEST} names {name!r}, which is no file of the folder")
    return manifest


def check_listing(folder: Path, listed: Iterable[str]) -> None:
    """Refuses a folder that holds anything but the listed files, as files of its own.

    Raises:
        Damage: something else is there: another file, a link, a device.
    """
    listed = {*listed, MANIFEST}
    for name, path in walk(folder):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            raise Damage(f"{name} is a link")
        if not stat.S_ISREG(mode):
            raise Damage(f"{name} is neither a file nor a folder")
        if name not in listed:
            if not LEFT_BY_SYSTEMS.fullmatch(path.name):
                raise Damage(f"{name} is there, and {MANIFEST} does not list it")
            logger.warning("%s is no part of the checkpoint, and is not read", path)


def check_file(folder: Path, name: str, entry: Mapping[str, Any]) -> Stamp:
    """Compares a file with its entry in the manifest, and returns its stamp; a pickle must hold tensors alone.

    Raises:
        Damage: it differs, or is not there.
    """
    path = folder / name
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise Damage(f"{name} is not a file")
        before = stamp(path)
        if before[1] != entry["bytes"]:
            raise Damage(f"{name} has {before[1]} bytes, not {entry['bytes']}")
        if hash_file(path)["sha256"] != entry["sha256"]:
            raise Damage(f"{name} is not what was written: its sha256 differs")
        if path.suffix == ".pt":
            read_tensors(path)
    except FileNotFoundError as error:
        raise Damage(f"{name} is missing") from error
    except OSError as error:
        raise Damage(f"{name} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise Damage(f"{name} {error}") from error
    return before


def hash_file(path: Path) -> dict[str, Any]:
    """The entry of a file in the manifest. An OSError stays one: it tells a missing file from a broken disk."""
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


def stamp(path: Path) -> Stamp:
    """The stamp of a file as it is now."""
    now = path.lstat()
    return now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns


def walk(folder: Path) -> list[tuple[str, Path]]:
    """All that lies below a folder and is not itself a folder, by its name from there on. Links are not followed."""
    found = []
    for parent, folders, files in os.walk(folder):
        linked = [name for name in folders if Path(parent, name).is_symlink()]
        found += [Path(parent, name) for name in (*files, *linked)]
    return sorted((path.relative_to(folder).as_posix(), path) for path in found)


def _digest(about: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
