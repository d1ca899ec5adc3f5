"""Photographs and pictures of objects: finds those below a folder, keeps some for testing alone, scales them down.

`launch/get_photographs.sh` fetches the packages whose pictures `HELD_OUT` names.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vgen.checks import show
from vgen.errors import InputError
from vgen.media.image import FORMATS, read_image, readable
from vgen.simulators.pictures import objects
from vgen.simulators.pictures.objects import ObjectPicture
from vgen.simulators.pictures.opencv import cv2

logger = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".avif")
LONGEST_SIDE = 1280  # pixels that are kept: what the widest motion of a small frame shows
SHORTEST_SIDE = 200  # pixels; a smaller picture is left out
THUMBNAIL = 32  # pixels a side of what tells pictures apart
LEAST_CONTRAST = 5.0  # standard deviation of a thumbnail's grey levels; a flatter picture is left out
LEAST_OPAQUE = 0.99  # share of a photograph; a picture that lets more through may be an object
SAME = 4.0  # mean difference of two thumbnails below which the pictures are one
SIZES = re.compile(r"\d+x\d+")  # the name of a file that is one of several sizes of a picture
RULES = (
    LONGEST_SIDE,
    SHORTEST_SIDE,
    LEAST_CONTRAST,
    LEAST_OPAQUE,
    SAME,
    objects.RULES,
)  # what is kept depends on these
PLACES = ("contents", "images", "images_dark")  # folders between such files and the one that has the picture's name

# For testing alone: pictures of the packages and of scikit-image (chelsea is a cat).
HELD_OUT = (
    "Altai",
    "Aqua",
    "ColorfulCups",
    "EveningGlow",
    "Garden",
    "Kleiber_by_Lukas_Baubkus",
    "LadyBird",
    "Painting-Colors_by__herobrine7gamer",
    "Path",
    "SafeLanding",
    "Shell",
    "Volna",
    "Wine_by_Jakkub_Mede",
    "astronaut",
    "chelsea",
    "coffee",
    "picosdeeuropa_by_Aitzol_Berasategi",
    "truchet-d",
    "truchet-l",
)


@dataclass(frozen=True)
class Photograph:
    """A picture that was found.

    name: its file's name without the suffix, or its folder's where the file is one of several sizes.
    file: where its pixels are kept, for `numpy.load`.
    held_out: whether it is for testing alone.
    detail: how much there is in it to see: the mean curvature of its grey levels, at 256 pixels.
    """

    name: str
    file: str
    held_out: bool
    detail: float

    def pixels(self) -> np.ndarray:
        """uint8 [H, W, 3]; what is not asked for is not read."""
        return np.asarray(np.load(self.file, mmap_mode="r"))


@dataclass(frozen=True)
class Pictures:
    """What clips are made of: photographs, and objects that have no background."""

    photographs: list[Photograph]
    objects: list[ObjectPicture]

    def of(self, held_out: bool) -> Pictures:
        """Those for testing alone, or the others."""
        return Pictures(
            [each for each in self.photographs if each.held_out == held_out],
            [each for each in self.objects if each.held_out == held_out],
        )


def prepare(folder: Path, cache: Path, pool: Executor) -> Pictures:
    """Read the pictures below a folder and keep them scaled down below `cache`, once for the files as they are.

    A picture that lets more than a little through is kept as an object, if it is one. Left out are pictures that cannot
    be read, that are small, nearly of one grey or mostly transparent, or there twice.

    Args:
        folder: with the pictures, in subfolders too.
        cache: as of training, such as data/cache.
        pool: reads them.

    Raises:
        InputError: there is no such folder, or no picture in it.
    """
    named = find(folder)
    if not named:
        raise InputError(f"photos={show(folder)} holds no picture ({' '.join(SUFFIXES)}); name a folder of photographs")
    store = cache / "photographs" / _state(named)
    index = store / "photographs.json"
    if index.exists():
        return _read(store)
    logger.info("reading %d pictures of %s, once for all recordings", len(named), folder)
    store.mkdir(parents=True, exist_ok=True)
    names = sorted(named, key=lambda name: (not _listed(name), name))  # of two that are one, that for testing stays
    files = [f"{place}.npy" for place in range(len(names))]
    kept = pool.map(_keep, [named[name] for name in names], [store / file for file in files])
    pictures = _chosen(store, names, files, kept)
    _tell(folder, len(names), pictures)
    part = index.with_suffix(".part")
    part.write_text(json.dumps(asdict(pictures)))
    part.rename(index)
    return _read(store)


def _chosen(
    store: Path, names: Sequence[str], files: Sequence[str], kept: Iterable[_Kept | _KeptObject | None]
) -> Pictures:
    """Each of the pictures once, by name; the files of others are removed."""
    found = list(zip(names, files, kept, strict=True))
    # where no photograph is listed, one in `objects.ASIDE` is for testing, by its name
    listed = any(_listed(name) for name, _, each in found if not isinstance(each, _KeptObject))
    pictures = Pictures([], [])
    seen: dict[type, list[np.ndarray]] = {_Kept: [], _KeptObject: []}
    for name, file, each in found:
        if each is None or each.among(seen[type(each)]):
            (store / file).unlink(missing_ok=True)
            continue
        seen[type(each)].append(each.thumbnail)
        if isinstance(each, _KeptObject):
            held_out = objects.held_out(name)
            pictures.objects.append(ObjectPicture(name, file, held_out, each.words, each.longest))
        else:
            held_out = _listed(name) if listed else objects.held_out(name)
            pictures.photographs.append(Photograph(name, file, held_out, each.detail))
    for of_kind in (pictures.photographs, pictures.objects):
        of_kind.sort(key=lambda picture: picture.name)
    return pictures


def _read(store: Path) -> Pictures:
    """What is kept in a folder of the cache, which may have moved."""
    kept = json.loads((store / "photographs.json").read_text())
    for each in (*kept["photographs"], *kept["objects"]):
        each["file"] = str(store / each["file"])
    found = [ObjectPicture(**each | {"words": tuple(each["words"])}) for each in kept["objects"]]
    return Pictures([Photograph(**each) for each in kept["photographs"]], found)


def _state(named: dict[str, Path]) -> str:
    """What the files are at present, and the texts beside them, by name, size and time."""
    lines = [f"{name} {_stamp(named[name])}" for name in sorted(named)]
    texts = [(name, objects.description(named[name])) for name in sorted(named)]
    lines += [f"{name}.txt {_stamp(text)}" for name, text in texts if text.is_file()]
    return hashlib.sha256("\n".join([str(RULES), *lines]).encode(errors="surrogateescape")).hexdigest()[:16]


def _stamp(file: Path) -> str:
    status = file.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def find(folder: Path) -> dict[str, Path]:
    """The picture files below a folder by name, each picture once: the largest of its sizes, and of links what they
    lead to.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"photos={show(folder)} is no folder; name a folder of photographs")
    sizes: dict[str, list[Path]] = {}
    single: list[Path] = []
    for file in sorted(set(_files(folder))):
        if SIZES.fullmatch(file.stem):
            sizes.setdefault(_name_above(file, folder), []).append(file)
        else:
            single.append(file)
    named = {name: max(files, key=_area) for name, files in sizes.items()}
    for file in single:
        names = (file.stem, f"{file.parent.name}/{file.stem}", str(file))
        named[next(name for name in names if name not in named)] = file
    return named


