"""Video files that stay open from one read to the next."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path

from vgen.media.video import VideoFile

OPEN_FILES = 8  # per thread


class _OpenFiles(threading.local):
    """The files that a thread holds open: a reader has one position, so threads cannot share it."""

    def __init__(self) -> None:
        self.files: OrderedDict[tuple[Path, int], VideoFile] = OrderedDict()


_held = _OpenFiles()


def open_video(path: Path) -> VideoFile:
    """An open file, of this thread and this process: a forked one would share its parent's position.

    Raises:
        InputError: as `VideoFile`.
    """
    key = path, os.getpid()
    if key not in _held.files:
        _held.files[key] = VideoFile(path)
        while len(_held.files) > OPEN_FILES:
            _held.files.popitem(last=False)
    _held.files.move_to_end(key)
    return _held.files[key]


def close_videos() -> None:
    """Closes what this thread holds open."""
    _held.files.clear()
