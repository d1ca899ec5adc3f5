"""A video that is written as its frames come."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Set
from pathlib import Path

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from vgen.media.writing import join_videos, write_video


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
