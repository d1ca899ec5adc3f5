"""Hashes of model folders, which caches are keyed by. A file is hashed once: the result is kept beside the caches."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from vgen.weights import file_sha256

MEMO = "hashes.json"


def folder_sha256(folder: str | Path, root: str | Path) -> str:
    """The SHA-256 of all files of a folder, by name and content.

    Args:
        folder: of a model's component, such as a codec.
        root: folder in which the files' hashes are kept, each with the file's size and time of change.

    Raises:
        InputError: a file cannot be read.
    """
    memo = Path(root) / MEMO
    try:
        known = json.loads(memo.read_text())
    except (OSError, ValueError):
        known = {}
    digest, before = hashlib.sha256(), len(known)
    for file in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
        about = file.stat()
        key = f"{file.resolve()} {about.st_size} {about.st_mtime_ns}"
        known[key] = known.get(key) or file_sha256(file)
        digest.update(f"{file.relative_to(folder).as_posix()} {known[key]}\n".encode())
    if len(known) > before:
        memo.parent.mkdir(parents=True, exist_ok=True)
        part = memo.with_name(f"{MEMO}.{os.getpid()}")
        part.write_text(json.dumps(known, indent=0))
        part.rename(memo)
    return digest.hexdigest()
