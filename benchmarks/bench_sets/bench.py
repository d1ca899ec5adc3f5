"""A bench as it lies in a folder: its cases, each a canvas to complete and, where there is one, its true video."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vgen import checks
from vgen.canvas.spec import Canvas, parse_size
from vgen.errors import InputError
from vgen.files import file_sha256
from vgen.media.video import read_video

MANIFEST = "bench.json"
FORMAT = "vgen canvas bench"
VERSION = 1
GROUPS = ("AnyP2V", "AnyI2V", "AnyV2V")
"""Completion from patches, from whole images, and from clips."""
SHOWN = 12  # letters of a hash in a message


@dataclass(frozen=True)
class Case:
    """A canvas that is to be completed.

    Attributes:
        name: Of the case in its bench, a group and a number, as "anyi2v/0007-0-40".
        group: One of `GROUPS`.
        kind: What is given, as "first-last", "unrelated-first-last", "transition" or "inpainting".
        spec: The canvas, as `Canvas.from_dict` takes it; its paths start at `folder`.
        truth_file: The true video in `folder`, or None where scenes are joined that never met.
        folder: Of the bench.
    """

    name: str
    group: str
    kind: str
    spec: Mapping[str, Any]
    truth_file: str | None
    folder: Path

    def canvas(self) -> Canvas:
        """What `vgen infer` would take. Raises: InputError, as `Canvas.from_dict`."""
        return Canvas.from_dict(self.spec, base=self.folder)

    def truth(self) -> np.ndarray | None:
        """The true video, uint8 [T, H, W, 3]; None where there is none. Raises: InputError, as `read_video`."""
        return None if self.truth_file is None else read_video(self.folder / self.truth_file)


@dataclass(frozen=True)
class Bench:
    """A bench that was read.

    Attributes:
        folder: Where it lies.
        cases: In the order of the manifest, which is that of their groups.
        fps: Frames per second of all its videos.
        frames: Pixel frames of each, T.
        size: (H, W) in pixels.
        sha256: Of the manifest, which names the hash of every other file: two benches of the same are the same.
        manifest: All that `bench.json` says.
    """

    folder: Path
    cases: tuple[Case, ...]
    fps: float
    frames: int
    size: tuple[int, int]
    sha256: str
    manifest: Mapping[str, Any]

    @classmethod
    def read(cls, folder: str | Path, check_files: bool = True) -> Bench:
        """A bench from its folder.

        Args:
            folder: as `vgen bench build` writes it.
            check_files: whether every file is read once and compared with its hash.

        Raises:
            InputError: there is no bench, it is of another version, or a file is missing, changed or cannot be read.
        """
        folder = Path(folder)
        manifest = _read_manifest(folder)
        try:
            settings, files = manifest["settings"], dict(manifest["files"])
            frames, fps, size = int(settings["frames"]), float(settings["fps"]), parse_size(settings["size"])
            cases = tuple(
                Case(case["name"], case["group"], case["kind"], case["canvas"], case["truth"], folder)
                for case in manifest["cases"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{folder / MANIFEST} is not whole ({error}); build the bench anew") from error
        if check_files:
            _check_files(folder, files)
        return cls(folder, cases, fps, frames, size, file_sha256(folder / MANIFEST), manifest)


def _read_manifest(folder: Path) -> dict[str, Any]:
    file = folder / MANIFEST
    if not file.is_file():
        make = f"vgen bench build --videos FOLDER --out {checks.show(folder)}"
        raise InputError(f"{checks.show(folder)} is no bench, as it holds no {MANIFEST}; build one with: {make}")
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read ({error}); build the bench anew") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{file} is not the manifest of a bench, whose format is {FORMAT!r}")
    if manifest.get("version") != VERSION:
        found = checks.show(manifest.get("version"))
        raise InputError(f"{file} is of version {found} and this vgen reads {VERSION}; build the bench anew")
    return manifest


def _check_files(folder: Path, files: Mapping[str, str]) -> None:
    """Refuses a bench whose files are not those that its manifest names."""
    for name, expected in files.items():
        if not (folder / name).is_file():
            raise InputError(f"{folder / name} is missing, which {MANIFEST} names; build the bench anew")
        found = file_sha256(folder / name)
        if found != expected:
            hashes = f"its SHA-256 is {found[:SHOWN]}... and not {str(expected)[:SHOWN]}..."
            raise InputError(f"{folder / name} has changed since the bench was built, {hashes}; build the bench anew")
