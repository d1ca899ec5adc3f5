"""JSON files that are known again: with a SHA-256 of what follows in their first line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from vgen.files import write_whole


def write_sealed(file: Path, body: Any) -> None:
    """Writes it whole, or not at all. Raises: OSError."""
    text = json.dumps(body)
    write_whole(file, f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}")


def read_sealed(file: Path) -> Any:
    """What `write_sealed` wrote.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not as it was written.
    """
    seal, _, text = file.read_bytes().partition(b"\n")
    if seal != hashlib.sha256(text).hexdigest().encode():
        raise ValueError("not what was written, as its sha256 differs")
    return json.loads(text)
