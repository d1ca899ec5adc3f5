"""Hashes of files, by whose content caches are keyed. A file is hashed once: the result is kept beside the caches."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from vgen.data.jsonl import read_summed, summed_line
from vgen.errors import InputError
from vgen.files import append, file_sha256

MEMO = "hashes.jsonl"
AT_ONCE = 8  # files; hashing waits for the disk

Stamp = tuple[str, int, int]  # place, size and time of change of a file


def folder_sha256(folder: str | Path, root: str | Path) -> str:
    """The SHA-256 of all files of a folder, by name and content.

    Args:
        folder: of a model's component, such as a codec.
        root: see `file_hashes`.

    Raises:
        InputError: a file cannot be read.
    """
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for file, content in zip(files, file_hashes(files, root), strict=True):
        if not content:
            raise InputError(f"cannot read {file}")
        digest.update(f"{file.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def content_key(content: object) -> str:
    """A key of 24 hexadecimal digits that is the same for the same plain values, whoever asks."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]


def file_hashes(files: Sequence[Path], root: str | Path | None = None) -> list[str]:
    """The SHA-256 of the content of each file, which may come several times; "" of one that cannot be read.

    Args:
        root: folder in which hashes are kept, each with the file's place, size and time of change; of a disk that is
            full or that must not be written to, none is kept. None: they are not kept.
    """
    memo = Path(root) / MEMO if root else None
    known = _known(memo) if memo else {}
    stamps = {file: _stamp(file) for file in dict.fromkeys(files)}
    unknown = [file for file, stamp in stamps.items() if stamp and stamp not in known]
    if unknown:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = pool.map(_content, unknown)
            for file, content in zip(unknown, tqdm(found, "hashing files", len(unknown), delay=2), strict=True):
                if content and (stamp := stamps[file]):
                    known[stamp] = content
                    _keep(memo, [*stamp, content])
    return [known.get(stamp, "") if (stamp := stamps[file]) else "" for file in files]


def _content(file: Path) -> str:
    try:
        return file_sha256(file)
    except InputError:
        return ""


def _stamp(file: Path) -> Stamp | None:
    """Changes when a file does; None where it is not there."""
    try:
        about = os.stat(file)
    except (OSError, ValueError):
        return None
    return os.path.realpath(file), about.st_size, about.st_mtime_ns


def _known(memo: Path) -> dict[Stamp, str]:
    """The hashes that are kept in a file."""
    known = {}
    for record in read_summed(memo):
        match record:
            case [str(place), int(size), int(changed), str(content)]:
                known[place, size, changed] = content
    return known


def _keep(memo: Path | None, record: list[str | int]) -> None:
    if memo:
        with suppress(OSError):
            memo.parent.mkdir(parents=True, exist_ok=True)
            append(memo, summed_line(record))
