"""What a pack holds, told in its `manifest.json`: every set, and the hash of every file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vgen.checks import show
from vgen.data.lerobot.meta import inside
from vgen.errors import InputError
from vgen.files import file_sha256, write_whole
from vgen.results import Kind

MANIFEST, SETS = "manifest.json", "sets"
PACK = Kind("a pack", MANIFEST, frozenset({MANIFEST, SETS}))
VERSION = 1
ABOUT = "about.json"  # of a set: what its meta/info.json and meta/stats.json say
ANEW = "copy the pack again, or make it again with vgen data pack"


@dataclass(frozen=True)
class Loss:
    """What packing lost, in sampled frames: PSNR in dB of all, of the worst frame and of pixels that move, and SSIM.
    The PSNR of moving pixels is None where none moves, and SSIM is None of frames below 11 pixels."""

    psnr: float
    worst: float
    moving: float | None
    ssim: float | None


@dataclass(frozen=True)
class Part:
    """Some episodes of a set, one after the other: names of their two files in the set's folder, and how much they
    hold."""

    video: str
    rows: str
    episodes: int
    frames: int


@dataclass(frozen=True)
class PackedSet:
    """One data set of a pack.

    Attributes:
        name: of its folder.
        camera: the feature key of its videos.
        fps, recorded_fps: frames per second, here and as they were recorded.
        size: (H, W) of a frame.
        codec: of the videos, with its quality.
        splits: which episodes are whose: FIRST:STOP, or a list.
        left_out: how many episodes of each split are not here.
    """

    name: str
    camera: str
    fps: float
    recorded_fps: float
    size: tuple[int, int]
    codec: str
    splits: dict[str, str | list[int]]
    left_out: dict[str, int]
    parts: list[Part]
    loss: Loss

    @property
    def episodes(self) -> int:
        """How many there are."""
        return sum(part.episodes for part in self.parts)

    @property
    def frames(self) -> int:
        """How many there are, of all episodes."""
        return sum(part.frames for part in self.parts)

    @property
    def decoded_bytes(self) -> int:
        """Of all frames, as they are trained on."""
        return 3 * self.size[0] * self.size[1] * self.frames


@dataclass(frozen=True)
class Manifest:
    """All of a pack.

    Attributes:
        sets: in their order.
        files: by name in the pack, each with its size and its SHA-256.
    """

    sets: list[PackedSet]
    files: dict[str, tuple[int, str]]

    @property
    def bytes(self) -> int:
        """Of all files but the manifest."""
        return sum(size for size, _ in self.files.values())

    def identity(self, one: PackedSet) -> str:
        """Tells a set from any other by its content."""
        files = {name: about for name, about in self.files.items() if name.startswith(f"{SETS}/{one.name}/")}
        return _sum([asdict(one), files])


def write_manifest(folder: Path, sets: list[PackedSet]) -> Manifest:
    """Hashes the files of a pack and writes what it holds.

    Raises:
        OSError, InputError: a file cannot be written or read.
    """
    paths = sorted(path for path in (folder / SETS).rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): (path.stat().st_size, file_sha256(path)) for path in paths}
    body = {"format": "vgen pack", "version": VERSION, "sets": [asdict(one) for one in sets], "files": files}
    write_whole(folder / MANIFEST, json.dumps(body | {"sha256": _sum(body)}, indent=1))
    return Manifest(sets, files)


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of a pack whose files are all what was written.

    Raises:
        InputError: it is no pack, of another version, or a file of it is not what was written.
    """
    folder = Path(folder)
    told = _told(folder)
    try:
        sets = [_set(one) for one in told["sets"]]
        files = {str(name): (int(size), str(content)) for name, (size, content) in told["files"].items()}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / MANIFEST} is damaged ({show(error)}); {ANEW}") from error
    for name, (size, content) in files.items():
        path = inside(folder, name, f"{folder / MANIFEST}: a file")
        if not path.is_file():
            raise InputError(f"{path} is missing; {ANEW}")
        if path.stat().st_size != size:
            raise InputError(f"{path} has {path.stat().st_size} bytes and had {size}; {ANEW}")
        if file_sha256(path) != content:
            raise InputError(f"{path} is not what was written, as its sha256 differs; {ANEW}")
    return Manifest(sets, files)


def _told(folder: Path) -> dict[str, Any]:
    file = folder / MANIFEST
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        assert isinstance(told, dict)
    except FileNotFoundError as error:
        raise InputError(
            f"{folder} is no pack: it has no {MANIFEST}; name a folder that vgen data pack made"
        ) from error
    except (OSError, ValueError, RecursionError, AssertionError) as error:
        raise InputError(f"{file} cannot be read as JSON; {ANEW}") from error
    if told.get("format") != "vgen pack":
        raise InputError(f"{folder} is no pack: its {MANIFEST} is of something else; name a folder of vgen data pack")
    if told.get("version") != VERSION:
        raise InputError(
            f"{folder} is a pack of version {show(told.get('version'))}; this vgen reads version {VERSION}"
        )
    seal = told.pop("sha256", None)
    if seal != _sum(told):
        raise InputError(f"{file} is not what was written, as its sha256 differs; {ANEW}")
    return told


def _set(told: Mapping[str, Any]) -> PackedSet:
    parts, (height, width) = [Part(**part) for part in told["parts"]], told["size"]
    for name in (told["name"], told["camera"], *(file for part in parts for file in (part.video, part.rows))):
        if name != Path(name).name or name in ("", "..") or "\0" in name:  # it becomes a path below the user's folder
            raise ValueError(f"{show(name)} is not a plain name")
    return PackedSet(**{**told, "parts": parts, "size": (height, width), "loss": Loss(**told["loss"])})


def _sum(body: object) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
