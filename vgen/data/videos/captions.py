"""A plain folder of videos and their captions: `.txt` beside each, or one CSV or JSONL file for all."""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vgen import checks
from vgen.data.videos.folders import find_files, is_mac_copy
from vgen.data.videos.tables import Row, read_rows, read_text
from vgen.errors import InputError
from vgen.media.video import VIDEO_SUFFIXES

logger = logging.getLogger(__name__)

METADATA = ("metadata.csv", "metadata.jsonl")  # what Hugging Face's folder data sets are described by
FILE_COLUMNS = ("file_name", "path", "video")
CAPTION_COLUMNS = ("caption", "text", "prompt")
BLANKS = re.compile(r"(?:[ \t]|\r?\n)+")  # str.split would take U+2028 and others for blanks, which are kept


@dataclass(frozen=True)
class Captioned:
    """A video file that is to be trained on.

    Attributes:
        path: its place.
        name: in the folder.
        caption: "" for none.
        fault: why there is a caption that cannot be read; else "".
        row: all that a captions file says of it, by column.
    """

    path: Path
    name: str
    caption: str
    fault: str = ""
    row: Mapping[str, object] = field(default_factory=dict, compare=False, repr=False)


def list_videos(folder: str | Path, captions: str | Path | None = None, tell_tables: bool = True) -> list[Captioned]:
    """The videos of a folder, sorted by name.

    With a captions file, exactly the videos that it lists (others are counted in a warning; one that is not there stays
    listed); without, all videos below the folder, see `find_files`.

    Args:
        folder: it is searched with its subfolders.
        captions: a CSV or JSONL file in UTF-8 with a column `file_name`, `path` or `video` (in the folder) and a column
            `caption`, `text` or `prompt`; None: the folder's metadata.csv or metadata.jsonl, else a `.txt` beside each
            video. Blanks, tabs and line ends in a caption become one blank; all other characters are kept.
        tell_tables: whether other CSV and JSONL files in the folder, which may have been meant as captions, are told.

    Raises:
        InputError: no such folder or no video in it; a captions file that cannot be read, lacks a column, or has a
            wrong line, such as one that names a video a second time or outside the folder.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        raise InputError(f"data.videos={checks.show(folder)} is no folder")
    file = Path(captions) if captions else _metadata(folder)
    found = _Listing(folder, file).videos() if file else _with_text_files(folder, tell_tables)
    if not found:
        where = f"{file} lists no video" if file else f"{folder} holds none of {' '.join(sorted(VIDEO_SUFFIXES))}"
        raise InputError(f"there is no video to train on: {where}")
    return sorted(found, key=lambda video: video.name)


def _metadata(folder: Path) -> Path | None:
    files = [folder / name for name in METADATA if os.path.isfile(folder / name)]
    if len(files) > 1:
        logger.warning("%s is read, %s is not; data.captions can name the other", files[0], files[1].name)
    return files[0] if files else None


def _with_text_files(folder: Path, tell_tables: bool) -> list[Captioned]:
    files = find_files(folder, VIDEO_SUFFIXES | {".txt"})
    texts = {beside(name): path for name, path in files.items() if path.suffix.lower() == ".txt"}
    videos = {name: path for name, path in files.items() if path.suffix.lower() != ".txt"}
    tables = [path.name for path in sorted(folder.glob("*")) if path.suffix.lower() in (".csv", ".jsonl")]
    others = [name for name in tables if beside(name) not in set(map(beside, videos))]  # those are trajectories
    if others and tell_tables:
        logger.warning("%s is not read for captions; name it with data.captions", ", ".join(map(checks.show, others)))
    return [Captioned(path, name, *_read_caption(texts.get(beside(name)))) for name, path in videos.items()]


def with_text_file(path: Path, name: str) -> Captioned:
    """A single video, with the caption in the `.txt` beside it, if there is one."""
    text = path.with_suffix(".txt")
    return Captioned(path, name, *_read_caption(text if text.is_file() else None))


def beside(name: str) -> str:
    """What the names of a video and of the files beside it that belong to it have in common."""
    return _normal(name.rpartition(".")[0])


def _normal(name: str) -> str:
    """A name in one of the forms that é has: a Mac writes it in another than most lists do."""
    return unicodedata.normalize("NFC", name)


def _read_caption(file: Path | None) -> tuple[str, str]:
    """The caption in a text file, and why it cannot be read."""
    try:
        return ("" if file is None else _tidy(read_text(file))), ""
    except InputError as error:
        return "", f"its .txt, {str(error).removeprefix(f'{file}, ')}"
    except OSError as error:
        return "", f"its .txt cannot be read: {error.strerror}"


def _tidy(caption: str) -> str:
    tidy = BLANKS.sub(" ", caption).strip(" ")
    return tidy if tidy.strip() else ""


class _Listing:
    """The videos that a captions file lists."""

    def __init__(self, folder: Path, file: Path) -> None:
        self.folder, self.file = folder, file
        self._roots = dict.fromkeys((os.path.abspath(folder), os.path.realpath(folder)))
        self._files = find_files(folder, VIDEO_SUFFIXES)
        self._spelled = {_normal(name): name for name in self._files}

    def videos(self) -> list[Captioned]:
        """All of them; what is odd and not wrong is told.

        Raises:
            InputError: see `list_videos`.
        """
        videos, copies = [], []
        lines: dict[str, int] = {}
        unused: dict[str, None] = {}
        for row in self._rows():
            name = self._name(row)
            if is_mac_copy(name):
                copies.append(name)
                continue
            place = self._place(name)
            if place in lines:
                raise self._wrong(row, f"names {checks.show(name)} again, as line {lines[place]} does; keep one")
            lines[place] = row.line
            videos.append(Captioned(self.folder / name, name, self._caption(row), row=row.values))
            unused |= {column: None for names in (FILE_COLUMNS, CAPTION_COLUMNS) for column in _present(row, names)[1:]}
        if copies:
            logger.warning("%s: %d files of a Mac, such as %s, are no videos", self.file, len(copies), copies[0])
        if unused:
            logger.warning("%s: %s is not read, as another column says the same", self.file, ", ".join(unused))
        if left := sum(self._place(name) not in lines for name in self._files):
            line = "%d videos below %s are left out, as %s does not list them"
            logger.warning(line, left, self.folder, self.file)
        return videos

    def _rows(self) -> list[Row]:
        try:
            return list(read_rows(self.file))
        except OSError as error:
            raise InputError(f"data.captions={checks.show(self.file)} cannot be read: {error.strerror}") from error

    def _name(self, row: Row) -> str:
        """The name in the folder that a row gives."""
        given = self._text(row, FILE_COLUMNS, utf8=False)
        if not given.strip():
            raise self._wrong(row, "names no video")
        if not os.path.exists(self.folder / given):
            given = given.strip().replace("\\", "/")  # of columns that were lined up by hand; of a list made on Windows
        for root in self._roots:
            path = Path(os.path.normpath(os.path.join(root, given)))
            if path.is_relative_to(root):
                name = path.relative_to(root).as_posix()
                break
        else:
            raise self._wrong(row, f"{checks.show(given)} is not in {self.folder}; names are relative to that folder")
        if os.path.isdir(path):
            raise self._wrong(row, f"{checks.show(given)} is a folder")
        return name if os.path.exists(path) else self._spelled.get(_normal(name), name)

    def _place(self, name: str) -> str:
        """One for each file, however links lead to its folder."""
        folder, _, last = name.rpartition("/")
        return os.path.join(os.path.realpath(self.folder / folder), last)

    def _caption(self, row: Row) -> str:
        return _tidy(self._text(row, CAPTION_COLUMNS))

    def _text(self, row: Row, columns: tuple[str, ...], utf8: bool = True) -> str:
        present = _present(row, columns)
        if not present:
            known = ", ".join(checks.show(key) for key in row.values if key)
            raise self._wrong(row, f"has none of the columns {', '.join(columns)}; it has: {known}")
        value = row.values[present[0]]
        try:
            text = "" if value is None else checks.text(present[0], value, utf8)
        except InputError as error:
            raise self._wrong(row, str(error)) from error
        if "\0" in text:
            raise self._wrong(row, f"{present[0]}={checks.show(text)} holds a zero byte, which no text has")
        return text

    def _wrong(self, row: Row, message: str) -> InputError:
        return InputError(f"{self.file}, line {row.line}: {message}")


def _present(row: Row, columns: tuple[str, ...]) -> list[str]:
    """The keys of a row that are some columns, in whatever case they are written."""
    return [key for name in columns for key in row.values if str(key).strip().lower() == name]