def _files(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            file = Path(where, name)
            shown = not name.startswith(".") and file.stem != "screenshot"
            if shown and file.suffix.lower() in SUFFIXES and file.is_file():
                yield file.resolve()


def _name_above(file: Path, folder: Path) -> str:
    """The name of a picture whose files are called by their sizes."""
    place = next((each for each in file.parents if each.name not in PLACES and each != folder), file.parent)
    return place.name + ("-dark" if file.parent.name == "images_dark" else "")


def _area(file: Path) -> int:
    try:
        with readable(file), Image.open(file, formats=FORMATS) as image:
            return image.width * image.height
    except InputError:
        return 0


@dataclass(frozen=True)
class _Kept:
    """What is found out about a photograph that is kept: its thumbnail, float32 [32, 32, 3], and its detail."""

    thumbnail: np.ndarray
    detail: float

    def among(self, seen: Sequence[np.ndarray]) -> bool:
        """Whether it is one of those whose thumbnails were seen."""
        return any(_same(self.thumbnail, other) for other in seen)


@dataclass(frozen=True)
class _KeptObject:
    """What is found out about an object that is kept: its thumbnail before grey, and more as of `ObjectPicture`."""

    thumbnail: np.ndarray
    words: tuple[str, ...]
    longest: int

    def among(self, seen: Sequence[np.ndarray]) -> bool:
        """Whether it is one of those whose thumbnails were seen, or their mirror image."""
        return any(_same(self.thumbnail, other) or _same(self.thumbnail[:, ::-1], other) for other in seen)


def _keep(source: Path, file: Path) -> _Kept | _KeptObject | None:
    """Scale a picture down into `file`; None of one that is left out. In a worker process."""
    try:
        pixels = read_image(source)
    except InputError as error:
        logger.warning("left out: %s", error)
        return None
    if pixels.shape[2] == 4 and pixels[..., 3].mean() < LEAST_OPAQUE * 255:
        return _keep_object(source, pixels, file)
    return _keep_photograph(np.ascontiguousarray(pixels[..., :3]), file)


def _keep_object(source: Path, pixels: np.ndarray, file: Path) -> _KeptObject | None:
    found = objects.cropped(pixels)
    if found is None:
        return None
    np.save(file, found)
    return _KeptObject(_thumbnail(objects.on_grey(found)), objects.words_of(source), max(found.shape))


def _keep_photograph(pixels: np.ndarray, file: Path) -> _Kept | None:
    share = min(1.0, LONGEST_SIDE / max(pixels.shape[:2]))
    if share < 1:
        size = (round(pixels.shape[1] * share), round(pixels.shape[0] * share))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    thumbnail = _thumbnail(pixels)
    if min(pixels.shape[:2]) < SHORTEST_SIDE or thumbnail.mean(2).std() < LEAST_CONTRAST:
        return None
    np.save(file, pixels)
    share = 256 / min(pixels.shape[:2])
    grey = cv2.resize(pixels, None, fx=share, fy=share, interpolation=cv2.INTER_AREA).mean(2).astype(np.float32)
    return _Kept(thumbnail, round(float(np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean()), 3))


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    small = cv2.resize(pixels, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return np.asarray(small.astype(np.float32))


def _same(thumbnail: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.abs(thumbnail - other).mean() < SAME)


def _listed(name: str) -> bool:
    return name.removesuffix("-dark") in HELD_OUT


def _tell(folder: Path, found: int, pictures: Pictures) -> None:
    aside, kept = pictures.of(held_out=True), len(pictures.photographs) + len(pictures.objects)
    left_out = "others are unreadable, small, flat, mostly transparent or there twice"
    message = "%s: %d pictures, %d of them used (%s), %d for testing alone"
    logger.info(message, folder, found, kept, left_out, len(aside.photographs) + len(aside.objects))
    if pictures.objects:
        logger.info("%d of those are objects, %d of these for testing alone", len(pictures.objects), len(aside.objects))
