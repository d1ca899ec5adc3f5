"""What to record of pictures in motion."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vgen.checks import whole
from vgen.data.buckets import parse_sizes
from vgen.errors import InputError, unknown_key
from vgen.simulators.settings import HELD_OUT_SEED

SPLITS = ("train", "test")
LEAST_SIDE = 16
LONGEST = 10_000  # frames


@dataclass(frozen=True)
class PicturesRecording:
    """What to record.

    out: the data set's folder to make.
    photos: a folder with photographs and pictures of objects, in subfolders too; without one, all is drawn.
    clips: how many, in the split `split`.
    test_clips: so many of the split `test` beside those of `train`.
    size: of the frames, HEIGHTxWIDTH in even pixels, 16 or more.
    frames: of a clip, 2 or more.
    fps: frames a second.
    seed: with a clip's number, it decides all of the clip.
    split: `train`, or `test`: of pictures that are kept for testing alone, and of numbers that training has not.
    workers: processes that record; the data set does not depend on their number.
    cache: a folder for the photographs, scaled down; see docs/caches.md.
    overwrite: a data set that lies at `out` is replaced when the new one is complete.
    """

    out: Path
    photos: Path | None = None
    clips: int = 1500
    test_clips: int = 0
    size: str = "128x128"
    frames: int = 33
    fps: int = 16
    seed: int = 0
    split: str = "train"
    workers: int = 1
    cache: Path = Path("data/cache")
    overwrite: bool = False

    @property
    def height_width(self) -> tuple[int, int]:
        """(H, W) of the frames."""
        return parse_sizes([self.size], 2)[0]

    def numbers(self) -> Iterator[tuple[str, int]]:
        """The split and the number of each clip, in the order of the data set."""
        counts = {self.split: self.clips}
        counts["test"] = counts.get("test", 0) + self.test_clips
        for split in SPLITS:
            first = HELD_OUT_SEED if split == "test" else 0
            for number in range(counts.get(split, 0)):
                yield split, first + number


def check(recording: PicturesRecording) -> None:
    """Refuse settings that cannot be recorded.

    Raises:
        InputError: a number out of range, an unknown split, or nothing to record.
    """
    if recording.split not in SPLITS:
        raise unknown_key(recording.split, SPLITS, "the splits")
    for side in recording.height_width:
        whole("size", side, LEAST_SIDE, 4096)
    whole("clips", recording.clips, 0, HELD_OUT_SEED if recording.split == "train" else 10**6)
    whole("test_clips", recording.test_clips, 0, 10**6)
    whole("frames", recording.frames, 2, LONGEST)
    whole("seed", recording.seed, 0, 2**31 - 1)
    whole("workers", recording.workers, 1, 1024)
    whole("fps", recording.fps, 1, 240)
    if not list(recording.numbers()):
        raise InputError("no clip to record: clips=0 and test_clips=0; nearest: clips=1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a command the arguments that make a recording: one option per field."""
    kind = PicturesRecording
    count: dict[str, Any] = {"type": int, "metavar": "N"}
    parser.add_argument("--out", type=Path, required=True, help="dataset folder to make")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a data set at --out, whole, once the new one is complete"
    )
    about = (
        "folder of photographs and cut-out objects (launch/get_photographs.sh makes one); default: none, all is drawn"
    )
    parser.add_argument("--photos", type=Path, metavar="DIR", help=about)
    parser.add_argument("--clips", **count, default=kind.clips, help=f"default: {kind.clips}")
    about = "clips of the split test beside those of train; default: 0"
    parser.add_argument("--test-clips", **count, default=kind.test_clips, help=about)
    parser.add_argument("--size", default=kind.size, metavar="HxW", help=f"of the frames; default: {kind.size}")
    parser.add_argument("--frames", **count, default=kind.frames, help=f"of a clip; default: {kind.frames}")
    parser.add_argument("--fps", **count, default=kind.fps, help=f"frames a second; default: {kind.fps}")
    parser.add_argument("--seed", type=int, default=kind.seed, help="default: 0")
    about = "train (default), or test: pictures kept for testing alone"
    parser.add_argument("--split", choices=SPLITS, default=kind.split, help=about)
    parser.add_argument("--workers", **count, default=kind.workers, help="recording processes: one per core")
    parser.add_argument("--cache", type=Path, default=kind.cache, metavar="DIR", help=f"default: {kind.cache}")
