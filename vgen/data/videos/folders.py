"""The files of a folder that a user means: not what a system hides in it, and nothing twice by way of links."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from pathlib import Path

logger = logging.getLogger(__name__)

MAC_COPIES = "__MACOSX"  # a folder that a Mac puts into archives, of a file for each file


def find_files(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    """The files below a folder with one of some suffixes, by their names in it (with "/"), sorted.

    Hidden files and folders, and `__MACOSX`, are left out. Links to folders are followed, but no real folder is
    searched twice; where it has a name without a link, it goes by that. A link that leads nowhere counts as a file. A
    folder that cannot be read is told.

    Args:
        suffixes: in lower case, with the dot.
    """
    found: dict[str, Path] = {}
    folders, searched = [folder], set()
    links: list[Path] = []
    while folders or links:
        place = folders.pop() if folders else links.pop(0)
        if (real := os.path.realpath(place)) in searched:
            continue
        searched.add(real)
        for path in _shown(place):
            if os.path.isdir(path):
                (links if path.is_symlink() else folders).append(path)
            elif path.suffix.lower() in suffixes and (os.path.isfile(path) or not os.path.exists(path)):
                found[path.relative_to(folder).as_posix()] = path
    return dict(sorted(found.items()))


def is_mac_copy(name: str) -> bool:
    """Whether a file is what a Mac leaves beside a real one: below `__MACOSX`, or `._` and the real one's name."""
    parts = name.split("/")
    return MAC_COPIES in parts or parts[-1].startswith("._")


def _shown(folder: Path) -> list[Path]:
    """What lies in a folder and is not hidden, sorted."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        logger.warning("%s cannot be searched: %s", folder, error.strerror)
        return []
    return [folder / name for name in names if not name.startswith(".") and name != MAC_COPIES]
