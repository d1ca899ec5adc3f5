"""A video that is written as its frames come."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence, Set
from itertools import chain, count
from os import PathLike
from pathlib import Path

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from vgen.errors import InputError, RunStopped
from vgen.files import named
from vgen.media.writing import join_videos, write_video

logger = logging.getLogger(__name__)


def write_frames(
    chunks: Iterable[np.ndarray],
    file: Path,
    fps: float,
    keep: Set[int],
    total: int,
    stopped: str | PathLike[str] | None = None,
) -> tuple[dict[int, np.ndarray], str]:
    """Writes a video while it is made, in constant memory.

    Args:
        chunks: uint8 `[t, H, W, 3]`, one after the other.
        file: Where to write; parts of the video lie beside it meanwhile.
        fps: Frames per second.
        keep: Indices of frames to hand back.
        total: Number of frames of all chunks together, for the progress bar.
        stopped: A name beside which the chunks so far are kept as a video, such as `NAME.first-28-of-200.mp4`, where
            the making is broken off (Ctrl-C, SIGTERM, an error) after the first chunk. None: they are not kept.

    Returns:
        The frames to keep by index, uint8 `[H, W, 3]`, and the SHA-256 of the bytes of all frames.

    Raises:
        InputError, TryAgain: see `write_video`.
    """
    kept: dict[int, np.ndarray] = {}
    parts: list[Path] = []
    digest, made = hashlib.sha256(), 0
    try:
        with logging_redirect_tqdm(), tqdm(total=total, unit="frame", desc="video") as bar:
            for chunk in chunks:
                part = file.with_name(f"{file.stem}.part{len(parts):05}{file.suffix}")
                write_video(part, chunk, fps)
                parts.append(part)
                digest.update(chunk.tobytes())
                kept |= {index: chunk[index - made].copy() for index in keep if made <= index < made + len(chunk)}
                made += len(chunk)
                bar.update(len(chunk))
    except BaseException:
        if stopped is not None and parts:
            _keep_so_far(parts, named(stopped), made, total)
        raise
    join_videos(parts, file)
    for part in parts:
        part.unlink()
    return kept, digest.hexdigest()


def _keep_so_far(parts: Sequence[Path], out: Path, made: int, total: int) -> None:
    """Keeps parts of a video that was broken off, beside where its results were to lie, and tells where."""
    name = f"{out.name}.first-{made}-of-{total}"
    names = (f"{name}{again}.mp4" for again in chain([""], (f"-{number}" for number in count(2))))
    file = next(path for path in map(out.with_name, names) if not path.exists())
    try:
        join_videos(parts, file)
    except (InputError, RunStopped) as error:
        logger.warning("the first %d frames are lost: %s", made, error)
    else:
        logger.warning("broken off after %d of %d frames, which are kept in %s", made, total, file)
