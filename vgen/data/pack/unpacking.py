"""A pack, made into data sets that are trained on without PyAV, decord and simulators."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vgen.checks import show
from vgen.data.cache.frames import EpisodeFrames, FrameCache
from vgen.data.cache.shares import run_shares
from vgen.data.lerobot.dataset import DECODED
from vgen.data.lerobot.meta import CAMERA_PREFIX, VIDEO_PATH
from vgen.data.pack.coding import FrameStream
from vgen.data.pack.folder import EpisodeRecord, write_folder
from vgen.data.pack.manifest import ABOUT, SETS, Manifest, PackedSet, read_manifest
from vgen.data.pack.rows import expand
from vgen.errors import InputError, TryAgain
from vgen.files import sync_all, write_whole, writing

logger = logging.getLogger(__name__)

MARK = "unpacked.json"  # in a data set's folder: which set of which pack it is
WORK = ".unpacking"  # behind the name of a folder that is not whole yet
PROCESS_BYTES = 2 << 30  # of decoded frames that are worth the start of other processes
SPARE = 1.05  # of the room for decoded frames: for videos, rows and checksums


def unpack(pack: str | Path, out: str | Path) -> list[Path]:
    """Makes the data sets of a pack: LeRobot v3 folders by their names, whose frames lie beside, decoded.

    A broken unpacking goes on where it stopped; a set that is there already stays as it is. A folder gets its name when
    all of it is there.

    Args:
        pack: the folder that `vgen.data.pack.packing.pack` made. All its files are checked first.
        out: the folder of the data sets.

    Returns:
        The folder of each data set, in the order of the pack.

    Raises:
        InputError: it is no pack, a file of it is not what was written, or something else has the name of a set.
        TryAgain: the disk has no room.
    """
    pack, out = Path(pack), Path(out)
    manifest = read_manifest(pack)
    missing = [one for one in manifest.sets if not _is_there(manifest, one, out)]
    _check_room(missing, out)
    many = sum(one.decoded_bytes for one in missing) > PROCESS_BYTES
    workers = min(len(missing), os.cpu_count() or 1) if many else 1
    if missing:
        run_shares(_Unpacking(pack, manifest, missing, out), workers, len(missing), "unpacking data sets")
    return [out / one.name for one in manifest.sets]


@dataclass(frozen=True)
class _Unpacking:
    """Sets of a pack that processes share, see `vgen.data.cache.shares.Share`."""

    pack: Path
    manifest: Manifest
    sets: list[PackedSet]
    out: Path

    def __call__(self, worker: int, workers: int, device: torch.device, progress: Callable[[int], object]) -> None:
        for one in sorted(self.sets, key=lambda one: -one.frames)[worker::workers]:
            _unpack(self.pack / SETS / one.name, self.manifest, one, self.out)
            progress(1)


def _is_there(manifest: Manifest, one: PackedSet, out: Path) -> bool:
    """Whether a set is unpacked already."""
    target = out / one.name
    if not target.exists():
        return False
    if _mark(target) != manifest.identity(one):
        raise InputError(f"{target} is there and is not the {show(one.name)} of this pack; name another folder")
    return True


def _mark(folder: Path) -> str | None:
    try:
        told = json.loads((folder / MARK).read_text(encoding="utf-8"))
        return str(told["set"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _check_room(sets: Sequence[PackedSet], out: Path) -> None:
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(out).free
        done = [path.stat() for one in sets for path in (out / f"{one.name}{WORK}").rglob("*") if path.is_file()]
    needed = sum(one.decoded_bytes for one in sets) * SPARE - sum(512 * about.st_blocks for about in done)
    if free < needed:
        raise TryAgain(
            f"{out} needs {needed / 1e9:.1f} GB for {', '.join(one.name for one in sets)} and its disk has "
            f"{free / 1e9:.1f} GB left; make room, or name another folder, then start the same command again"
        )


def _unpack(files: Path, manifest: Manifest, one: PackedSet, out: Path) -> None:
    work, camera = out / f"{one.name}{WORK}", one.camera.removeprefix(CAMERA_PREFIX)
    with writing(work):
        if _mark(work) != manifest.identity(one):  # of another pack
            shutil.rmtree(work, ignore_errors=True)
        work.mkdir(exist_ok=True)
        write_whole(work / MARK, json.dumps({"set": manifest.identity(one)}))
        episodes = _write_rows(files, one, work)
        for number, part in enumerate(one.parts):
            video = work / VIDEO_PATH.format(video_key=one.camera, chunk_index=0, file_index=number)
            video.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(files / part.video, video)
    _decode(files, one, episodes, work / DECODED / camera)
    with writing(out):
        sync_all(work)
        work.rename(out / one.name)


def _write_rows(files: Path, one: PackedSet, work: Path) -> list[EpisodeRecord]:
    """Writes all but the frames, and tells of the episodes."""
    about = json.loads((files / ABOUT).read_text(encoding="utf-8"))
    columns, episodes = [], []
    for number, part in enumerate(one.parts):
        values, told = expand((files / part.rows).read_bytes())
        columns.append(values)
        episodes += [EpisodeRecord(length, task, extra, number) for length, task, extra in told]
    write_folder(work, one, about, columns, episodes)
    return episodes


def _decode(files: Path, one: PackedSet, episodes: Sequence[EpisodeRecord], folder: Path) -> None:
    stream = FrameStream([(files / part.video, part.frames) for part in one.parts])
    lengths = [episode.length for episode in episodes]
    firsts = np.concatenate([[0], np.cumsum(lengths)]).tolist()

    def read(number: int) -> EpisodeFrames:
        return EpisodeFrames(stream.read(firsts[number], lengths[number]), episodes[number].task)

    cache = FrameCache.write(folder, range(len(episodes)), lengths, read, one.size, one.fps)
    stream.close()
    if cache.bad:
        raise InputError(f"{files}: {cache.bad[0][0]} cannot be decoded: {cache.bad[0][1]}")
