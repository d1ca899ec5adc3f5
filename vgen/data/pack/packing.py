"""All that a model trains on, packed into one small folder."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vgen.checks import show
from vgen.data.lerobot.meta import CAMERA_PREFIX
from vgen.data.pack import CRF, MAX_MB
from vgen.data.pack.choosing import LEAST_SHARE, LEFT_OUT_OF, kept_places, largest_share
from vgen.data.pack.coding import CodedEpisode, FrameStream, coded_episodes, copy_episodes, encode
from vgen.data.pack.loss import LossMeter, sampled
from vgen.data.pack.manifest import ABOUT, PACK, SETS, Manifest, PackedSet, Part, write_manifest
from vgen.data.pack.rows import squeeze
from vgen.data.pack.source import Source, SourceEpisode
from vgen.errors import InputError, unknown_key
from vgen.media import pyav
from vgen.results import results_folder

logger = logging.getLogger(__name__)

MB = 10**6
FILE_BYTES = 15 * 2**20  # of a file, at most
PART_BYTES = FILE_BYTES - 2**19  # that are planned: the tables of a file are estimated
TRIES = 8  # at meeting the size, as what rows take is known when they are written


@dataclass(frozen=True)
class _Coded:
    """A set that is encoded as a whole: its file, its episodes in that, its columns, sampled frames, and how many bytes
    its rows take for each frame."""

    source: Source
    file: Path
    episodes: list[CodedEpisode]
    columns: list[dict[str, np.ndarray]]
    samples: list[np.ndarray]
    row_bytes: float

    def size(self, share: float) -> float:
        """About how many bytes are kept where a share of the episodes of `train` is."""
        kept = [self.episodes[place] for place in kept_places(self.source.episodes, share)]
        return sum(each.size + each.frames * self.row_bytes for each in kept)


def pack(
    datasets: Sequence[str | Path],
    out: str | Path,
    max_mb: float = MAX_MB,
    camera: str | None = None,
    crf: int = CRF,
    fps: Mapping[str, float] | None = None,
    splits: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Manifest:
    """Packs LeRobot v3 folders into one small folder, whole or not at all.

    Frames are encoded anew, and columns rounded (see `vgen.data.pack.rows`); captions, splits and what else is said of
    each episode are kept. Where all is more than there is room for, episodes of `train` are left out, of all sets the
    same share, evenly, and groups of counterfactuals whole or not at all.

    Args:
        datasets: the folders; the last parts of their paths are what the sets are called.
        out: the folder to make.
        max_mb: megabytes (10^6 bytes) of all files, at most.
        camera: the one that is packed of each set that has several; None: none has.
        crf: x264's quality, 0 to 51; 6 more is about half the bytes.
        fps: frames per second that are taken of a set, by its name; others are taken whole.
        splits: which of them are packed, of each set those that it has; None: all.
        overwrite: a pack that lies at `out` is replaced when the new one is complete.

    Returns:
        What is in the pack, and what it lost.

    Raises:
        InputError: a folder is no data set, a value is out of range, or what must not be left out has no room.
        TryAgain: the disk is full.
    """
    _check(max_mb, crf)
    sources = _open(datasets, camera, fps or {}, splits)
    with results_folder(out, PACK, overwrite) as folder:
        work = folder / "work"
        work.mkdir()
        coded = [_encoded(source, work, crf) for source in sources]
        manifest = _fitted(coded, folder, max_mb, crf)
        shutil.rmtree(work)
    return manifest


def _check(max_mb: float, crf: int) -> None:
    pyav.need("packing videos")
    FrameStream([])  # which reads what is packed, to tell what it lost
    if not 0 <= crf <= 51:
        raise InputError(f"crf={show(crf)} is not in 0 to 51; nearest: {min(max(crf, 0), 51)}")
    if not (math.isfinite(max_mb) and max_mb > 0):
        raise InputError(f"max_mb={show(max_mb)} is no size; nearest: {MAX_MB:g}")


def _open(
    datasets: Sequence[str | Path], camera: str | None, fps: Mapping[str, float], splits: Sequence[str] | None
) -> list[Source]:
    names = [Path(each).resolve().name for each in datasets]
    if not names:
        raise InputError("no data set is named; name one or more LeRobot v3 folders")
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two data sets are called {show(name)}; a pack calls each by its folder: rename one")
    _check_known(fps, names, "the data sets")
    sources = [Source(path, camera, fps.get(name), splits) for path, name in zip(datasets, names, strict=True)]
    cameras = {name.removeprefix(CAMERA_PREFIX) for source in sources for name in source.cameras}
    _check_known([camera.removeprefix(CAMERA_PREFIX)] if camera else [], cameras, "the cameras of the data sets")
    held = {split for source in sources for split in source.info.get("splits") or ("train",)}
    _check_known(splits or (), held, "the splits of the data sets")
    return sources


def _check_known(names: Iterable[str], known: Collection[str], what: str) -> None:
    for name in names:
        if name not in known:
            raise unknown_key(name, sorted(known), what)


def _encoded(source: Source, work: Path, crf: int) -> _Coded:
    file = work / f"{source.name}.mp4"
    samples: list[np.ndarray] = []

    def episodes() -> Iterator[np.ndarray]:
        for episode in tqdm(source.episodes, f"encoding {source.name}", unit="episode"):
            pixels = source.frames(episode)
            _check_size(source, episode, pixels, samples)
            samples.append(sampled(pixels).copy())
            yield pixels

    encode(file, episodes(), crf)
    columns = [source.columns(episode) for episode in source.episodes]
    coded = coded_episodes(file, [episode.length for episode in source.episodes])
    rows = len(_rows(source.episodes, columns))
    return _Coded(source, file, coded, columns, samples, rows / sum(each.frames for each in coded))


def _check_size(source: Source, episode: SourceEpisode, pixels: np.ndarray, before: Sequence[np.ndarray]) -> None:
    height, width = pixels.shape[1:3]
    what = f"{source.path}: episode {episode.place} of {episode.split} has frames of {height}x{width}"
    if height % 2 or width % 2:
        raise InputError(f"{what}; h264 needs even ones, such as {height + height % 2}x{width + width % 2}")
    if before and before[0].shape[1:3] != (height, width):
        raise InputError(f"{what}; those before are of {'x'.join(map(str, before[0].shape[1:3]))}: record sizes apart")


def _fitted(coded: Sequence[_Coded], folder: Path, max_mb: float, crf: int) -> Manifest:
    """Writes the sets with as many episodes as there is room for."""
    room = max_mb * MB
    for _ in range(TRIES):
        share = largest_share(lambda share: sum(each.size(share) for each in coded), room)
        if share is None:
            least = math.ceil(sum(each.size(LEAST_SHARE) for each in coded) / MB * 1.02)
            raise InputError(
                f"max_mb={max_mb:g} has no room for what is never left out: all that is not in {LEFT_OUT_OF}, or "
                f"one group of a set that has no more; nearest: {least}, or name fewer splits"
            )
        shutil.rmtree(folder / SETS, ignore_errors=True)
        sets = [_written(each, folder / SETS / each.source.name, share, crf) for each in coded]
        manifest = write_manifest(folder, sets)
        over = manifest.bytes + (folder / PACK.mark).stat().st_size - max_mb * MB
        if over <= 0:
            return manifest
        room -= over * 1.1
    raise InputError(f"max_mb={max_mb:g} cannot be met; nearest: {math.ceil(max_mb * 1.1)}")


def _written(coded: _Coded, folder: Path, share: float, crf: int) -> PackedSet:
    """The files of one set, and what they lost."""
    source, kept = coded.source, kept_places(coded.source.episodes, share)
    folder.mkdir(parents=True)
    groups = _parts(coded, kept)
    parts = []
    for number, places in enumerate(groups):
        rows, video = f"rows-{number:03d}.xz", f"video-{number:03d}.mp4"
        episodes = [source.episodes[place] for place in places]
        (folder / rows).write_bytes(_rows(episodes, [coded.columns[place] for place in places]))
        parts.append(Part(video, rows, len(places), sum(each.length for each in episodes)))
    videos = [
        (folder / part.video, [coded.episodes[n] for n in group]) for part, group in zip(parts, groups, strict=True)
    ]
    copy_episodes(coded.file, videos, source.fps)
    about = source.about(list(coded.columns[0]))
    (folder / ABOUT).write_text(json.dumps(about), encoding="utf-8")
    for path in folder.iterdir():
        if path.stat().st_size > FILE_BYTES:
            raise InputError(f"{source.path}: one episode takes more than a file of a pack has room for; raise crf")
    meter = LossMeter()
    stream = FrameStream([(folder / part.video, part.frames) for part in parts])
    first = 0
    for place in tqdm(kept, f"measuring {source.name}", unit="episode", delay=2):
        length = source.episodes[place].length
        meter.add(coded.samples[place], sampled(stream.read(first, length)))
        first += length
    height, width = coded.samples[0].shape[1:3]
    splits, left_out = _splits(source.episodes, kept)
    codec = f"h264, crf {crf}"
    rates = source.fps, source.recorded_fps
    return PackedSet(source.name, source.camera, *rates, (height, width), codec, splits, left_out, parts, meter.loss())


def _rows(episodes: Sequence[SourceEpisode], columns: Sequence[Mapping[str, np.ndarray]]) -> bytes:
    about = [[each.length, each.task, each.extra] for each in episodes]
    joined = {name: np.concatenate([each[name] for each in columns]) for name in columns[0]}
    return squeeze(joined, about)


def _parts(coded: _Coded, kept: Sequence[int]) -> list[list[int]]:
    """The places of the episodes of each part: as many as its two files have room for."""
    parts: list[list[int]] = []
    video = rows = PART_BYTES
    for place in kept:
        more = coded.episodes[place].size
        plain = sum(column.nbytes for column in coded.columns[place].values())
        if video + more > PART_BYTES or rows + plain > PART_BYTES:
            parts.append([])
            video = rows = 0
        parts[-1].append(place)
        video, rows = video + more, rows + plain
    return parts


def _splits(
    episodes: Sequence[SourceEpisode], kept: Sequence[int]
) -> tuple[dict[str, str | list[int]], dict[str, int]]:
    """Where the episodes of each split are now, and how many of it are left out."""
    now: dict[str, list[int]] = {each.split: [] for each in episodes}
    for number, place in enumerate(kept):
        now[episodes[place].split].append(number)
    left_out = {split: sum(each.split == split for each in episodes) - len(numbers) for split, numbers in now.items()}
    splits: dict[str, str | list[int]] = {}
    for split, numbers in now.items():
        first, stop = (numbers[0], numbers[-1] + 1) if numbers else (0, 0)
        splits[split] = f"{first}:{stop}" if stop - first == len(numbers) else numbers
    return splits, left_out
