"""Results that are whole or not there: a folder written aside, and a video written as its frames come."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from vgen.checks import show
from vgen.errors import InputError, ended_in_order
from vgen.files import FULL, aside, refusal, writing
from vgen.media.writing import join_videos, write_video


@contextmanager
def whole_folder(folder: str | PathLike) -> Iterator[Path]:
    """A folder to write in, whose files move to `folder` when all went well; otherwise nothing is left behind. It lies
    in `folder` where that is there already, which may be another disk's, and beside it otherwise.

    Raises:
        InputError: the folder cannot be made, or must not be written to, or the files cannot be moved.
        TryAgain: the disk is full.
    """
    if not str(folder):
        raise InputError("out is empty; name a folder")
    folder = Path(folder)
    what = f"out={show(folder)}"
    with writing(what, kept=""):
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        part = aside(folder / folder.name if folder.is_dir() else folder)
        part.mkdir()
    try:
        with ended_in_order():
            with _written_below(part, what):
                yield part
            with writing(what, kept=""):
                folder.mkdir(exist_ok=True)
                _move_all(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _written_below(part: Path, what: str) -> Iterator[None]:
    """A block that does more than to write: an error is the disk's where it names a file there, or the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL or str(error.filename).startswith(str(part)):
            raise refusal(what, error, kept="") from error
        raise


def _move_all(source: Path, folder: Path) -> None:
    files = sorted(source.iterdir())
    for file in files:
        if (folder / file.name).is_dir() and not file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(folder / file.name))
    for file in files:
        os.replace(file, folder / file.name)


def write_frames(
    chunks: Iterable[np.ndarray], file: Path, fps: float, keep: Set[int], total: int
) -> tuple[dict[int, np.ndarray], str]:
    """Writes a video while it is made, in constant memory.

    Args:
        chunks: uint8 `[t, H, W, 3]`, one after the other.
        file: Where to write; parts of the video lie beside it meanwhile.
        fps: Frames per second.
        keep: Indices of frames to hand back.
        total: Number of frames of all chunks together, for the progress bar.

    Returns:
        The frames to keep by index, uint8 `[H, W, 3]`, and the SHA-256 of the bytes of all frames.

    Raises:
        InputError, TryAgain: see `write_video`.
    """
    kept, digest, parts, made = {}, hashlib.sha256(), [], 0
    with logging_redirect_tqdm(), tqdm(total=total, unit="frame", desc="video") as bar:
        for chunk in chunks:
            parts.append(file.with_name(f"{file.stem}.part{len(parts):05}{file.suffix}"))
            write_video(parts[-1], chunk, fps)
            digest.update(chunk.tobytes())
            kept |= {index: chunk[index - made].copy() for index in keep if made <= index < made + len(chunk)}
            made += len(chunk)
            bar.update(len(chunk))
    join_videos(parts, file)
    for part in parts:
        part.unlink()
    return kept, digest.hexdigest()
