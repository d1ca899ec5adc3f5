"""JSONL files that long work appends to, and that may be killed at it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32


def read_records(file: Path) -> Iterator[object]:
    """The records of a file, none where there is no file. A line that broke off, or is no JSON, counts for nothing."""
    for line in file.read_bytes().split(b"\n") if file.exists() else []:
        try:
            yield json.loads(line)
        except ValueError:
            continue


def summed_line(record: object) -> str:
    """A line that holds a record and its checksum. It begins with a line end: what broke off before it stays apart."""
    text = json.dumps(record)
    return f"\n{crc32(text.encode()):08x} {text}"


def read_summed(file: Path) -> Iterator[object]:
    """The records of lines that are as `summed_line` made them; none where there is no file."""
    for line in file.read_bytes().split(b"\n") if file.exists() else []:
        seal, _, text = line.partition(b" ")
        if seal == b"%08x" % crc32(text):
            try:
                yield json.loads(text)
            except ValueError:
                continue
