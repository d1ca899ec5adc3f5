"""What is written beside a video for the eye: preview.mp4, of one that is too small or too short to be watched, and an
animated picture where one is asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from vgen.files import whole_file
from vgen.media.sheet import spread
from vgen.media.video import VideoFile, VideoInfo
from vgen.media.writing import join_videos, write_video

Animation = Literal["gif", "webp"]

SMALL, ENLARGED = 256, 384  # shorter sides: of what is enlarged, and of what it is enlarged to
MOST = 4  # times, by which it is enlarged
SHORT, SLOWED, SLOWEST = 1.5, 2.0, 8.0  # seconds of what is slowed, seconds it then lasts, frames per second at least
PLAYED = 5.0  # seconds for which a preview plays, over and over
GIF_FASTEST = 50.0  # frames per second: viewers play what is faster at 10
PALETTE_FRAMES = 16  # from which a GIF's colours are chosen
AT_ONCE = 32  # frames in memory
WEBP_QUALITY = 85


@dataclass(frozen=True)
class Look:
    """How a video is shown so that it can be watched.

    Attributes:
        scale: By which it is enlarged, a whole number.
        fps: Frames per second.
        rounds: How often it is played.
    """

    scale: int
    fps: float
    rounds: int

    @classmethod
    def of(cls, info: VideoInfo) -> Look:
        """Of a video: larger if it is small, slower if it is short, and again until it has played for a while."""
        side, lasts = min(info.height, info.width), info.frames / info.fps
        scale = min(MOST, math.ceil(ENLARGED / side)) if side < SMALL else 1
        fps = min(info.fps, max(SLOWEST, info.frames / SLOWED)) if lasts < SHORT else info.fps
        return cls(scale, fps, math.ceil(PLAYED * fps / info.frames))


def write_previews(video: Path, animation: Animation | None = None) -> list[str]:
    """Writes what can be watched beside a video.

    Args:
        video: The file; what is written lies beside it.
        animation: Kind of an animated picture, which is written too.

    Returns:
        What was written, each as a name and how it shows the video, such as "preview.mp4 (384x384, 8.5 fps, 3 times)".

    Raises:
        InputError, TryAgain: a file cannot be written.
    """
    file = VideoFile(video)
    look = Look.of(file.info)
    size = f"{file.info.height * look.scale}x{file.info.width * look.scale}"
    told = f"{size}, {look.fps:.3g} fps"
    written = []
    if look.scale > 1 or look.fps < file.info.fps:
        _write_preview(file, look, video.with_name("preview.mp4"))
        written.append(f"preview.mp4 ({told}, {look.rounds} times)" if look.rounds > 1 else f"preview.mp4 ({told})")
    if animation is not None:
        fps = min(look.fps, GIF_FASTEST) if animation == "gif" else look.fps
        _write_animation(file, look.scale, fps, video.with_suffix(f".{animation}"))
        written.append(f"{video.stem}.{animation} ({size}, {fps:.3g} fps)")
    return written


def _write_preview(file: VideoFile, look: Look, preview: Path) -> None:
    parts: list[Path] = []
    for frames in _parts(file, look.scale):
        parts.append(preview.with_name(f"{preview.stem}.part{len(parts):05}{preview.suffix}"))
        write_video(parts[-1], frames, look.fps)
    join_videos(parts * look.rounds, preview)
    for part in parts:
        part.unlink()


def _write_animation(file: VideoFile, scale: int, fps: float, picture: Path) -> None:
    images = (Image.fromarray(frame) for frames in _parts(file, scale) for frame in frames)
    if picture.suffix == ".gif":
        palette = _palette(file)
        images = (image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for image in images)
    tick = 10 if picture.suffix == ".gif" else 1  # milliseconds, in which the format counts
    ends = [tick * round(1000 * frame / (fps * tick)) for frame in range(file.info.frames + 1)]
    lasts = [after - before for before, after in pairwise(ends)]
    form, others = picture.suffix.removeprefix("."), {"save_all": True, "duration": lasts, "loop": 0}
    with whole_file(picture) as aside:
        next(images).save(aside, form, append_images=images, quality=WEBP_QUALITY, **others)


def _palette(file: VideoFile) -> Image.Image:
    """256 colours for all frames, from some of them: with a palette for each, what stands still flickers."""
    count = min(PALETTE_FRAMES, file.info.frames)
    some = np.concatenate(file.read(spread(file.info.frames, count)))
    return Image.fromarray(some).quantize(256, Image.Quantize.FASTOCTREE)


def _parts(file: VideoFile, scale: int) -> Iterator[np.ndarray]:
    """The frames, enlarged, so many at once: uint8 `[t, H, W, 3]`."""
    size = file.info.width * scale, file.info.height * scale
    for first in range(0, file.info.frames, AT_ONCE):
        frames = file.read(range(first, min(first + AT_ONCE, file.info.frames)))
        yield np.stack([_enlarged(frame, size) for frame in frames]) if scale > 1 else frames


def _enlarged(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS))
