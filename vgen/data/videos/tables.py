"""Tables that a user wrote, CSV or JSONL, line by line: what is wrong in one is told with the number of its line."""

from __future__ import annotations

import csv
import io
import json
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vgen.errors import InputError

OTHER_SEPARATORS = ";\t|"


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        line: the one that it begins in, from 1.
        values: by column.
    """

    line: int
    values: dict[str, object]


def read_rows(file: Path) -> Iterator[Row]:
    """The rows of a CSV file with a header, or the objects of a JSONL file. Blank lines are passed over. A line ends
    with a line feed, alone or after a carriage return, and with nothing else.

    Raises:
        InputError: the file is of another kind or not UTF-8, or a line is wrong.
        OSError: it cannot be read.
    """
    kinds = {".csv": _csv_rows, ".jsonl": _json_rows}
    if file.suffix.lower() not in kinds:
        raise InputError(f"{file} is neither .csv nor .jsonl")
    return kinds[file.suffix.lower()](read_text(file), file)


def read_text(file: Path) -> str:
    """The text of a file in UTF-8, with or without a mark of that at its beginning.

    Raises:
        InputError: it is no such text; the message begins with the file and the line.
        OSError: it cannot be read.
    """
    data = file.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        kind = "UTF-16" if data.startswith((BOM_UTF16_BE, BOM_UTF16_LE)) else "another encoding"
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{file}, line {line}: not UTF-8 but {kind}; save it as UTF-8") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(f"{file}, line {line}: a zero byte, which no text has; save it as UTF-8")
    return text


def _csv_rows(text: str, file: Path) -> Iterator[Row]:
    lines = csv_lines(text, file)
    first, header = next(lines, (1, []))
    header = [name.strip() for name in header]
    check_separator(header, f"{file}, line {first}")
    for name in header:
        if name and header.count(name) > 1:
            raise InputError(f"{file}, line {first}: two columns are called {name}")
    for line, fields in lines:
        if any(field.strip() for field in fields[len(header) :]) or len(fields) < len(header):
            count = f"{len(fields)} field{'s' * (len(fields) != 1)}"
            raise InputError(
                f"{file}, line {line}: {count} where the header has {len(header)}; a field with a comma needs quotes"
            )
        yield Row(line, dict(zip(header, fields, strict=False)))


def csv_lines(text: str, file: Path) -> Iterator[tuple[int, Sequence[str]]]:
    """The fields of each row of a CSV file's text that is not blank, with the line that it begins in: a field in quotes
    may have many.

    Raises:
        InputError: it is not CSV.
    """
    reader = csv.reader(io.StringIO(text, newline="\n"), skipinitialspace=True, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise InputError(f"{file}, line {line}: not CSV ({_csv_fault(str(error))})") from error
        if fields is None:
            return
        if any(field.strip() for field in fields):
            yield line, fields


def check_separator(fields: Sequence[str], where: str) -> None:
    """Refuses a row of a CSV file whose columns are separated by another sign than the comma.

    Raises:
        InputError: they are; the message begins with `where`.
    """
    separator = next((mark for mark in OTHER_SEPARATORS if mark in "".join(fields)), None)
    if len(fields) == 1 and separator:
        raise InputError(f"{where}: its columns are separated by {separator!r}; separate them by commas")


def _csv_fault(message: str) -> str:
    if message.startswith("new-line"):
        return "a carriage return without a line feed; save it with Unix or Windows line ends"
    if message.startswith(("unexpected end", "field larger")):
        return "a quote that is never closed, or a field without end"
    return f"{message}; a quote inside quotes is written twice"


def _json_rows(text: str, file: Path) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip(" \t\r"):
            yield Row(number, _json_object(line, f"{file}, line {number}"))


def _json_object(line: str, where: str) -> dict[str, object]:
    try:
        row = json.loads(line, strict=False, object_pairs_hook=_object)  # control characters are left to captions
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON ({error.msg}, column {error.colno})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON as it should be ({error})") from error
    if not isinstance(row, dict):
        raise InputError(f'{where}: not an object {{"file_name": ..., "caption": ...}}')
    return row


def _object(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found
