"""JSONL files that long work appends to, and that may be killed at it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path


def read_records(file: Path) -> Iterator[object]:
    """The records of a file, none where there is no file. A line that broke off, or is no JSON, counts for nothing."""
    for line in file.read_bytes().split(b"\n") if file.exists() else []:
        try:
            yield json.loads(line)
        except ValueError:
            continue
