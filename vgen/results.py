"""Where a command writes its results: nothing is written over unasked, and what is, is replaced whole.

A place that holds something is refused, before anything is loaded, unless `overwrite` is given. With it, what is there
must itself be results of the same kind, with nothing else beside them, and it stays as it was until the new results are
complete: an error, a full disk or Ctrl-C leaves the old ones.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from vgen.checks import show
from vgen.errors import InputError, RunStopped, ended_in_order
from vgen.files import FULL, PART, aside, disk_error, refusal, share, sync, sync_all, writing


@dataclass(frozen=True)
class Kind:
    """What tells a folder of results from a user's own folder.

    Attributes:
        name: as messages name such a folder.
        mark: the file that every one of them holds.
        parts: names of all that may lie in it.
    """

    name: str
    mark: str
    parts: frozenset[str]


VIDEO_RUN = Kind(
    "the results of a run",
    "run.json",
    frozenset(
        {"video.mp4", "preview.mp4", "video.gif", "video.webp", "contact_sheet.png", "run.json"}
        | {"trajectory.mp4", "trajectory.npz", "trajectory.json"},
    ),
)
MODEL = Kind(
    "a model",
    "model_index.json",
    frozenset({"model_index.json", "README.md", "LICENSE", "transformer", "transformer_2", "vae", "text_encoder"})
    | {"tokenizer", "scheduler", "image_encoder", "image_processor", "ego", "state"}
    | {"training_range.json", "pictures"},
)
DATASET = Kind("a data set", "meta/info.json", frozenset({"meta", "data", "videos", "README.md"}))


def check_folder(folder: str | PathLike[str], kind: Kind, overwrite: bool = False, name: str = "") -> None:
    """Refuses a folder for results that holds something already.

    Args:
        folder: where the results are to go; it may be there, and empty.
        kind: of the results.
        overwrite: older results of this kind may be there: they are replaced.
        name: what messages call the folder, `out=FOLDER` by default.

    Raises:
        InputError: something else than an empty folder is there and is not to be, or must not be, replaced.
    """
    if not str(folder):
        raise InputError("out is empty; name a folder")
    folder, name = Path(folder), name or f"out={show(folder)}"
    with writing(name, kept=""):
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{name} is a file; name a folder")
        held = [path.name for path in _held(folder)] if folder.is_dir() else []
    if not held:
        return
    strange = [each for each in held if each not in kind.parts]
    if strange or not (folder / kind.mark).is_file():
        shown = ", ".join(show(each) for each in (strange or held)[:3]) + (", ..." if len(strange or held) > 3 else "")
        raise InputError(f"{name} holds {shown}, which is no part of {kind.name}; name another folder")
    if not overwrite:
        raise InputError(f"{name} holds {kind.name} already; name another folder, or replace it with --overwrite")


def check_file(file: str | PathLike[str], overwrite: bool = False) -> None:
    """Refuses a file for results that is there already, unless it may be replaced.

    Raises:
        InputError: it is there and is not to be replaced, or is a folder.
    """
    file = Path(file)
    if file.is_dir():
        raise InputError(f"{show(file)} is a folder; name a file")
    if os.path.lexists(file) and not overwrite:
        raise InputError(f"{show(file)} exists; give another name, or replace it with --overwrite")


@contextmanager
def results_folder(folder: str | PathLike[str], kind: Kind, overwrite: bool = False) -> Iterator[Path]:
    """A folder to write results in, which move to `folder` when all went well; otherwise nothing is left behind, and
    what was at `folder` is as it was. It lies in `folder` where that is there already, which may be a mount or a link
    to another disk, and beside it otherwise.

    Args:
        folder, kind, overwrite: as of `check_folder`.

    Raises:
        InputError: as `check_folder`; or the folder cannot be made, or must not be written to.
        TryAgain: the disk is full.
    """
    check_folder(folder, kind, overwrite)
    folder = Path(folder)
    what = f"out={show(folder)}"
    with writing(what, kept=""):
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = aside(folder / "new" if folder.is_dir() else folder)
        part.mkdir()
    try:
        with ended_in_order():
            with _written_below(part, what):
                yield part
            with writing(what, kept=""):
                put_in_place(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def put_in_place(part: Path, folder: Path) -> None:
    """Moves what was written aside to its place, instead of what is there. Either all of it moves, or nothing.

    Raises:
        OSError: it cannot be moved.
    """
    share(part)
    sync_all(part)
    if not folder.is_dir():
        os.rename(part, folder)
        sync(folder.parent)
        return
    old = aside(folder / "old")
    old.mkdir()
    moves = [(path, old / path.name) for path in _held(folder)]
    moves += [(path, folder / path.name) for path in sorted(part.iterdir())]
    try:
        for source, goal in moves:
            os.rename(source, goal)
    except BaseException:
        for source, goal in reversed(moves):
            if os.path.lexists(goal) and not os.path.lexists(source):
                os.rename(goal, source)
        old.rmdir()
        raise
    sync(folder)
    shutil.rmtree(old, ignore_errors=True)


def _held(folder: Path) -> list[Path]:
    """What lies in a folder, without what is being written there, or was when its writer was killed."""
    return sorted(path for path in folder.iterdir() if not (path.name.startswith(".") and path.suffix == PART))


@contextmanager
def _written_below(part: Path, what: str) -> Iterator[None]:
    """A block that does more than to write: an error is the disk's where it names a file there, or the disk is full."""
    try:
        yield
    except (InputError, RunStopped):
        raise
    except Exception as error:
        found = error if isinstance(error, OSError) else disk_error(error, part)
        if found is not None and (found.errno in FULL or str(found.filename).startswith(str(part))):
            raise refusal(what, found, kept="") from error
        raise
