"""A plain folder of videos and their captions: `.txt` beside each, or one CSV or JSONL file for all."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vgen.errors import InputError

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})
METADATA = ("metadata.csv", "metadata.jsonl")  # what Hugging Face's folder data sets are described by
FILE_COLUMNS = ("file_name", "path", "video")
CAPTION_COLUMNS = ("caption", "text", "prompt")


@dataclass(frozen=True)
class Captioned:
    """A video file that is to be trained on: its place, its name in the folder, and its caption ("" for none)."""

    path: Path
    name: str
    caption: str


def list_videos(folder: str | Path, captions: str | Path | None = None) -> list[Captioned]:
    """The videos of a folder, sorted by name.

    With a captions file, exactly the videos that it lists (others are counted in a warning); without, all videos below
    the folder.

    Args:
        folder: it is searched with its subfolders.
        captions: a CSV or JSONL file with a column `file_name`, `path` or `video` (relative to the folder) and a column
            `caption`, `text` or `prompt`; None: the folder's metadata.csv or metadata.jsonl, else a `.txt` beside each
            video.

    Raises:
        InputError: no such folder or no video in it, or a captions file that cannot be read or lacks a column.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"data.videos={folder} is no folder")
    file = Path(captions) if captions else next((folder / n for n in METADATA if (folder / n).is_file()), None)
    found = _listed(folder, file) if file else _with_text_files(folder)
    if not found:
        where = f"{file} lists no video" if file else f"{folder} holds none of {' '.join(sorted(VIDEO_SUFFIXES))}"
        raise InputError(f"there is no video to train on: {where}")
    return sorted(found, key=lambda video: video.name)


def _with_text_files(folder: Path) -> list[Captioned]:
    return [Captioned(path, name, _text_beside(path)) for name, path in _video_files(folder).items()]


def _video_files(folder: Path) -> dict[str, Path]:
    files = (path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in files}


def _text_beside(video: Path) -> str:
    try:
        return " ".join(video.with_suffix(".txt").read_text(encoding="utf-8-sig").split())
    except (OSError, UnicodeDecodeError):
        return ""


def _listed(folder: Path, file: Path) -> list[Captioned]:
    videos: dict[str, Captioned] = {}
    for number, row in _rows(file):
        name, caption = (_column(row, names, file, number) for names in (FILE_COLUMNS, CAPTION_COLUMNS))
        videos[name] = Captioned(folder / name, name, " ".join(caption.split()))
    left = _video_files(folder).keys() - {Path(name).as_posix() for name in videos}
    if left:
        logger.warning("%d videos below %s are left out, as %s does not list them", len(left), folder, file)
    return list(videos.values())


def _rows(file: Path) -> Iterable[tuple[int, dict[str, object]]]:
    """Each row with the number of its line."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"data.captions={file} cannot be read: {' '.join(str(error).split())}") from error
    if file.suffix.lower() == ".csv":
        reader = csv.DictReader(text.splitlines(keepends=True))
        yield from ((reader.line_num, row) for row in reader)
    elif file.suffix.lower() == ".jsonl":
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield number, _parsed(line, file, number)
    else:
        raise InputError(f"data.captions={file} is neither .csv nor .jsonl")


def _parsed(line: str, file: Path, number: int) -> dict[str, object]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InputError(f"{file}, line {number}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise InputError(f'{file}, line {number}: not an object {{"file_name": ..., "caption": ...}}')
    return row


def _column(row: dict[str, object], names: tuple[str, ...], file: Path, number: int) -> str:
    for name in names:
        if name in row:
            value = row[name]
            return "" if value is None else str(value)
    known = ", ".join(str(key) for key in row if key)
    raise InputError(f"{file}, line {number}: has none of the columns {', '.join(names)}; it has: {known}")
